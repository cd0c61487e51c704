"""Autocast without a weight cache, as a context and as a decorator; and a context that leaves everything as it is."""

from __future__ import annotations

import functools
from collections.abc import Callable
from types import TracebackType
from typing import ParamSpec, TypeVar

import torch

P = ParamSpec("P")
R = TypeVar("R")


class Autocast:
    """Run a block, or a decorated function, with the operations that gain from it in ``dtype``.

    Each entry is a fresh ``torch.autocast``, so that one object can be entered again inside itself. The weight cache is
    off. With it, a weight changed inside the block (a step, a swap for averaged weights) is still used as it was; and
    in older versions of torch a copy made under ``no_grad`` had no history, so that the next update lost that weight's
    gradient without a word (PyTorch #112583). A layer used once in a forward pass costs the same either way.

    Args:
        device_type: "cpu", "cuda" or "mps".
        dtype: bfloat16, float16, or None to do nothing.

    Example:
        >>> with Autocast("cpu", torch.bfloat16):
        ...     torch.ones(2, 2) @ torch.ones(2, 2)
        tensor([[2., 2.],
                [2., 2.]], dtype=torch.bfloat16)
    """

    __slots__ = ("_device_type", "_dtype", "_entered")

    def __init__(self, device_type: str, dtype: torch.dtype | None) -> None:
        self._device_type = device_type
        self._dtype = dtype
        self._entered: list[torch.autocast] = []

    def __enter__(self) -> None:
        if self._dtype is not None:
            fresh = torch.autocast(self._device_type, self._dtype, cache_enabled=False)
            fresh.__enter__()  # type: ignore[no-untyped-call]
            self._entered.append(fresh)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._dtype is not None:
            self._entered.pop().__exit__(kind, error, trace)

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Decorate ``function``: every call of it enters its own autocast."""
        device_type, dtype = self._device_type, self._dtype

        @functools.wraps(function)
        def inside(*args: P.args, **kwargs: P.kwargs) -> R:
            with Autocast(device_type, dtype):
                return function(*args, **kwargs)

        return inside
