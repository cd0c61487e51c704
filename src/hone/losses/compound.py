"""The usual sums of a region loss and a voxel loss, from one pass over the logits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypedDict, Unpack

from torch import Tensor

from hone.checks import number
from hone.losses.bce import BCEWithLogitsLoss
from hone.losses.cross_entropy import CrossEntropyLoss
from hone.losses.dice import DiceLoss, SoftmaxDiceLoss
from hone.losses.plain_sums import Sums
from hone.losses.region import Absent
from hone.losses.sums_loss import SumsLoss


class SoftmaxDiceCEOptions(TypedDict, total=False):
    """Options of `SoftmaxDiceCELoss`."""

    dice_weight: float
    ce_weight: float
    smooth: float
    smooth_denominator: float | None
    squared: bool
    weight: Sequence[float] | None
    label_smoothing: float
    per_sample: bool
    include_background: bool
    absent: Absent
    ignore_index: int
    across_processes: bool
    inplace: bool


class DiceBCEOptions(TypedDict, total=False):
    """Options of `DiceBCELoss`."""

    dice_weight: float
    bce_weight: float
    smooth: float
    smooth_denominator: float | None
    squared: bool
    weight: Sequence[float] | None
    pos_weight: Sequence[float] | None
    per_sample: bool
    per_class: bool
    absent: Absent
    ignore_index: int
    across_processes: bool
    inplace: bool


class SoftmaxDiceCELoss(SumsLoss):
    r"""Dice and cross-entropy of the softmax, :math:`L = a\,L_\text{Dice} + b\,L_\text{CE}`.

    Args:
        dice_weight: a.
        ce_weight: b.
        weight: one number for each class; both parts use it.
        label_smoothing: of the cross-entropy.
        smooth, smooth_denominator, squared, per_sample, include_background, absent: of `SoftmaxDiceLoss`.
            ``include_background=False`` leaves class 0 out of the Dice part only.
        ignore_index: the label whose voxels don't count.
        across_processes: whether both parts are over the batches of all processes.
        inplace: whether the gradient may be written over the logits; see `RegionLoss`.

    Called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 255]])
        >>> round(SoftmaxDiceCELoss(ignore_index=255)(logits, target).item(), 4)
        1.0741

    Reference:
        Isensee et al., nnU-Net, 2018, arXiv:1809.10486, section 2.4.
    """

    softmax = True

    def __init__(
        self,
        dice_weight: float = 1.0,
        ce_weight: float = 1.0,
        smooth: float = 1.0,
        smooth_denominator: float | None = None,
        squared: bool = False,
        weight: Sequence[float] | None = None,
        label_smoothing: float = 0.0,
        per_sample: bool = False,
        include_background: bool = True,
        absent: Absent = "formula",
        ignore_index: int = -100,
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.dice_weight = number("dice_weight", dice_weight)
        self.ce_weight = number("ce_weight", ce_weight)
        self.dice = SoftmaxDiceLoss(
            smooth=smooth,
            smooth_denominator=smooth_denominator,
            squared=squared,
            weight=weight,
            per_sample=per_sample,
            include_background=include_background,
            absent=absent,
            ignore_index=ignore_index,
            across_processes=across_processes,
        )
        self.cross_entropy = CrossEntropyLoss(weight, ignore_index, label_smoothing=label_smoothing)
        self.ignore_index = ignore_index
        self.across_processes, self.inplace = across_processes, inplace
        self.wants = self.dice.wants.union(self.cross_entropy.wants)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """Both parts from the sums of one pass."""
        dice = self.dice.from_sums(sums, is_index)
        return self.dice_weight * dice + self.ce_weight * self.cross_entropy.from_sums(sums, is_index)

    def valid_weight(self, target: Tensor) -> Tensor:
        """The weight of the cross-entropy's mean."""
        return self.cross_entropy.valid_weight(target)


class DiceBCELoss(SumsLoss):
    r"""Dice and binary cross-entropy of the sigmoid, :math:`L = a\,L_\text{Dice} + b\,L_\text{BCE}`.

    Args:
        dice_weight: a.
        bce_weight: b.
        weight: one number for each channel; the BCE uses it, and the Dice where ``per_class``.
        pos_weight: of the BCE.
        smooth, smooth_denominator, squared, per_sample, per_class, absent: of `DiceLoss`.
        ignore_index: the target value whose entries don't count.
        across_processes: whether both parts are over the batches of all processes.
        inplace: whether the gradient may be written over the logits; see `RegionLoss`.

    Called as `DiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])
        >>> round(DiceBCELoss()(logits, target).item(), 4)
        1.0931
    """

    softmax = False

    def __init__(
        self,
        dice_weight: float = 1.0,
        bce_weight: float = 1.0,
        smooth: float = 1.0,
        smooth_denominator: float | None = None,
        squared: bool = False,
        weight: Sequence[float] | None = None,
        pos_weight: Sequence[float] | None = None,
        per_sample: bool = False,
        per_class: bool = False,
        absent: Absent = "formula",
        ignore_index: int = -100,
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        super().__init__()
        self.dice_weight = number("dice_weight", dice_weight)
        self.bce_weight = number("bce_weight", bce_weight)
        self.dice = DiceLoss(
            smooth=smooth,
            smooth_denominator=smooth_denominator,
            squared=squared,
            weight=weight if per_class else None,
            per_sample=per_sample,
            per_class=per_class,
            absent=absent,
            ignore_index=ignore_index,
            across_processes=across_processes,
        )
        self.bce = BCEWithLogitsLoss(weight, pos_weight=pos_weight, ignore_index=ignore_index)
        self.ignore_index = ignore_index
        self.across_processes, self.inplace = across_processes, inplace
        self.wants = self.dice.wants.union(self.bce.wants)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """Both parts from the sums of one pass."""
        dice = self.dice.from_sums(sums, is_index)
        return self.dice_weight * dice + self.bce_weight * self.bce.from_sums(sums, is_index)


def softmax_dice_ce_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[SoftmaxDiceCEOptions]
) -> Tensor:
    """`SoftmaxDiceCELoss` as a function; the options are the same.

    Example:
        >>> import torch
        >>> round(softmax_dice_ce_loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])).item(), 4)
        1.0931
    """
    return SoftmaxDiceCELoss(**options)(logits, target, mask)


def dice_bce_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[DiceBCEOptions]
) -> Tensor:
    """`DiceBCELoss` as a function; the options are the same.

    Example:
        >>> import torch
        >>> round(dice_bce_loss(torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])).item(), 4)
        1.0931
    """
    return DiceBCELoss(**options)(logits, target, mask)
