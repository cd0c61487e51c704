"""Binary cross-entropy of the sigmoid."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

import torch
from torch import Tensor
from torch.nn import functional as F

from hone.checks import number, one_of
from hone.losses.plain_sums import COMPLEMENT, CROSS_ENTROPY, Sums, damp, visible
from hone.losses.region import Reduction
from hone.losses.sums_loss import SumsLoss, Wants
from hone.losses.targets import Target, check_weight, match_weight, read_sigmoid_target, working_dtype


class BCEOptions(TypedDict, total=False):
    """Options of `BCEWithLogitsLoss`."""

    weight: Sequence[float] | None
    reduction: Reduction
    pos_weight: Sequence[float] | None
    label_smoothing: float
    ignore_index: int
    across_processes: bool
    inplace: bool


class BCEWithLogitsLoss(SumsLoss):
    r"""Binary cross-entropy of the sigmoid of each channel.

    .. math:: L = -\frac1V \sum_v w_c \bigl( q_c\,\tilde t \log p + (1 - \tilde t) \log (1 - p) \bigr),
              \quad \tilde t = (1 - \epsilon)\,t + \epsilon / 2

    The mean is over the entries that count, as in torch whatever the weights. Everything ignored: 0.

    Args:
        weight: one number for each channel, at least 0.
        reduction: "mean", "sum", or "none" for losses of the logits' shape.
        pos_weight: q, one number for each channel, at least 0.
        label_smoothing: :math:`\epsilon` in [0, 1].
        ignore_index: the target value whose entries don't count.
        across_processes: whether the mean is over the batches of all processes. Every process must then call the loss.
        inplace: whether the gradient may be written over the logits; see `RegionLoss`.

    Called with logits ``(N, C, *spatial)`` or ``(N,)``, a target of that shape (or without the channel axis where C
    is 1) that is bool, 0 or 1, or soft, and optionally a mask ``(N, *spatial)``.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.tensor([[2.0], [-2.0]]), torch.tensor([1, 0])
        >>> round(BCEWithLogitsLoss()(logits, target).item(), 4)
        0.1269
    """

    softmax = False

    def __init__(
        self,
        weight: Sequence[float] | None = None,
        reduction: Reduction = "mean",
        pos_weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.weight = check_weight("weight", weight)
        self.pos_weight = check_weight("pos_weight", pos_weight)
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])
        self.label_smoothing = number("label_smoothing", label_smoothing, at_least=0, at_most=1)
        self.ignore_index = ignore_index
        self.across_processes, self.inplace = across_processes, inplace
        self.wants = Wants(CROSS_ENTROPY | COMPLEMENT)
        self.shares = reduction != "none" and self.label_smoothing == 0

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        if self.label_smoothing > 0:
            target = self._smoothed(target)
        if self.reduction == "none":
            return self._voxels(logits, target, mask)
        return super().forward(logits, target, mask)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """The loss from the sums of a pass that had ``cross_entropy`` and ``complement``."""
        pos_weight = match_weight("pos_weight", self.pos_weight, sums.target, sums.target.dtype)
        weight = match_weight("weight", self.weight, sums.target, sums.target.dtype)
        hits = sums.cross_entropy if pos_weight is None else sums.cross_entropy * pos_weight
        per_class = hits + sums.complement
        total = (per_class if weight is None else per_class * weight).sum()
        return total if self.reduction == "sum" else average_over_valid(total, sums)

    def _smoothed(self, target: Tensor) -> Tensor:
        values = target if torch.is_floating_point(target) else target.float()
        smooth = values * (1 - self.label_smoothing) + self.label_smoothing / 2
        return smooth.where((values >= 0) & (values <= 1), values)  # ignored and wrong values stay what they are

    def _voxels(self, logits: Tensor, target: Tensor, mask: Tensor | None) -> Tensor:
        known = read_sigmoid_target(logits, target, mask, self.ignore_index)
        dtype = working_dtype(logits)
        weight = match_weight("weight", self.weight, logits, dtype)
        pos_weight = match_weight("pos_weight", self.pos_weight, logits, dtype)
        hits, misses = sigmoid_voxels(logits, known)
        loss = (hits if pos_weight is None else hits * pos_weight[:, None]) + misses
        return (loss if weight is None else loss * weight[:, None]).reshape(logits.shape)


def average_over_valid(total: Tensor, sums: Sums) -> Tensor:
    """A sum over all entries divided by how many count; 0 where none does."""
    count = sums.valid.sum()
    return total / torch.where(count > 0, count, 1)


def sigmoid_voxels(logits: Tensor, known: Target, gamma: float = 0.0) -> tuple[Tensor, Tensor]:
    """What positives and negatives cost in each entry ``(N, C, V)``, 0 where nothing counts."""
    x = visible(logits, known)
    values = known.values.to(x.dtype)
    hits = (values * damp(-F.logsigmoid(x), gamma)).where(values > 0, 0)
    misses = ((1 - values) * damp(-F.logsigmoid(-x), gamma)).where(values < 1, 0)
    if known.valid is not None:
        hits, misses = hits.where(known.valid, 0), misses.where(known.valid, 0)
    return hits, misses


def bce_with_logits_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[BCEOptions]
) -> Tensor:
    """`BCEWithLogitsLoss` as a function; the options are the same.

    Example:
        >>> round(bce_with_logits_loss(torch.zeros(1, 1), torch.tensor([[1]])).item(), 4)
        0.6931
    """
    return BCEWithLogitsLoss(**options)(logits, target, mask)
