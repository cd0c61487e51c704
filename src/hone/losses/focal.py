"""Focal losses: cross-entropy in which easy voxels count less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from hone.checks import number, one_of
from hone.losses.cross_entropy import CrossEntropyLoss
from hone.losses.loss import Loss
from hone.losses.region import Reduction
from hone.losses.sums import visible
from hone.losses.targets import (
    check_weight,
    count_valid,
    match_weight,
    read_sigmoid_target,
    read_softmax_target,
    working_dtype,
)
from hone.losses.voxelwise import reduce_voxels, weight_of_labels


class FocalOptions(TypedDict, total=False):
    """Options of `FocalLoss`."""

    gamma: float
    weight: Sequence[float] | None
    ignore_index: int
    reduction: Reduction


class SigmoidFocalOptions(TypedDict, total=False):
    """Options of `SigmoidFocalLoss`."""

    gamma: float
    alpha: float | None
    weight: Sequence[float] | None
    ignore_index: int
    reduction: Reduction


class FocalLoss(Loss):
    r"""Focal loss of the softmax.

    .. math:: L = -\frac{\sum_v w_{t_v} (1 - p_{v t_v})^\gamma \log p_{v t_v}}{\sum_v w_{t_v}}

    With ``gamma=0`` it is `CrossEntropyLoss`.

    Args:
        gamma: the exponent, at least 0; below 1 is fine too.
        weight: one number for each class, at least 0.
        ignore_index: the label whose voxels don't count.
        reduction: "mean", "sum", or "none" for the losses ``(N, *spatial)``.

    Called as `CrossEntropyLoss`; for soft targets the sum over classes of ``t`` times the term of that class, and the
    mean over voxels.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> round(FocalLoss(gamma=2.0)(logits, target).item(), 4)
        0.8259

    Reference:
        Lin et al., Focal loss for dense object detection, 2017, arXiv:1708.02002, equation 5.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, at_least=0)
        self.weight = check_weight("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        weight = match_weight("weight", self.weight, logits, working_dtype(logits))
        entropy = -torch.log_softmax(visible(logits, known), 1)
        if known.is_index:
            loss = damp(entropy.gather(1, known.values.unsqueeze(1)), self.gamma)
            count = None if weight is None else weight_of_labels(weight, known)
            loss = loss if count is None else loss * count
        else:
            terms = (known.values * damp(entropy, self.gamma)).where(known.values > 0, 0)
            loss = (terms if weight is None else terms * weight[:, None]).sum(1, keepdim=True)
            count = None
        reduced = reduce_voxels(loss, known, self.reduction, count)
        return reduced.reshape(logits.shape[0], *logits.shape[2:]) if self.reduction == "none" else reduced

    def valid_weight(self, target: Tensor) -> Tensor:
        """As `CrossEntropyLoss.valid_weight`."""
        weight = None if self.weight is None else self.weight.tolist()
        return CrossEntropyLoss(weight, self.ignore_index).valid_weight(target)


class SigmoidFocalLoss(Loss):
    r"""Focal loss of the sigmoid of each channel.

    .. math:: L = -\frac1V \sum_v w_c\,\alpha_t (1 - p_t)^\gamma \log p_t

    with :math:`p_t` the probability of what the target says, and :math:`\alpha_t` being :math:`\alpha` for 1 and
    :math:`1 - \alpha` for 0.

    Args:
        gamma: the exponent, at least 0; below 1 is fine too.
        alpha: the weight of positives in [0, 1]; None: both weigh 1.
        weight: one number for each channel, at least 0.
        ignore_index: the target value whose entries don't count.
        reduction: "mean", "sum", or "none" for losses of the logits' shape.

    Called as `BCEWithLogitsLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.tensor([[2.0], [-2.0]]), torch.tensor([1, 0])
        >>> round(SigmoidFocalLoss()(logits, target).item(), 6)
        0.000902

    Reference:
        Lin et al., Focal loss for dense object detection, 2017, arXiv:1708.02002, equation 5.
    """

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.25,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, at_least=0)
        self.alpha = None if alpha is None else number("alpha", alpha, at_least=0, at_most=1)
        self.weight = check_weight("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_sigmoid_target(logits, target, mask, self.ignore_index)
        weight = match_weight("weight", self.weight, logits, working_dtype(logits))
        x = visible(logits, known)
        values = known.values.to(x.dtype)
        entropy = (-values * F.logsigmoid(x)).where(values > 0, 0)
        entropy = entropy + ((values - 1) * F.logsigmoid(-x)).where(values < 1, 0)
        # The complement of p_t, each half from its own sigmoid: 1 - p would round to 0 at logit 20.
        missed = (values * (-x).sigmoid() + (1 - values) * x.sigmoid()).clamp_min(_TINY)
        loss = missed**self.gamma * entropy
        if self.alpha is not None:
            loss = loss * (self.alpha * values + (1 - self.alpha) * (1 - values))
        if weight is not None:
            loss = loss * weight[:, None]
        reduced = reduce_voxels(loss, known, self.reduction)
        return reduced.reshape(logits.shape) if self.reduction == "none" else reduced

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many entries of ``target`` count."""
        return count_valid(target, self.ignore_index)


#: Below this ``1 - p`` is held: its power then has a gradient of 0, where that of 0**0.5 would be infinite.
_TINY = 1e-30


def damp(entropy: Tensor, gamma: float) -> Tensor:
    """``(1 - p)^gamma (-log p)`` from ``-log p``."""
    return (-torch.expm1(-entropy)).clamp_min(_TINY) ** gamma * entropy


def focal_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[FocalOptions]
) -> Tensor:
    """`FocalLoss` as a function; the options are the same.

    Example:
        >>> round(focal_loss(torch.zeros(1, 2), torch.tensor([1]), gamma=0.0).item(), 4)
        0.6931
    """
    return FocalLoss(**options)(logits, target, mask)


def sigmoid_focal_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[SigmoidFocalOptions]
) -> Tensor:
    """`SigmoidFocalLoss` as a function; the options are the same.

    Example:
        >>> round(sigmoid_focal_loss(torch.zeros(1, 1), torch.tensor([[1]]), gamma=0.0, alpha=None).item(), 4)
        0.6931
    """
    return SigmoidFocalLoss(**options)(logits, target, mask)
