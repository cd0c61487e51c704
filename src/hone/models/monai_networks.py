"""MONAI's networks by name, and arguments that suit the data where the user states none."""

from __future__ import annotations

import importlib.util
import inspect
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from hone import checks

#: What MONAI calls the number of input and of output channels, from network to network.
_INPUTS = ("in_channels", "n_input_channels", "channels_in")
_OUTPUTS = ("out_channels", "num_classes", "n_classes")
#: Networks that halve every axis a fixed number of times: the input's sides are multiples of this.
_FIXED_MULTIPLE = {"SwinUNETR": 32, "UNETR": 16, "VNet": 16, "BasicUNet": 16, "BasicUNetPlusPlus": 16}
_NEED_EINOPS = {"SwinUNETR", "UNETR", "ViT"}
_RESNET = re.compile(r"resnet\d+")
#: Channels of the first level; each level has twice as many, up to the most.
_FIRST_CHANNELS, _MOST_CHANNELS = 16, 320
#: An axis is halved while it stays at least so long.
_SHORTEST = 4
_USUAL_SIDES = (96, 96, 96)
_MOST_LEVELS = 5


def monai_names() -> list[str]:
    """The names of MONAI's networks: classes, and the functions that build a ResNet.

    Raises:
        ValueError: MONAI is not installed; what to do is said.
    """
    # Of a class's other spellings (Unet, Basicunet) none: a name is looked for in one way.
    return sorted(
        name
        for name, found in vars(_nets()).items()
        if getattr(found, "__name__", "") == name and (_is_class(found) or _RESNET.fullmatch(name))
    )


def build_monai(name: str, options: Mapping[str, Any]) -> Any:
    """Build a network.

    Args:
        name: one of :func:`monai_names`.
        options: arguments of it; where some are missing, those that suit one channel, two classes and sides of 96.

    Raises:
        ValueError: it needs a package that is not installed, or refuses its arguments.
    """
    if name in _NEED_EINOPS and importlib.util.find_spec("einops") is None:
        raise ValueError(f"model monai:{name} needs einops, which is not installed: pip install einops")
    if options.get("spatial_dims", 3) == 3:
        options = monai_options(name, channels=1, classes=2, sides=_USUAL_SIDES, stated=options)
    return getattr(_nets(), name)(**options)


def monai_options(
    name: str,
    *,
    channels: int,
    classes: int,
    sides: Sequence[int],
    spacing: Sequence[float] = (1.0, 1.0, 1.0),
    stated: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Arguments of a 3D network for some data; what is stated is never changed.

    UNet, DynUNet and AttentionUnet halve an axis while at least 4 voxels stay, the finest axes first where the spacing
    is uneven; channels double from level to level.

    Args:
        name: of the network.
        channels: of the input.
        classes: of the output.
        sides: (X, Y, Z) of the input, voxels.
        spacing: of its voxels, mm.
        stated: arguments that the user stated.

    Raises:
        ValueError: no such network, or it is none for volumes.

    Example:
        >>> options = monai_options("UNet", channels=1, classes=3, sides=(35, 50, 36))
        >>> options["channels"], options["strides"]
        ([16, 32, 64, 128], [[2, 2, 2], [2, 2, 2], [2, 2, 2]])
    """
    takes = _parameters(checks.one_of("model monai:", name, monai_names()))
    strides = strides_for(sides, spacing)
    widths = [min(_FIRST_CHANNELS * 2**level, _MOST_CHANNELS) for level in range(len(strides) + 1)]
    found: dict[str, Any] = {"spatial_dims": 3, "channels": widths, "strides": strides, "num_res_units": 2}
    found |= dict.fromkeys(_INPUTS, channels) | dict.fromkeys(_OUTPUTS, classes)
    if name == "UNet":
        found["norm"] = "INSTANCE"
    if name == "DynUNet":
        found |= {"kernel_size": [[3, 3, 3]] * len(widths), "filters": widths, "upsample_kernel_size": strides}
        found |= {"norm_name": "INSTANCE", "strides": [[1, 1, 1], *strides]}
    if name == "UNETR":
        found["img_size"] = [math.ceil(side / 16) * 16 for side in sides]
    return {key: value for key, value in found.items() if key in takes} | dict(stated or {})


def strides_for(sides: Sequence[int], spacing: Sequence[float]) -> list[list[int]]:
    """The stride of each level of a U-shaped network.

    Args:
        sides: (X, Y, Z) of the input, voxels.
        spacing: of its voxels, mm: an axis more than twice as coarse as the finest waits until the others are.

    Example:
        >>> strides_for((64, 64, 12), (1.0, 1.0, 5.0))
        [[2, 2, 1], [2, 2, 1], [2, 2, 2], [2, 2, 1]]
    """
    lengths, steps = list(sides), list(spacing)
    levels: list[list[int]] = []
    for _ in range(_MOST_LEVELS):
        can = [length // 2 >= _SHORTEST for length in lengths]
        if not any(can):
            break
        finest = min(step for step, halved in zip(steps, can, strict=True) if halved)
        stride = [2 if halved and step <= 2 * finest else 1 for step, halved in zip(steps, can, strict=True)]
        lengths = [length // by for length, by in zip(lengths, stride, strict=True)]
        steps = [step * by for step, by in zip(steps, stride, strict=True)]
        levels.append(stride)
    return levels or [[2, 2, 2]]


def side_multiples(name: str, options: Mapping[str, Any]) -> tuple[int, int, int]:
    """What the sides of the input must be multiples of.

    Example:
        >>> side_multiples("UNet", {"strides": [[2, 2, 1], [2, 2, 2]]})
        (4, 4, 2)
    """
    if "strides" in options:
        each = [[step] * 3 if isinstance(step, int) else list(step) for step in options["strides"]]
        x, y, z = (math.prod(axis) for axis in zip(*each, strict=True))
        return x, y, z
    if name.startswith("SegResNet"):
        side = 2 ** (len(options.get("blocks_down", (1, 2, 2, 4))) - 1)
    else:
        side = _FIXED_MULTIPLE.get(name, 1)
    return side, side, side


def _nets() -> Any:
    try:
        from monai.networks import nets
    except ModuleNotFoundError as error:
        raise ValueError(
            f"MONAI's networks need {error.name}, which is not installed: pip install 'torch-hone[volumes]'"
        ) from None
    return nets


def _is_class(found: Any) -> bool:
    from torch import nn

    return inspect.isclass(found) and issubclass(found, nn.Module)


def _parameters(name: str) -> set[str]:
    """The arguments that a network takes, those that it hands on to the class it is built on included."""
    found = getattr(_nets(), name)
    kinds = found.__mro__ if inspect.isclass(found) else (found, _nets().ResNet)
    taken: set[str] = set()
    for kind in kinds:
        signature = inspect.signature(kind)
        taken |= set(signature.parameters)
        if all(each.kind is not inspect.Parameter.VAR_KEYWORD for each in signature.parameters.values()):
            break
    return taken
