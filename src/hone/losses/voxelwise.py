"""What the losses of single voxels share: unflattening, weighting, averaging over the voxels that count."""

from __future__ import annotations

import torch
from torch import Tensor

from hone.losses.targets import Target, sum_dtype


def reduce_voxels(loss: Tensor, known: Target, reduction: str, count: Tensor | None = None) -> Tensor:
    """Reduce a map of losses over the voxels that count.

    Args:
        loss: losses ``(N, K, V)``; what stands where nothing counts is left out.
        known: the target, for its valid voxels.
        reduction: "mean", "sum" or "none".
        count: what each entry weighs in the mean, of the loss's shape or one that expands to it; None: 1.

    Returns:
        A scalar, 0 where nothing counts; or for "none" the map.
    """
    if known.valid is not None:
        loss = loss.where(known.valid, 0)
    if reduction == "none":
        return loss
    total = loss.sum(dtype=sum_dtype(loss))
    if reduction == "sum":
        return total.to(loss.dtype)
    weights = torch.ones_like(loss[:1, :1, :1]) if count is None else count
    if known.valid is not None:
        weights = weights * known.valid.to(loss.dtype)
    weight_sum = weights.expand_as(loss).sum(dtype=total.dtype)
    return (total / weight_sum.where(weight_sum > 0, 1)).to(loss.dtype)


def weight_of_labels(weight: Tensor, known: Target) -> Tensor:
    """The class weight at each voxel, ``(N, 1, V)``; for soft targets the mean of the weights under the target."""
    if known.is_index:
        return weight[known.values].unsqueeze(1)
    return (weight[:, None] * known.values).sum(1, keepdim=True)
