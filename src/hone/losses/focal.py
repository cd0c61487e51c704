"""Focal losses: cross-entropy in which easy voxels count less."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

from torch import Tensor

from hone.checks import number, one_of
from hone.losses.bce import average_over_valid, sigmoid_voxels
from hone.losses.cross_entropy import CrossEntropyLoss, average_by_label, softmax_voxels
from hone.losses.plain_sums import COMPLEMENT, CROSS_ENTROPY, Sums
from hone.losses.region import Reduction
from hone.losses.sums_loss import SumsLoss, Wants
from hone.losses.targets import check_weight, match_weight, read_sigmoid_target, read_softmax_target, working_dtype


class FocalOptions(TypedDict, total=False):
    """Options of `FocalLoss`."""

    gamma: float
    weight: Sequence[float] | None
    ignore_index: int
    reduction: Reduction
    across_processes: bool
    inplace: bool


class SigmoidFocalOptions(TypedDict, total=False):
    """Options of `SigmoidFocalLoss`."""

    gamma: float
    alpha: float | None
    weight: Sequence[float] | None
    ignore_index: int
    reduction: Reduction
    across_processes: bool
    inplace: bool


class FocalLoss(SumsLoss):
    r"""Focal loss of the softmax.

    .. math:: L = -\frac{\sum_v w_{t_v} (1 - p_{v t_v})^\gamma \log p_{v t_v}}{\sum_v w_{t_v}}

    With ``gamma=0`` it is `CrossEntropyLoss`.

    Args:
        gamma: the exponent, at least 0; below 1 is fine too.
        weight: one number for each class, at least 0.
        ignore_index: the label whose voxels don't count.
        reduction: "mean", "sum", or "none" for the losses ``(N, *spatial)``.
        across_processes: whether the mean is over the batches of all processes. Every process must then call the loss.
        inplace: whether the gradient may be written over the logits; see `RegionLoss`.

    Called as `CrossEntropyLoss`; for soft targets the sum over classes of ``t`` times the term of that class, and the
    mean over voxels.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[2.0, 0.0], [0.0, 2.0]]), torch.tensor([0, 0])
        >>> round(FocalLoss(gamma=2.0)(logits, target).item(), 4)
        0.8259

    Reference:
        Lin et al., Focal loss for dense object detection, 2017, arXiv:1708.02002, equation 5.
    """

    softmax = True

    def __init__(
        self,
        gamma: float = 2.0,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, at_least=0)
        self.weight = check_weight("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])
        self.across_processes, self.inplace = across_processes, inplace
        self.wants = Wants(CROSS_ENTROPY, self.gamma)
        self.shares = reduction != "none"

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        if self.shares:
            return super().forward(logits, target, mask)
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        weight = match_weight("weight", self.weight, logits, working_dtype(logits))
        return softmax_voxels(logits, known, weight, gamma=self.gamma)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """The loss from the sums of a pass that had ``cross_entropy`` with this ``gamma``."""
        weight = match_weight("weight", self.weight, sums.target, sums.target.dtype)
        return average_by_label(sums.cross_entropy, sums, weight, is_index, self.reduction)

    def valid_weight(self, target: Tensor) -> Tensor:
        """As `CrossEntropyLoss.valid_weight`."""
        weight = None if self.weight is None else self.weight.tolist()
        return CrossEntropyLoss(weight, self.ignore_index).valid_weight(target)


class SigmoidFocalLoss(SumsLoss):
    r"""Focal loss of the sigmoid of each channel.

    .. math:: L = -\frac1V \sum_v w_c \bigl( \alpha\,t\,(1 - p)^\gamma \log p
              + (1 - \alpha)(1 - t)\,p^\gamma \log (1 - p) \bigr)

    Args:
        gamma: the exponent, at least 0; below 1 is fine too.
        alpha: the weight of positives in [0, 1]; None: both weigh 1.
        weight: one number for each channel, at least 0.
        ignore_index: the target value whose entries don't count.
        reduction: "mean", "sum", or "none" for losses of the logits' shape.
        across_processes: whether the mean is over the batches of all processes. Every process must then call the loss.
        inplace: whether the gradient may be written over the logits; see `RegionLoss`.

    Called as `BCEWithLogitsLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.tensor([[2.0], [-2.0]]), torch.tensor([1, 0])
        >>> round(SigmoidFocalLoss()(logits, target).item(), 6)
        0.000902

    Reference:
        Lin et al., Focal loss for dense object detection, 2017, arXiv:1708.02002, equation 5.
    """

    softmax = False

    def __init__(
        self,
        gamma: float = 2.0,
        alpha: float | None = 0.25,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.gamma = number("gamma", gamma, at_least=0)
        self.alpha = None if alpha is None else number("alpha", alpha, at_least=0, at_most=1)
        self.weight = check_weight("weight", weight)
        self.ignore_index = ignore_index
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])
        self.across_processes, self.inplace = across_processes, inplace
        self.wants = Wants(CROSS_ENTROPY | COMPLEMENT, self.gamma)
        self.shares = reduction != "none"

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        if self.shares:
            return super().forward(logits, target, mask)
        known = read_sigmoid_target(logits, target, mask, self.ignore_index)
        weight = match_weight("weight", self.weight, logits, working_dtype(logits))
        loss = self._balance(*sigmoid_voxels(logits, known, self.gamma))
        return (loss if weight is None else loss * weight[:, None]).reshape(logits.shape)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """The loss from the sums of a pass that had ``cross_entropy`` and ``complement`` with this ``gamma``."""
        weight = match_weight("weight", self.weight, sums.target, sums.target.dtype)
        per_class = self._balance(sums.cross_entropy, sums.complement)
        total = (per_class if weight is None else per_class * weight).sum()
        return total if self.reduction == "sum" else average_over_valid(total, sums)

    def _balance(self, hits: Tensor, misses: Tensor) -> Tensor:
        return hits + misses if self.alpha is None else self.alpha * hits + (1 - self.alpha) * misses


def focal_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[FocalOptions]
) -> Tensor:
    """`FocalLoss` as a function; the options are the same.

    Example:
        >>> import torch
        >>> round(focal_loss(torch.zeros(1, 2), torch.tensor([1]), gamma=0.0).item(), 4)
        0.6931
    """
    return FocalLoss(**options)(logits, target, mask)


def sigmoid_focal_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[SigmoidFocalOptions]
) -> Tensor:
    """`SigmoidFocalLoss` as a function; the options are the same.

    Example:
        >>> import torch
        >>> round(sigmoid_focal_loss(torch.zeros(1, 1), torch.tensor([[1]]), gamma=0.0, alpha=None).item(), 4)
        0.6931
    """
    return SigmoidFocalLoss(**options)(logits, target, mask)
