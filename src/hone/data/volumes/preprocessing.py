"""How a volume becomes the input of a model, kept as ``preprocessing.json`` beside the weights."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ...checks import integer, invalid, number, one_of
from ..preprocessing import read_values
from .examples import VolumeExamples
from .facts import ChannelFacts

METHODS = ("zscore", "zscore_nonzero", "ct")
#: A volume whose spacing differs by less than this share is left as it is.
_SAME_SPACING = 0.01
#: Above this share of exact zeros in the typical volume, what is not 0 is the body and what is 0 was cut away.
_CUT_AWAY = 0.25
#: CT values are air (-1000 HU) to bone; no other modality goes as low.
_HOUNSFIELD = -500.0
_PERCENTILES = (0.5, 99.5)


@dataclass(frozen=True)
class ChannelNormalization:
    """How the intensities of one channel are brought to a common scale.

    Args:
        name: of the modality.
        method: "zscore": (x - mean) / std of the volume itself; "zscore_nonzero": mean and std of its voxels that are
            not 0, and 0 stays 0; "ct": clip to ``low..high``, then (x - mean) / std, all four of the labelled voxels of
            the training data, for CT intensities mean the same everywhere.
        low: smallest value kept.
        high: largest value kept.
        mean: subtracted.
        std: divided by.

    Example:
        >>> ChannelNormalization("CT", "ct", low=-100, high=300, mean=80, std=40)(torch.tensor([-1000.0, 80.0]), None)
        tensor([-4.5000,  0.0000])
    """

    name: str
    method: str = "zscore"
    low: float = 0.0
    high: float = 0.0
    mean: float = 0.0
    std: float = 1.0

    def __post_init__(self) -> None:
        one_of("method", self.method, METHODS)
        for name in ("low", "high", "mean"):
            number(name, getattr(self, name))
        number("std", self.std, above=0)

    def __call__(self, voxels: Tensor, facts: ChannelFacts | None) -> Tensor:
        """Normalise float32 voxels of a channel, of whose volume ``facts`` are known (not needed by "ct")."""
        if self.method == "ct" or facts is None:
            return (voxels.clamp(self.low, self.high) - self.mean) / self.std
        if self.method == "zscore":
            return (voxels - facts.mean) / (facts.std or 1.0)
        return torch.where(voxels == 0, 0.0, (voxels - facts.other_mean) / (facts.other_std or 1.0))


@dataclass(frozen=True)
class VolumePreprocessing:
    """RAS orientation, one spacing, normalised intensities, and the size that the model sees at once.

    Args:
        patch_size: (X, Y, Z) of a training patch, of a window of prediction, or of a whole volume that is classified.
        spacing: distance of voxels along each RAS axis, mm; None leaves each volume as it is.
        channels: normalisation of each channel.
        overlap: of neighbouring windows at prediction, in [0, 1).

    Raises:
        ValueError: a size, a spacing or an overlap is out of its range.

    Example:
        >>> preprocessing = VolumePreprocessing((32, 32, 32), (1.0, 1.0, 2.5), (ChannelNormalization("MRI"),))
        >>> VolumePreprocessing.from_json(preprocessing.to_json()) == preprocessing
        True
        >>> preprocessing.describe()
        'patches of 32x32x32 at 1 x 1 x 2.5 mm, z-score of each volume'
    """

    patch_size: tuple[int, int, int]
    spacing: tuple[float, float, float] | None
    channels: tuple[ChannelNormalization, ...]
    overlap: float = 0.5

    def __post_init__(self) -> None:
        for size in self.patch_size:
            integer("patch_size", size, at_least=1)
        for distance in self.spacing or ():
            number("spacing", distance, above=0)
        if len(self.patch_size) != 3 or (self.spacing is not None and len(self.spacing) != 3):
            raise invalid("patch_size and spacing", "be three numbers each", (self.patch_size, self.spacing))
        number("overlap", self.overlap, at_least=0, below=1)

    def spacing_of(self, own: Sequence[float]) -> tuple[float, float, float]:
        """The spacing at which a volume is seen: the common one, or its own where that is as good as the same."""
        near = self.spacing is not None and all(
            abs(a / b - 1) < _SAME_SPACING for a, b in zip(own, self.spacing, strict=True)
        )
        x, y, z = own if self.spacing is None or near else self.spacing
        return x, y, z

    def describe(self) -> str:
        """The input, in a few words."""
        size = "x".join(map(str, self.patch_size))
        spacing = " x ".join(f"{mm:.3g}" for mm in self.spacing) + " mm" if self.spacing else "their own spacing"
        methods = dict.fromkeys(_METHOD_WORDS[channel.method] for channel in self.channels)
        return f"patches of {size} at {spacing}, {' and '.join(methods)}"

    def to_json(self) -> str:
        """The text of ``preprocessing.json``."""
        return json.dumps({"orientation": "RAS", **asdict(self)}, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> VolumePreprocessing:
        """Read the text of a ``preprocessing.json``.

        Raises:
            ValueError: it is not JSON, lacks a field or has one too many, or a value is out of its range.
        """
        values = read_values(text, ["orientation", *(field.name for field in fields(cls))])
        if values.pop("orientation") != "RAS":
            raise invalid("preprocessing.json", "have the orientation RAS", text[:40])
        try:
            channels = tuple(ChannelNormalization(**channel) for channel in values.pop("channels"))
            lists: dict[str, Any] = {
                name: tuple(value) if isinstance(value, list) else value for name, value in values.items()
            }
            return cls(channels=channels, **lists)
        except TypeError as error:
            raise invalid("preprocessing.json", "be that of volumes", text[:40], str(error)) from None


_METHOD_WORDS = {
    "zscore": "z-score of each volume",
    "zscore_nonzero": "z-score of what is not 0 in each volume",
    "ct": "clipped and scaled as CT",
}


def normalizations(examples: VolumeExamples) -> tuple[ChannelNormalization, ...]:
    """How each channel is normalised: as CT where the data calls it so or its values show it, else by z-score.

    Args:
        examples: the training data.
    """
    found: list[ChannelNormalization] = []
    for channel in range(examples.channels):
        facts = [_channel_facts(examples, row)[channel] for row in range(len(examples))]
        named = examples.modalities[channel] if channel < len(examples.modalities) else ""
        is_ct = named.upper() == "CT" or (not named and float(np.median([one.low for one in facts])) < _HOUNSFIELD)
        if is_ct:
            found.append(_ct(named or "CT", examples, channel, facts))
        else:
            cut = float(np.median([one.zeros for one in facts])) > _CUT_AWAY
            found.append(ChannelNormalization(named or "unnamed", "zscore_nonzero" if cut else "zscore"))
    return tuple(found)


def _channel_facts(examples: VolumeExamples, row: int) -> list[ChannelFacts]:
    return [channel for image in examples.facts[row].images for channel in image.channels]


def _ct(name: str, examples: VolumeExamples, channel: int, facts: Sequence[ChannelFacts]) -> ChannelNormalization:
    """Percentiles, mean and std of the labelled voxels; of all voxels where there are no labels."""
    samples = [known.label.samples[channel] for known in examples.facts if known.label and known.label.samples]
    values = np.array([value for sample in samples for value in sample])
    if len(values) > 1 and values.std() > 0:
        low, high = np.percentile(values, _PERCENTILES).tolist()
        inside = values.clip(low, high)
        return ChannelNormalization(name, "ct", low, high, float(inside.mean()), float(inside.std()) or 1.0)
    mean, std = (float(np.mean([getattr(one, key) for one in facts])) for key in ("mean", "std"))
    low, high = min(one.low for one in facts), max(one.high for one in facts)
    return ChannelNormalization(name, "ct", low, high, mean, std or 1.0)


def plan_patches(
    examples: VolumeExamples,
    *,
    voxels: int,
    multiple: Sequence[int] = (8, 8, 8),
    spacing: Sequence[float] | None = None,
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """The patch size and the spacing for some training data.

    The spacing is the median of the files'. The patch is the median volume if that has at most so many voxels; else
    the axes that are longest in mm are cut first, so that a patch sees as far in every direction as it can.

    Args:
        examples: the training data.
        voxels: most voxels of a patch.
        multiple: each side is a multiple of this.
        spacing: of the patches, mm; None: the median.

    Returns:
        (X, Y, Z) voxels, (X, Y, Z) mm.
    """
    chosen = tuple(spacing) if spacing is not None else examples.median_spacing()
    sides = [math.ceil(n / m) * m for n, m in zip(examples.median_shape(chosen), multiple, strict=True)]
    while math.prod(sides) > voxels:
        lengths = [n * mm if n > m else 0.0 for n, m, mm in zip(sides, multiple, chosen, strict=True)]
        if not any(lengths):
            break
        longest = int(np.argmax(lengths))
        sides[longest] -= multiple[longest]
    (x, y, z), (dx, dy, dz) = sides, chosen
    return (x, y, z), (dx, dy, dz)


def plan_whole(
    examples: VolumeExamples,
    *,
    voxels: int,
    multiple: Sequence[int] = (8, 8, 8),
    spacing: Sequence[float] | None = None,
) -> tuple[tuple[int, int, int], tuple[float, float, float]]:
    """The input size and the spacing at which whole volumes are classified.

    All training volumes fit into the input. Where that would have too many voxels, the spacing is coarser by the same
    factor along every axis.

    Args: as of :func:`plan_patches`.
    """
    chosen = np.array(spacing if spacing is not None else examples.median_spacing())
    largest = examples.shapes(chosen.tolist()).max(0)
    if spacing is None:
        chosen = chosen * max(1.0, (float(largest.prod()) / voxels) ** (1 / 3))
        largest = examples.shapes(chosen.tolist()).max(0)
    x, y, z = (max(1, math.ceil(round(n, 3) / m)) * m for n, m in zip(largest.tolist(), multiple, strict=True))
    dx, dy, dz = chosen.tolist()
    return (x, y, z), (dx, dy, dz)
