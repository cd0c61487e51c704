"""The CPU kernels: finding the library, and calling its two functions on tensors."""

from __future__ import annotations

import ctypes
import functools
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hone.checks import invalid

LEVELS = ("baseline", "AVX2", "AVX-512")
LOGITS_TYPES = {torch.float32: 0, torch.bfloat16: 1, torch.float16: 2}
LABEL_TYPES = {torch.uint8: 3, torch.bool: 3, torch.int16: 4, torch.int32: 5, torch.int64: 6}
VALUE_TYPES = {torch.float32: 0, **LABEL_TYPES}

#: Fewer logits than this stay on one thread: handing over costs more than it saves.
SMALLEST_SHARED = 100_000

#: How many sums there are: the rows of the tensor (ROWS, N, C), in the order of `hone.losses.sums.Sums`.
ROWS = 8


def _load() -> ctypes.CDLL | None:
    for path in sorted(Path(__file__).parent.glob("_cpu*")):
        if path.suffix in (".so", ".pyd", ".dylib"):
            try:
                found = ctypes.CDLL(str(path))
            except OSError:  # built for another machine, or an OpenMP runtime that torch does not have
                continue
            pointer, whole, number, double = (
                ctypes.c_void_p,
                ctypes.c_int,
                ctypes.c_int64,
                ctypes.POINTER(ctypes.c_double),
            )
            head: list[Any] = [whole] * 3 + [pointer, whole, pointer, whole, pointer, *[number] * 4]
            head += [whole, ctypes.c_float, whole]
            found.hone_region_sums.argtypes = [*head, pointer, double]
            found.hone_region_sums_grad.argtypes = [*head, pointer, pointer, double]
            return found
    return None


#: The library beside this file, or None where it was not built or can't be loaded. Found once, on import: torch's
#: compiler then sees a constant and looks for no files.
LIBRARY = _load()


@functools.cache
def level() -> int:
    """The best instruction set that machine and library share: an index into `LEVELS`."""
    return 0 if LIBRARY is None else int(LIBRARY.hone_level())


def serves(logits: Tensor, target: Tensor, *, sigmoid: bool) -> bool:
    """Whether the kernels take these tensors."""
    types = VALUE_TYPES if sigmoid else LABEL_TYPES
    return (
        logits.device.type == target.device.type == "cpu"
        and logits.dtype in LOGITS_TYPES
        and target.dtype in types
        and logits.numel() > 0
        and not target.requires_grad
        and LIBRARY is not None
    )


def is_channels_last(logits: Tensor) -> bool:
    """Whether the classes of a voxel lie side by side, which the softmax kernels read as it is."""
    return not logits.is_contiguous() and logits.movedim(1, -1).is_contiguous()


def compute_sums(
    logits: Tensor, target: Tensor, mask: Tensor | None, sigmoid: bool, ignore_index: int, flags: int, gamma: float
) -> Tensor:
    """The sums ``(ROWS, N, C)``, float64.

    Raises:
        ValueError: a label or value is out of range.
    """
    sums = torch.zeros(ROWS, *logits.shape[:2], dtype=torch.float64)
    logits = _dense(logits, sigmoid)
    _call("hone_region_sums", logits, target, mask, sigmoid, ignore_index, flags, gamma, [sums.data_ptr()])
    return sums


def compute_grad(
    upstream: Tensor,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    sigmoid: bool,
    ignore_index: int,
    flags: int,
    gamma: float,
    *,
    inplace: bool = False,
) -> Tensor:
    """The gradient of the logits, from that of the sums; over the logits where ``inplace``."""
    logits = _dense(logits, sigmoid)
    grad = logits if inplace else torch.empty_like(logits)
    upstream = upstream.to(torch.float64).contiguous()
    out = [upstream.data_ptr(), grad.data_ptr()]
    _call("hone_region_sums_grad", logits, target, mask, sigmoid, ignore_index, flags, gamma, out)
    return grad


def _dense(logits: Tensor, sigmoid: bool) -> Tensor:
    return logits if not sigmoid and is_channels_last(logits) else logits.contiguous()


def _call(
    name: str,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    sigmoid: bool,
    ignore_index: int,
    flags: int,
    gamma: float,
    out: list[int],
) -> None:
    if LIBRARY is None:
        raise RuntimeError("the CPU kernels of hone are not built")
    n, c, voxels = logits.shape[0], logits.shape[1], logits.shape[2:].numel()
    target = target.contiguous()
    mask = None if mask is None else mask.to(torch.bool).contiguous()
    threads = 1 if logits.numel() < SMALLEST_SHARED else torch.get_num_threads()
    bad = ctypes.c_double()
    status = getattr(LIBRARY, name)(
        int(sigmoid),
        level(),
        threads,
        logits.data_ptr(),
        LOGITS_TYPES[logits.dtype],
        target.data_ptr(),
        VALUE_TYPES[target.dtype],
        None if mask is None else mask.data_ptr(),
        n,
        c,
        voxels,
        ignore_index,
        flags,
        gamma,
        int(is_channels_last(logits)),
        *out,
        ctypes.byref(bad),
    )
    if status == 2:
        raise MemoryError("the CPU kernels of hone found no memory for their scratch")
    if status == 1:
        value = bad.value if target.is_floating_point() else int(bad.value)
        if sigmoid:
            raise invalid("target", "hold values in 0 .. 1", value)
        raise invalid("target", f"hold labels in 0 .. {c - 1} or ignore_index ({ignore_index})", value)
