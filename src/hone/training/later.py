"""Reading a number from the device without making the next update wait for it."""

from __future__ import annotations

import torch
from torch import Tensor


class Later:
    """A 0-d tensor on its way to the host: asked for now, read when somebody needs it.

    On CUDA the value is copied to pinned memory in the stream's order, and ``read`` waits for that copy alone;
    elsewhere the tensor is kept and read when asked.

    Example:
        >>> Later(torch.tensor(2.5)).read()
        2.5
    """

    __slots__ = ("_event", "_value")

    def __init__(self, value: Tensor) -> None:
        self._event: torch.cuda.Event | None = None
        self._value = value
        if value.is_cuda:
            self._value = torch.empty((), dtype=value.dtype, pin_memory=True)
            self._value.copy_(value, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(value.device))

    def read(self) -> float:
        """The number, waiting for its copy where that is still under way."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        return float(self._value)
