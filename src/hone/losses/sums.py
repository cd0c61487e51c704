r"""The sums over voxels from which every region loss, and every mean of a cross-entropy, is computed.

With :math:`p` the softmax or sigmoid of the logits, :math:`t` the target and the sums over the valid voxels of one
sample and one class, a loss is ordinary autograd on a few ``(N, C)`` numbers:

    Dice       1 - (2 I + s) / (P + T + s)
    Jaccard    1 - (I + s) / (P + T - I + s)
    CE         sum_c w_c H_c / sum_c w_c T_c

All processes agree after one all-reduce of these sums. A kernel that computes them needs to keep nothing but logits and
target, and one backward serves all losses.
"""

from __future__ import annotations

from torch import Tensor

from hone.losses.kernels.operator import fused_sums
from hone.losses.plain_sums import (
    COMPLEMENT,
    CROSS_ENTROPY,
    REGIONS,
    SQUARES,
    Sums,
    plain_sigmoid_sums,
    plain_softmax_sums,
    visible,
)
from hone.losses.targets import (
    fit_mask,
    fit_sigmoid_target,
    fit_softmax_target,
    read_sigmoid_target,
    read_softmax_target,
)

__all__ = ["Sums", "compute_sums", "sigmoid_sums", "softmax_sums", "visible"]


def softmax_sums(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    ignore_index: int = -100,
    regions: bool = True,
    squares: bool = False,
    cross_entropy: bool = False,
    complement: bool = False,
    gamma: float = 0.0,
    inplace: bool = False,
) -> Sums:
    """The sums of a softmax over axis 1 against labels, one-hot or soft targets.

    Args:
        logits: ``(N, C, *spatial)``, floating point, C at least 2.
        target: labels ``(N, *spatial)`` or ``(N, 1, *spatial)``, or values in [0, 1] of the logits' shape.
        mask: true where voxels count, ``(N, *spatial)``.
        ignore_index: the label whose voxels don't count.
        regions: whether ``sum p t`` and ``sum p`` are wanted.
        squares: whether the sums of squares are wanted.
        cross_entropy: whether ``-sum t (1 - p)^gamma log p`` is wanted.
        complement: whether ``-sum log p`` is wanted; a class masked by a logit of -inf adds nothing.
        gamma: the focal exponent, at least 0.
        inplace: whether the gradient may be written over the logits (by a kernel, in eager mode).

    Returns:
        The sums, each ``(N, C)``; zero where not wanted.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit.

    Example:
        >>> import torch
        >>> sums = softmax_sums(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 1]]))
        >>> sums.intersection.tolist(), sums.target.tolist()
        ([[0.5, 1.5]], [[1.0, 3.0]])
    """
    flags = REGIONS * regions + SQUARES * squares + CROSS_ENTROPY * cross_entropy + COMPLEMENT * complement
    return compute_sums(
        logits, target, mask, sigmoid=False, ignore_index=ignore_index, flags=flags, gamma=gamma, inplace=inplace
    )


def sigmoid_sums(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    ignore_index: int = -100,
    regions: bool = True,
    squares: bool = False,
    cross_entropy: bool = False,
    complement: bool = False,
    gamma: float = 0.0,
    inplace: bool = False,
) -> Sums:
    """The sums of a sigmoid of each channel against values in [0, 1].

    Args:
        logits: ``(N, C, *spatial)`` or ``(N,)``, floating point.
        target: of the logits' shape, or without the channel axis where C is 1; bool, integer 0 or 1, or soft.
        mask: true where voxels count, ``(N, *spatial)``.
        ignore_index: the value whose voxels don't count.
        regions: whether ``sum p t`` and ``sum p`` are wanted.
        squares: whether the sums of squares are wanted.
        cross_entropy: whether ``-sum t (1 - p)^gamma log p`` is wanted.
        complement: whether ``-sum (1 - t) p^gamma log(1 - p)`` is wanted.
        gamma: the focal exponent, at least 0.
        inplace: whether the gradient may be written over the logits (by a kernel, in eager mode).

    Returns:
        The sums, each ``(N, C)``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit.

    Example:
        >>> import torch
        >>> sigmoid_sums(torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 1]]])).intersection.item()
        1.5
    """
    flags = REGIONS * regions + SQUARES * squares + CROSS_ENTROPY * cross_entropy + COMPLEMENT * complement
    return compute_sums(
        logits, target, mask, sigmoid=True, ignore_index=ignore_index, flags=flags, gamma=gamma, inplace=inplace
    )


def compute_sums(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    *,
    sigmoid: bool,
    ignore_index: int,
    flags: int,
    gamma: float,
    inplace: bool,
) -> Sums:
    """The sums by a kernel where one takes these tensors, else in plain torch."""
    if sigmoid:
        target, mask = fit_sigmoid_target(logits, target), fit_mask(logits, mask)
        logits = logits.unsqueeze(1) if logits.ndim == 1 else logits
        by_label = False
    else:
        target, mask = fit_softmax_target(logits, target), fit_mask(logits, mask)
        by_label = target.shape != logits.shape
    if sigmoid or by_label:
        fused = fused_sums(
            logits, target, mask, sigmoid=sigmoid, ignore_index=ignore_index, flags=flags, gamma=gamma, inplace=inplace
        )
        if fused is not None:
            return Sums(*fused.unbind())
    if sigmoid:
        return plain_sigmoid_sums(logits, read_sigmoid_target(logits, target, mask, ignore_index), flags, gamma)
    return plain_softmax_sums(logits, read_softmax_target(logits, target, mask, ignore_index), flags, gamma)
