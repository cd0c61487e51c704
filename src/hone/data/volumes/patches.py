"""Patches of a prepared case: where they stand, and how their voxels are read, turned and scaled or as they are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from .preparing import Prepared

#: Share of the patches that stand on a voxel of some class, each class as often as another.
FOREGROUND = 1 / 3


def choose_center(
    case: Prepared, patch_size: Sequence[int], chance: np.random.Generator, foreground: float = FOREGROUND
) -> np.ndarray:
    """Where the middle of a patch lies, in voxels.

    With probability ``foreground`` a voxel of a class that the case shows, drawn by class first, lies somewhere in the
    middle half of the patch; else every patch within the volume is as likely as another. Along an axis that is no
    longer than the patch, the volume stands in its middle.

    Args:
        case: prepared.
        patch_size: (X, Y, Z), voxels.
        chance: where random numbers come from.
        foreground: probability.

    Returns:
        (3,) float64.
    """
    shape, size = np.array(case.image.shape[1:]), np.asarray(patch_size)
    on_class, where, which = chance.random(), chance.random(3), chance.random(2)
    room = shape - size
    start = np.floor(where * (room + 1))
    if on_class < foreground and len(case.places):
        classes = np.unique(case.places[:, 0])
        voxels = case.places[case.places[:, 0] == classes[int(which[0] * len(classes))], 1:]
        start = np.clip(voxels[int(which[1] * len(voxels))] - np.floor(size / 4 + where * size / 2), 0, room)
    center: np.ndarray = np.where(room > 0, start, -(-room // 2)) + (size - 1) / 2
    return center


def read_patch(case: Prepared, center: np.ndarray, patch_size: Sequence[int]) -> tuple[Tensor, Tensor | None]:
    """The voxels of a patch as they are; beyond the volume the image is 0 and the label the background.

    Args:
        case: prepared.
        center: (3,) of the patch, as :func:`choose_center` gives it.
        patch_size: (X, Y, Z), voxels.

    Returns:
        (channels, *patch_size) float32, and (*patch_size) of the label's dtype.
    """
    start = np.rint(center - (np.asarray(patch_size) - 1) / 2).astype(np.int64)
    return _region(case, start, start + np.asarray(patch_size))


def read_middle(case: Prepared, size: Sequence[int]) -> Tensor:
    """(channels, *size) float32: the middle of a volume, with zeros around it where it is smaller."""
    room = np.array(case.image.shape[1:]) - np.asarray(size)
    start = np.where(room > 0, room // 2, -(-room // 2))
    return _region(case, start, start + np.asarray(size))[0]


def read_transformed(
    case: Prepared, center: np.ndarray, patch_size: Sequence[int], matrix: np.ndarray
) -> tuple[Tensor, Tensor | None]:
    """The voxels of a patch of a turned and scaled volume: place ``p`` of it is ``center + matrix (p - middle)``.

    Only the part of the case is read that it touches. Images linearly, labels by the nearest voxel.

    Args:
        case: prepared.
        center: (3,), voxels.
        patch_size: (X, Y, Z), voxels.
        matrix: (3, 3) of patch voxels to the case's voxels.
    """
    size = np.asarray(patch_size)
    reach = np.abs(matrix) @ ((size - 1) / 2)
    first, last = np.floor(center - reach).astype(np.int64), np.ceil(center + reach).astype(np.int64) + 1
    image, label = _region(case, first, last)
    grid = _grid(size, matrix, center - first, last - first)
    image = F.grid_sample(image[None], grid, mode="bilinear", padding_mode="border", align_corners=True)[0]
    if label is None:
        return image, None
    turned = F.grid_sample(label[None, None].float(), grid, mode="nearest", padding_mode="border", align_corners=True)
    return image, turned[0, 0].to(label.dtype)


def _region(case: Prepared, first: np.ndarray, last: np.ndarray) -> tuple[Tensor, Tensor | None]:
    """The voxels from ``first`` to ``last``, zeros where there are none."""
    shape = np.array(case.image.shape[1:])
    low, high = np.clip(first, 0, shape), np.clip(last, 0, shape)
    inside = tuple(slice(a, b) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    target = tuple(slice(a, b) for a, b in zip((low - first).tolist(), (high - first).tolist(), strict=True))
    size = (last - first).tolist()
    image = np.zeros((len(case.image), *size), dtype=np.float32)
    image[(slice(None), *target)] = case.image[(slice(None), *inside)]
    if case.label is None:
        return torch.from_numpy(image), None
    label = np.zeros(size, dtype=case.label.dtype)
    label[target] = case.label[inside]
    return torch.from_numpy(image), torch.from_numpy(label)


def _grid(size: np.ndarray, matrix: np.ndarray, center: np.ndarray, region: np.ndarray) -> Tensor:
    """(1, *size, 3): for each voxel of the patch its place in the region, in -1..1, the last axis first."""
    # Place along axis i of the region: center_i + sum_j matrix_ij (p_j - middle_j); -1 is its first voxel, 1 its last.
    half = np.maximum(region - 1, 1) / 2
    scaled = torch.from_numpy((matrix / half[:, None]).astype(np.float32))
    offset = torch.from_numpy((center / half - 1).astype(np.float32))
    axes = [torch.arange(int(n), dtype=torch.float32) - (int(n) - 1) / 2 for n in size]
    grid = offset.expand(*size.tolist(), 3).clone()
    for axis, places in enumerate(axes):
        grid += (places[:, None] * scaled[:, axis]).reshape(*[-1 if axis == k else 1 for k in range(3)], 3)
    return grid.flip(-1)[None]
