"""The most memory that a piece of work has in use, on a GPU or, on Linux, in the process."""

from __future__ import annotations

import ctypes
import gc
import sys
from pathlib import Path

import torch

_STATUS = Path("/proc/self/status")
_RESET = Path("/proc/self/clear_refs")


class PeakMemory:
    """Measure from construction to ``read()``: the peak above what was in use at the start.

    Args:
        device: where the work runs.

    Example:
        >>> peak = PeakMemory("cpu")
        >>> held = torch.zeros(2**22)
        >>> peak.read() is None or peak.read() > 2**23
        True
    """

    def __init__(self, device: torch.device | str) -> None:
        self._device = torch.device(device)
        gc.collect()
        if self._device.type == "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self._device)
            self._before: int | None = torch.cuda.memory_allocated(self._device)
            return
        give_back_free_memory()
        self._before = reset_resident_peak()

    def read(self) -> int | None:
        """Bytes; None where the system does not say."""
        if self._before is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) - self._before
        return max(0, resident("VmHWM") - self._before)


def give_back_free_memory() -> None:
    """Return freed memory to the system, or what was freed before would hide what is used now (glibc only)."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def reset_resident_peak() -> int | None:
    """Set the process's peak back to what it holds now, and return that; None where the system has no such thing."""
    try:
        _RESET.write_text("5")
        return resident("VmRSS")
    except OSError:
        return None


def resident(field: str) -> int:
    """A field of /proc/self/status in bytes."""
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(field))
    return int(line.split()[1]) * 1024


def available_bytes() -> int | None:
    """Memory that can be had without swapping; None where the system does not say."""
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
    except OSError:
        return None
    found = next((line for line in lines if line.startswith("MemAvailable")), None)
    return None if found is None else int(found.split()[1]) * 1024
