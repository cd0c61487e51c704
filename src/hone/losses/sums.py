r"""The sums over voxels from which every region loss, and every mean of a cross-entropy, is computed.

With :math:`p` the softmax or sigmoid of the logits, :math:`t` the target and the sums over the valid voxels of one
sample and one class, a loss is ordinary autograd on a few ``(N, C)`` numbers:

    Dice       1 - (2 I + s) / (P + T + s)
    Jaccard    1 - (I + s) / (P + T - I + s)
    CE         sum_c w_c H_c / sum_c w_c T_c

All processes agree after one all-reduce of these sums. A kernel that computes them needs to keep nothing but logits and
target, and one backward serves all losses. This file is the plain torch form, which defines what kernels must return.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hone.losses.targets import (
    Target,
    flatten_logits,
    read_sigmoid_target,
    read_softmax_target,
    sum_dtype,
    working_dtype,
)


class Sums(NamedTuple):
    """Sums over the valid voxels, each ``(N, C)``, float64 (float32 where the device has no float64)."""

    intersection: Tensor
    """sum p t"""
    prediction: Tensor
    """sum p"""
    target: Tensor
    """sum t"""
    valid: Tensor
    """how many voxels count"""
    prediction_squares: Tensor
    """sum p^2; zero unless asked for"""
    target_squares: Tensor
    """sum t^2; zero unless asked for"""
    cross_entropy: Tensor
    """-sum t log p; zero unless asked for"""
    complement: Tensor
    """softmax: -sum log p, what label smoothing adds; sigmoid: -sum (1 - t) log(1 - p); zero unless asked for"""


def softmax_sums(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    ignore_index: int = -100,
    squares: bool = False,
    cross_entropy: bool = False,
    complement: bool = False,
) -> Sums:
    """The sums of a softmax over axis 1 against labels, one-hot or soft targets.

    Args:
        logits: ``(N, C, *spatial)``, floating point, C at least 2.
        target: labels ``(N, *spatial)`` or ``(N, 1, *spatial)``, or values in [0, 1] of the logits' shape.
        mask: true where voxels count, ``(N, *spatial)``.
        ignore_index: the label whose voxels don't count.
        squares: whether the sums of squares are wanted.
        cross_entropy: whether the cross-entropy is wanted.
        complement: whether ``-sum log p`` is wanted; a class masked by a logit of -inf adds nothing.

    Returns:
        The sums, each ``(N, C)``.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit.

    Example:
        >>> sums = softmax_sums(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
        >>> sums.intersection.tolist(), sums.target.tolist()
        ([[0.5, 1.5]], [[1.0, 3.0]])
    """
    known = read_softmax_target(logits, target, mask, ignore_index)
    log_probs = torch.log_softmax(visible(logits, known), 1)
    probs = log_probs.exp()
    dtype = sum_dtype(logits)
    weight = None if known.valid is None else known.valid.to(probs.dtype)
    none = torch.zeros(probs.shape[:2], dtype=dtype, device=logits.device)

    def total(values: Tensor) -> Tensor:
        return (values if weight is None else values * weight).sum(-1, dtype=dtype)

    def total_by_label(values: Tensor) -> Tensor:
        picked = values.gather(1, known.values.unsqueeze(1)).squeeze(1)
        kept = picked if weight is None else picked * weight[:, 0]
        return none.scatter_add(1, known.values, kept.to(dtype))

    if known.is_index:
        intersection = total_by_label(probs)
        ones = torch.ones_like(known.values, dtype=dtype) if weight is None else weight[:, 0].to(dtype)
        target_sum = none.scatter_add(1, known.values, ones)
        target_squares = target_sum
        entropy = total_by_label(-log_probs) if cross_entropy else none
    else:
        values = known.values.to(probs.dtype)
        intersection, target_sum, target_squares = total(probs * values), total(values), total(values * values)
        entropy = total((-values * log_probs).where(values > 0, 0)) if cross_entropy else none
    return Sums(
        intersection,
        total(probs),
        target_sum,
        _count_valid(known, probs, dtype),
        total(probs * probs) if squares else none,
        target_squares if squares else none,
        entropy,
        total((-log_probs).where(log_probs > -torch.inf, 0)) if complement else none,
    )


def sigmoid_sums(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    ignore_index: int = -100,
    squares: bool = False,
    cross_entropy: bool = False,
    complement: bool = False,
) -> Sums:
    """The sums of a sigmoid of each channel against values in [0, 1].

    Args:
        logits: ``(N, C, *spatial)`` or ``(N,)``, floating point.
        target: of the logits' shape, or without the channel axis where C is 1; bool, integer 0 or 1, or soft.
        mask: true where voxels count, ``(N, *spatial)``.
        ignore_index: the value whose voxels don't count.
        squares: whether the sums of squares are wanted.
        cross_entropy: whether ``-sum t log p`` is wanted.
        complement: whether ``-sum (1 - t) log(1 - p)`` is wanted.

    Returns:
        The sums, each ``(N, C)``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit.

    Example:
        >>> sigmoid_sums(torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 1]]])).intersection.item()
        1.5
    """
    known = read_sigmoid_target(logits, target, mask, ignore_index)
    x = visible(logits, known)
    probs, values = x.sigmoid(), known.values.to(x.dtype)
    dtype = sum_dtype(logits)
    weight = None if known.valid is None else known.valid.to(x.dtype)
    none = torch.zeros(x.shape[:2], dtype=dtype, device=logits.device)

    def total(values: Tensor) -> Tensor:
        return (values if weight is None else values * weight).sum(-1, dtype=dtype)

    log_sigmoid = torch.nn.functional.logsigmoid  # exact everywhere; softplus turns linear at 20
    return Sums(
        total(probs * values),
        total(probs),
        total(values),
        _count_valid(known, x, dtype),
        total(probs * probs) if squares else none,
        total(values * values) if squares else none,
        total((-values * log_sigmoid(x)).where(values > 0, 0)) if cross_entropy else none,
        total(((values - 1) * log_sigmoid(-x)).where(values < 1, 0)) if complement else none,
    )


def visible(logits: Tensor, known: Target) -> Tensor:
    """``logits`` as ``(N, C, V)`` in the working dtype, zero where voxels don't count: a NaN there must not spread."""
    flat = flatten_logits(logits).to(working_dtype(logits))
    return flat if known.valid is None else flat.masked_fill(~known.valid, 0)


def _count_valid(known: Target, like: Tensor, dtype: torch.dtype) -> Tensor:
    n, c, voxels = like.shape
    if known.valid is None:
        return torch.full((n, c), float(voxels), dtype=dtype, device=like.device)
    return known.valid.sum(-1, dtype=dtype).expand(n, c)
