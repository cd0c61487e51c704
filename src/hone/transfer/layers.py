"""What counts as a layer with weights, what as a norm, and how wide they are."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase

#: Layers that can give an output of their own width.
LAYERS = (
    nn.Linear,
    nn.Conv1d,
    nn.Conv2d,
    nn.Conv3d,
    nn.ConvTranspose1d,
    nn.ConvTranspose2d,
    nn.ConvTranspose3d,
)
#: Norms with a number of features (batch and instance norms of any dimension).
NORMS = (_NormBase,)


def out_width(layer: nn.Module) -> int:
    """The number of features or channels that come out of a layer or norm.

    Example:
        >>> out_width(nn.Conv2d(3, 8, 1)), out_width(nn.BatchNorm2d(4))
        (8, 4)
    """
    for attribute in ("out_features", "out_channels", "num_features"):
        if isinstance(width := getattr(layer, attribute, None), int):
            return width
    return int(next(layer.parameters()).shape[0])


def is_norm(module: nn.Module) -> bool:
    """Whether a module normalises: torch's norms, their subclasses, and what calls itself one and holds only vectors.

    Example:
        >>> is_norm(nn.GroupNorm(1, 4)), is_norm(nn.Linear(2, 2))
        (True, False)
    """
    if isinstance(module, (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.LocalResponseNorm)):
        return True
    return "norm" in type(module).__name__.lower() and all(
        p.numel() == max(p.shape, default=1) for p in module.parameters()
    )


def unwrap(model: nn.Module) -> nn.Module:
    """The model inside DistributedDataParallel, DataParallel and ``torch.compile``.

    Example:
        >>> layer = nn.Linear(1, 1)
        >>> unwrap(nn.DataParallel(layer)) is layer
        True
    """
    while True:
        if isinstance(model, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
            model = model.module
        elif isinstance(inner := getattr(model, "_orig_mod", None), nn.Module):
            model = inner
        else:
            return model


def is_stateful_norm(module: nn.Module) -> bool:
    """Whether a module keeps running statistics that training would move."""
    return isinstance(getattr(module, "running_mean", None), Tensor)


def memory_format(tensor: Tensor) -> torch.memory_format:
    """The memory format to give a new tensor in the place of this one.

    Example:
        >>> memory_format(torch.zeros(2, 3, 4, 4).to(memory_format=torch.channels_last))
        torch.channels_last
    """
    for ndim, last in ((4, torch.channels_last), (5, torch.channels_last_3d)):
        if tensor.ndim == ndim and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=last):
            return last
    return torch.contiguous_format
