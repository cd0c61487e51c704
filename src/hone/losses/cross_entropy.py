"""Cross-entropy of the softmax."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import torch
from torch import Tensor

from hone.checks import number, one_of
from hone.losses.plain_sums import COMPLEMENT, CROSS_ENTROPY, Sums, damp, visible
from hone.losses.region import Reduction
from hone.losses.sums_loss import SumsLoss, Wants
from hone.losses.targets import (
    Target,
    check_labels,
    check_weight,
    count_of,
    match_weight,
    read_softmax_target,
    sum_dtype,
    working_dtype,
)


class CrossEntropyOptions(TypedDict, total=False):
    """Options of `CrossEntropyLoss`."""

    weight: Sequence[float] | None
    ignore_index: int
    reduction: Reduction
    label_smoothing: float
    across_processes: bool
    inplace: bool


class CrossEntropyLoss(SumsLoss):
    r"""Cross-entropy of the softmax, torch's, but right in half precision and where nothing counts.

    .. math:: L = -\frac{\sum_v \sum_c w_c\,\tilde t_{vc} \log p_{vc}}{\sum_v w_{t_v}},
              \quad \tilde t = (1 - \epsilon)\,t + \epsilon / C

    For soft targets (mixup) the denominator is the number of voxels, as in torch. Everything ignored: 0.

    Args:
        weight: one number for each class, at least 0.
        ignore_index: the label whose voxels don't count.
        reduction: "mean", "sum", or "none" for the losses ``(N, *spatial)``.
        label_smoothing: :math:`\epsilon` in [0, 1]. A class masked by a logit of -inf takes none of it.
        across_processes: whether the mean is over the batches of all processes. Every process must then call the loss.
        inplace: whether the gradient may be written over the logits; see `RegionLoss`.

    Called with logits ``(N, C, *spatial)``, labels ``(N, *spatial)`` of any integer dtype or bool, or soft targets of
    the logits' shape, and optionally a mask ``(N, *spatial)``.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 255])
        >>> round(CrossEntropyLoss(ignore_index=255)(logits, target).item(), 4)
        0.1269

    Reference:
        Szegedy et al., Rethinking the Inception architecture, 2015, arXiv:1512.00567, section 7 (label smoothing).
    """

    softmax = True

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        label_smoothing: float = 0.0,
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.weight = check_weight("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])
        self.label_smoothing = number("label_smoothing", label_smoothing, at_least=0, at_most=1)
        self.across_processes, self.inplace = across_processes, inplace
        self.wants = Wants(CROSS_ENTROPY + (COMPLEMENT if self.label_smoothing > 0 else 0))
        self.shares = reduction != "none"

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        return super().forward(logits, target, mask) if self.shares else self._voxels(logits, target, mask)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """The loss from the sums of a pass that had ``cross_entropy`` (and ``complement``, for smoothing)."""
        weight = match_weight("weight", self.weight, sums.target, sums.target.dtype)
        per_class = sums.cross_entropy
        if self.label_smoothing > 0:
            share = self.label_smoothing / per_class.shape[1]
            per_class = (1 - self.label_smoothing) * per_class + share * sums.complement
        return average_by_label(per_class, sums, weight, is_index, self.reduction)

    def valid_weight(self, target: Tensor) -> Tensor:
        """The sum of the class weights over the voxels that count; for soft targets the number of voxels."""
        if torch.is_floating_point(target):
            return count_of(target, target.numel() / target.shape[1])
        if self.weight is None:
            return super().valid_weight(target)
        weight = self.weight.to(target.device, sum_dtype(target))
        if target.device.type == "cpu":
            check_labels(target, weight.numel(), ignore_index=self.ignore_index)
        counted = target != self.ignore_index
        return (weight[target.long().where(counted, 0)] * counted).sum()

    def _voxels(self, logits: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        weight = match_weight("weight", self.weight, logits, working_dtype(logits))
        return softmax_voxels(logits, known, weight, label_smoothing=self.label_smoothing)


def average_by_label(per_class: Tensor, sums: Sums, weight: Tensor | None, is_index: bool, reduction: str) -> Tensor:
    """Sums ``(N, C)`` of losses, averaged by the weights of the labels, or over the voxels of soft targets."""
    total = (per_class if weight is None else per_class * weight).sum()
    if reduction == "sum":
        return total
    if is_index:
        count = (sums.target if weight is None else sums.target * weight).sum()
    else:
        count = sums.valid[:, 0].sum()
    return total / torch.where(count > 0, count, 1)


def softmax_voxels(
    logits: Tensor, known: Target, weight: Tensor | None, *, gamma: float = 0.0, label_smoothing: float = 0.0
) -> Tensor:
    """The cross-entropy (or focal loss) of each voxel ``(N, *spatial)``, 0 where nothing counts."""
    losses = -torch.log_softmax(visible(logits, known), 1)
    scale = losses.new_ones(losses.shape[1], 1) if weight is None else weight[:, None]
    if known.is_index:
        loss = damp(losses.gather(1, known.values.unsqueeze(1)), gamma) * scale[:, 0][known.values].unsqueeze(1)
    else:
        chosen = damp(losses.where(known.values > 0, 0), gamma)
        loss = (known.values * chosen * scale).sum(1, keepdim=True)
    if label_smoothing > 0:
        spread = (losses.where(losses < torch.inf, 0) * scale).sum(1, keepdim=True) / losses.shape[1]
        loss = (1 - label_smoothing) * loss + label_smoothing * spread
    if known.valid is not None:
        loss = loss.where(known.valid, 0)
    return loss.reshape(logits.shape[0], *logits.shape[2:])


class TopKCrossEntropyLoss(CrossEntropyLoss):
    r"""The mean cross-entropy of the hardest voxels only.

    .. math:: L = \frac1k \sum_{v \in \text{the k largest}} -w_{t_v} \log p_{v t_v}, \quad k = \lceil f V \rceil

    V is the number of voxels that count.

    Args:
        fraction: f in (0, 1].
        options: those of `CrossEntropyLoss`, less ``reduction``, ``across_processes`` and ``inplace``.

    Returns:
        A float32 scalar (float64 for float64 logits); 0 where nothing counts.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.tensor([[9.0, 0.0], [0.0, 0.0]]), torch.tensor([0, 1])
        >>> round(TopKCrossEntropyLoss(fraction=0.5)(logits, target).item(), 4)
        0.6931

    Reference:
        Wu et al., Bridging category-level and instance-level segmentation, 2016, arXiv:1605.06885, section 3.
    """

    def __init__(
        self,
        fraction: float = 0.1,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        label_smoothing: float = 0.0,
    ) -> None:
        super().__init__(weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing)
        self.shares = False
        self.fraction = number("fraction", fraction, above=0, at_most=1)

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        losses = self._voxels(logits, target, mask).flatten()
        valid = read_softmax_target(logits, target, mask, self.ignore_index).valid
        if valid is None:
            count = count_of(losses, losses.numel())
        else:
            count = valid.sum(dtype=sum_dtype(losses))
            losses = losses.where(valid.flatten(), -1)  # a loss is never negative: those that don't count come last
        kept = torch.ceil(self.fraction * count)
        # A fixed size keeps the host from waiting for the count; places beyond k are blanked.
        hardest = losses.topk(int(-(-losses.numel() * self.fraction // 1)) if losses.numel() else 0).values
        within = torch.arange(hardest.numel(), device=losses.device) < kept
        total = hardest.where(within, 0).sum(dtype=sum_dtype(losses))
        return (total / kept.clamp_min(1)).to(losses.dtype)


def cross_entropy_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[CrossEntropyOptions]
) -> Tensor:
    """`CrossEntropyLoss` as a function; the options are the same.

    Example:
        >>> round(cross_entropy_loss(torch.zeros(1, 2), torch.tensor([1])).item(), 4)
        0.6931
    """
    return CrossEntropyLoss(**options)(logits, target, mask)
