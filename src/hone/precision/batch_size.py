"""The largest batch that fits, found by trying, and the accumulation that keeps the effective batch."""

from __future__ import annotations

import gc
from collections.abc import Callable

import torch

from hone.checks import integer, invalid

#: What allocators say when memory is out; only torch's CUDA allocator has an exception of its own.
_WORDS = ("out of memory", "can't allocate memory", "cannot allocate memory", "alloc_failed")


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory ran out.

    Example:
        >>> is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried ..."))
        True
        >>> is_out_of_memory(RuntimeError("shapes do not match"))
        False
    """
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in _WORDS)


def fits(attempt: Callable[[int], object], size: int) -> bool:
    """Whether ``attempt(size)`` runs without running out of memory; any other error is raised."""
    try:
        attempt(size)
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
    else:
        return True
    # Out of the except block: the traceback held the tensors of the failed attempt.
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return False


def largest_batch(attempt: Callable[[int], object], *, start: int = 1, at_most: int = 4096) -> int:
    """The largest batch size for which ``attempt`` does not run out of memory.

    Doubles from ``start`` until one fails, then halves the gap: about 2 log2(n) attempts.

    Args:
        attempt: makes one whole update with that many samples.
        start: tried first.
        at_most: never tried above.

    Returns:
        The batch size.

    Raises:
        ValueError: not even one sample fits.

    Example:
        >>> def attempt(size: int) -> None:
        ...     if size > 37:
        ...         raise torch.OutOfMemoryError("out of memory")
        >>> largest_batch(attempt)
        37
    """
    integer("at_most", at_most, at_least=1)
    size = integer("start", start, at_least=1, at_most=at_most)
    good, bad = 0, at_most + 1
    while good + 1 < bad:
        if fits(attempt, size):
            good = size
        else:
            bad = size
        size = min(2 * good, at_most) if bad > at_most and good else (good + bad) // 2
    if not good:
        raise invalid("batch_size", "be at least 1", 0, "not even one sample fits; try checkpointing or smaller images")
    return good


def accumulation(effective: int, fitting: int) -> tuple[int, int]:
    """Split an effective batch into equal micro-batches that fit.

    Args:
        effective: samples an update.
        fitting: samples that fit at once.

    Returns:
        The largest batch size that divides ``effective`` and fits, and the number of micro-batches.

    Example:
        >>> accumulation(64, 37)
        (32, 2)
    """
    integer("effective", effective, at_least=1)
    integer("fitting", fitting, at_least=1)
    size = next(n for n in range(min(effective, fitting), 0, -1) if effective % n == 0)
    return size, effective // size
