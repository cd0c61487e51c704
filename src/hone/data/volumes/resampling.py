"""Linear resampling of volumes of any length, slab by slab along their first axis.

Voxels are boxes that fill the volume, so both grids cover the same space: the middle of voxel ``i`` of ``m`` lies at
``(i + 1/2) n / m - 1/2`` of ``n``, clamped to the first and the last middle. It is ``torch.nn.functional.interpolate``
with ``mode="trilinear", align_corners=False``, but holds two slabs instead of two volumes.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F


def resampled_shape(shape: Sequence[int], spacing: Sequence[float], wanted: Sequence[float]) -> tuple[int, int, int]:
    """The size, in voxels, of a volume at another spacing.

    Example:
        >>> resampled_shape((10, 10, 5), (1.0, 1.0, 2.0), (2.0, 1.0, 1.0))
        (5, 10, 10)
    """
    x, y, z = (max(1, round(n * a / b)) for n, a, b in zip(shape, spacing, wanted, strict=True))
    return x, y, z


def resample_slabs(slabs: Iterable[Tensor], length: int, size: Sequence[int]) -> Iterator[Tensor]:
    """Bring a volume to another size, from slabs that follow one another.

    Args:
        slabs: (channels, rows, Y, Z) float, together ``length`` rows.
        length: rows of the volume.
        size: (X, Y, Z) of the result, voxels.

    Yields:
        (channels, rows, *size[1:]): slabs of the result, one after another; each as soon as it is known.

    Example:
        >>> volume = torch.arange(4.0).reshape(1, 4, 1, 1)
        >>> torch.cat(list(resample_slabs(volume.split(2, dim=1), 4, (8, 1, 1))), dim=1).flatten().tolist()
        [0.0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3.0]
    """
    if length == size[0]:  # every row is its own
        yield from (_planes(slab, size[1:]) for slab in slabs)
        return
    place = ((torch.arange(size[0], dtype=torch.float64) + 0.5) * length / size[0] - 0.5).clamp(0, length - 1)
    below = place.long()
    above = (below + 1).clamp(max=length - 1)
    share = (place - below).float()
    held, first, done = None, 0, 0
    for slab in slabs:
        flat = _planes(slab, size[1:])
        held = flat if held is None else torch.cat([held, flat], dim=1)
        ready = int(torch.searchsorted(above, first + held.shape[1]))
        if ready > done:
            low, high = (rows[done:ready] - first for rows in (below, above))
            weight = share[done:ready, None, None].to(held)
            yield torch.lerp(held[:, low.to(held.device)], held[:, high.to(held.device)], weight)
            done = ready
        if done < size[0]:
            # Where rows are skipped, the next one that is needed may not be there yet.
            passed = min(int(below[done]) - first, held.shape[1])
            held, first = held[:, passed:], first + passed


def nearest_rows(length: int, size: int) -> np.ndarray:
    """For each of ``size`` voxels along an axis, which of ``length`` its middle lies in.

    Example:
        >>> nearest_rows(2, 4).tolist()
        [0, 0, 1, 1]
    """
    return ((np.arange(size) + 0.5) * length / size).astype(np.int64).clip(0, length - 1)


def nearest(volume: np.ndarray, size: Sequence[int]) -> np.ndarray:
    """A label map at another size: each voxel gets the label that its middle lies in."""
    for axis, (length, wanted) in enumerate(zip(volume.shape, size, strict=True)):
        if length != wanted:
            volume = np.take(volume, nearest_rows(length, wanted), axis)
    return volume


def _planes(slab: Tensor, size: Sequence[int]) -> Tensor:
    """Each row's plane at another size."""
    if tuple(slab.shape[2:]) == tuple(size):
        return slab
    return F.interpolate(slab.transpose(0, 1), size=tuple(size), mode="bilinear", align_corners=False).transpose(0, 1)
