"""What the losses on regions share: options, sums of a region, absent classes, averaging."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypedDict

import torch
from torch import Tensor

from hone.checks import invalid, number, one_of
from hone.losses.plain_sums import REGIONS, SQUARES, Sums
from hone.losses.sums_loss import SumsLoss, Wants
from hone.losses.targets import check_weight, match_weight

Absent = Literal["formula", "skip", "zero", "one"]
Reduction = Literal["mean", "sum", "none"]


class RegionOptions(TypedDict, total=False):
    """Options that every region loss takes; see `RegionLoss`."""

    smooth: float
    smooth_denominator: float | None
    squared: bool
    log: bool
    weight: Sequence[float] | None
    per_sample: bool
    absent: Absent
    ignore_index: int
    reduction: Reduction
    across_processes: bool
    inplace: bool


class SigmoidRegionOptions(RegionOptions, total=False):
    """`RegionOptions` and what only sigmoid losses take."""

    per_class: bool


class SoftmaxRegionOptions(RegionOptions, total=False):
    """`RegionOptions` and what only softmax losses take."""

    include_background: bool


class RegionLoss(SumsLoss):
    """The average over regions (a class of the batch, or of one sample) of a loss of each region.

    Args:
        smooth: added to the numerator, at least 0.
        smooth_denominator: added to the denominator; None: as ``smooth``.
        squared: whether the denominator has squared probabilities and targets.
        log: whether the loss is ``-log(score)`` instead of ``1 - score``.
        weight: one number for each class (all C of them), at least 0; None: all alike.
        per_sample: whether each sample is a region of its own, else the whole batch is one.
        per_class: whether each class is a region of its own, else all are one.
        include_background: whether class 0 takes part.
        absent: what a class with no target voxel in the region counts. "formula": what the equation gives
            (``P / (P + smooth)`` for Dice: false positives cost); "skip": it is left out of the mean;
            "zero": loss 0; "one": loss 1.
        ignore_index: the label whose voxels don't count.
        reduction: "mean" (weighted by ``weight``), "sum", or "none": ``(N, C)`` per sample, else ``(C,)``.
        across_processes: whether the region is the batch of all processes of torch.distributed. Every process must
            then call the loss. Its gradients are exact under DistributedDataParallel.
        inplace: whether the gradient may be written over the logits (by a CPU kernel, in eager mode), which saves its
            memory. Whatever else needs the logits in its backward then raises.
    """

    def __init__(
        self,
        smooth: float = 1.0,
        smooth_denominator: float | None = None,
        squared: bool = False,
        log: bool = False,
        weight: Sequence[float] | None = None,
        per_sample: bool = False,
        per_class: bool = True,
        include_background: bool = True,
        absent: Absent = "formula",
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.smooth = number("smooth", smooth, at_least=0)
        self.smooth_denominator = self.smooth
        if smooth_denominator is not None:
            self.smooth_denominator = number("smooth_denominator", smooth_denominator, at_least=0)
        self.squared, self.log = squared, log
        self.weight = check_weight("weight", weight)
        self.per_sample, self.per_class, self.include_background = per_sample, per_class, include_background
        self.absent = one_of("absent", absent, ["formula", "skip", "zero", "one"])
        self.ignore_index = ignore_index
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])
        self.across_processes, self.inplace = across_processes, inplace
        self.wants = Wants(REGIONS | (SQUARES if squared else 0))
        if across_processes and per_sample:
            raise invalid("across_processes", "be False where per_sample is True", across_processes)
        if weight is not None and not per_class:
            raise invalid("weight", "be None where per_class is False", weight)

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region, from sums of any shape."""
        raise TypeError(f"{type(self).__name__} defines no of_region")

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """Join the sums to regions, apply the loss to each, and average."""
        weight = match_weight("weight", self.weight, sums.target, sums.target.dtype)
        sums = self._regions(sums)
        loss = self._absent(self.of_region(sums), sums)
        counts = self._counts(sums, loss, weight)
        return reduce(loss, counts, self.reduction, squeeze=not self.per_sample)

    def loss_of(self, numerator: Tensor, denominator: Tensor) -> Tensor:
        """``1 - score`` or ``-log(score)``; a region with nothing in it and nothing predicted scores 1."""
        bottom = denominator + self.smooth_denominator
        empty = bottom == 0
        score = ((numerator + self.smooth) / bottom.where(~empty, 1)).where(~empty, 1)
        return -score.clamp_min(1e-12).log() if self.log else 1 - score

    def sizes(self, sums: Sums) -> tuple[Tensor, Tensor]:
        """The sizes of prediction and target, squared where asked."""
        if self.squared:
            return sums.prediction_squares, sums.target_squares
        return sums.prediction, sums.target

    def _regions(self, sums: Sums) -> Sums:
        first = 0 if self.include_background else 1
        sums = Sums(*(part[:, first:] for part in sums))
        if not self.per_sample:
            sums = Sums(*(part.sum(0, keepdim=True) for part in sums))
        return sums if self.per_class else Sums(*(part.sum(1, keepdim=True) for part in sums))

    def _absent(self, loss: Tensor, sums: Sums) -> Tensor:
        if self.absent in ("zero", "one"):
            loss = loss.where(sums.target.detach() > 0, float(self.absent == "one"))
        return loss.where(sums.valid > 0, 0)

    def _counts(self, sums: Sums, loss: Tensor, weight: Tensor | None) -> Tensor:
        """What each region weighs in the mean: nothing where no voxel counts."""
        counts = (sums.valid > 0).to(loss.dtype)
        if self.absent == "skip":
            counts = counts * (sums.target.detach() > 0)
        if weight is not None:
            counts = counts * (weight if self.include_background else weight[1:])
        return counts.expand_as(loss) if loss.shape == counts.shape else counts.amax(1, keepdim=True)


