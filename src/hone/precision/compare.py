"""How far a half-precision tensor is from its float32 counterpart: overflow, underflow, rounding."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

#: The smallest positive number of each format, subnormals included: below it a value becomes 0.
SMALLEST = {"fp16": 2.0**-24, "bf16": 2.0**-133}


class Difference(NamedTuple):
    """One tensor against its float32 counterpart.

    Attributes:
        overflow: share of the elements that are inf or NaN, where float32 is finite.
        underflow: share of float32's non-zero elements that are too small for the format and became 0.
        lost: norm of those elements over the norm of all: how much of the tensor the underflow took.
        error: norm of the difference over the norm of float32, of the elements that are finite in both.
        norm: norm of the float32 tensor.
    """

    overflow: float
    underflow: float
    lost: float
    error: float
    norm: float


def widened(tensor: Tensor) -> Tensor:
    """The tensor in float64, on the CPU where its device has no such thing."""
    return (tensor.cpu() if tensor.device.type == "mps" else tensor).double()


def difference(exact: Tensor, half: Tensor, kind: str, scale: float = 1.0) -> Difference:
    """Compare ``half``, which is multiplied by ``scale``, with ``exact``.

    Args:
        exact: the float32 tensor.
        half: the same tensor of the half-precision run, any dtype, the same shape.
        kind: "bf16" or "fp16".
        scale: the loss scale, for gradients.

    Returns:
        The shares and relative norms, as plain floats.

    Example:
        >>> exact = torch.tensor([3.0, 4.0, 1e5, 1e-9])
        >>> difference(exact, exact.half(), "fp16")
        Difference(overflow=0.25, underflow=0.25, lost=9.9...e-15, error=9.9...e-15, norm=100000.0...)
    """
    exact, half = widened(exact), widened(half)
    sound = exact.isfinite()
    overflow = sound & ~half.isfinite()
    gone = sound & (exact != 0) & (half == 0) & ((exact * scale).abs() < SMALLEST[kind])
    both = sound & ~overflow
    norm = torch.linalg.vector_norm(exact.where(sound, 0.0))
    figures = torch.stack(
        (
            overflow.sum() / max(1, exact.numel()),
            gone.sum() / (sound & (exact != 0)).sum().clamp(min=1),
            torch.linalg.vector_norm(exact.where(gone, 0.0)) / norm.clamp(min=1e-300),
            torch.linalg.vector_norm((half / scale - exact).where(both, 0.0)) / norm.clamp(min=1e-300),
            norm,
        )
    )
    return Difference(*figures.tolist())
