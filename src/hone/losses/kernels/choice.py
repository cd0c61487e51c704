"""Which implementation serves a device, and how to ask for plain torch."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextvars import ContextVar

import torch

from hone.losses.kernels import native

_plain: ContextVar[bool] = ContextVar("hone_plain_torch", default=False)


@contextlib.contextmanager
def plain_torch() -> Iterator[None]:
    """Within this context the losses use plain torch, for comparing or where a transform needs to see each operation.

    Example:
        >>> with plain_torch():
        ...     in_use("cpu")
        'torch'
    """
    token = _plain.set(True)
    try:
        yield
    finally:
        _plain.reset(token)


def is_plain() -> bool:
    """Whether `plain_torch` is in force."""
    return _plain.get()


def in_use(device: str | torch.device = "cpu") -> str:
    """What computes the sums of losses on a device: "torch", "native AVX2" (or another instruction set) or "triton".

    Args:
        device: a device or its name.

    Returns:
        The name of the implementation; single calls may still use torch (float64, soft labels).

    Example:
        >>> in_use("meta")
        'torch'
    """
    kind = torch.device(device).type
    if is_plain():
        return "torch"
    if kind == "cpu" and native.library() is not None:
        return f"native {native.LEVELS[native.level()]}"
    return "torch"
