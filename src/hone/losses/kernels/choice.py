"""Which implementation serves a device, and how to ask for plain torch."""

from __future__ import annotations

import contextlib
import importlib.util
from collections.abc import Iterator
from contextvars import ContextVar

import torch

from hone.checks import invalid
from hone.losses.kernels import native

_plain: ContextVar[bool] = ContextVar("hone_plain_torch", default=False)
_triton: ContextVar[bool] = ContextVar("hone_triton", default=False)


def use_triton(on: bool = True) -> None:
    """Let losses of tensors on a GPU use the Triton kernels, which are tested in Triton's interpreter only.

    Without it they use plain torch there. Softmax losses against labels are served, in float32 and half precision.

    Args:
        on: whether to.

    Raises:
        ValueError: Triton is not installed.

    Example:
        >>> use_triton(False)
        >>> in_use("cuda")
        'torch'
    """
    if on and importlib.util.find_spec("triton") is None:
        raise invalid("on", "be False where Triton is not installed", on)
    _triton.set(on)


def is_triton() -> bool:
    """Whether `use_triton` is in force."""
    return _triton.get()


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
    if kind == "cpu" and native.LIBRARY is not None:
        return f"native {native.LEVELS[native.level()]}"
    return "triton" if kind == "cuda" and is_triton() else "torch"