class SigmoidRegionLoss(RegionLoss):
    """A region loss of the sigmoid; the options are those of `RegionLoss`, all classes being one region by default."""

    softmax = False

    def __init__(
        self,
        smooth: float = 1.0,
        smooth_denominator: float | None = None,
        squared: bool = False,
        log: bool = False,
        weight: Sequence[float] | None = None,
        per_sample: bool = False,
        per_class: bool = False,
        absent: Absent = "formula",
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__(
            smooth=smooth,
            smooth_denominator=smooth_denominator,
            squared=squared,
            log=log,
            weight=weight,
            per_sample=per_sample,
            per_class=per_class,
            absent=absent,
            ignore_index=ignore_index,
            reduction=reduction,
            across_processes=across_processes,
            inplace=inplace,
        )


class SoftmaxRegionLoss(RegionLoss):
    """A region loss of the softmax; the options are those of `RegionLoss`, each class being a region."""

    softmax = True

    def __init__(
        self,
        smooth: float = 1.0,
        smooth_denominator: float | None = None,
        squared: bool = False,
        log: bool = False,
        weight: Sequence[float] | None = None,
        per_sample: bool = False,
        include_background: bool = True,
        absent: Absent = "formula",
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__(
            smooth=smooth,
            smooth_denominator=smooth_denominator,
            squared=squared,
            log=log,
            weight=weight,
            per_sample=per_sample,
            include_background=include_background,
            absent=absent,
            ignore_index=ignore_index,
            reduction=reduction,
            across_processes=across_processes,
            inplace=inplace,
        )


def reduce(loss: Tensor, counts: Tensor, reduction: str, *, squeeze: bool) -> Tensor:
    """The mean weighted by ``counts`` (0 where all are 0), the weighted sum, or each weighted loss."""
    weighted = loss * counts
    if reduction == "none":
        return weighted[0] if squeeze else weighted
    if reduction == "sum":
        return weighted.sum()
    total = counts.sum()
    return weighted.sum() / torch.where(total > 0, total, 1)
