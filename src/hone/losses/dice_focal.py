"""Dice and focal loss together, from one pass over the logits."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from hone.checks import number, one_of
from hone.losses.dice import DiceLoss, SoftmaxDiceLoss
from hone.losses.focal import FocalLoss, SigmoidFocalLoss
from hone.losses.plain_sums import Sums
from hone.losses.region import SigmoidRegionOptions, SoftmaxRegionOptions
from hone.losses.sums_loss import SumsLoss


class DiceFocalLoss(SumsLoss):
    r"""Dice and focal loss of the sigmoid, :math:`L = a\,L_\text{Dice} + b\,L_\text{focal}`.

    Args:
        dice_weight: a.
        focal_weight: b.
        gamma: of the focal loss.
        alpha: of the focal loss.
        options: those of `DiceLoss`, less ``reduction``; ``weight`` and ``ignore_index`` go to both parts.

    Called as `DiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])
        >>> round(DiceFocalLoss()(logits, target).item(), 4)
        0.5733

    Reference:
        Zhu et al., AnatomyNet, 2018, arXiv:1808.05238, section 2.3.
    """

    softmax = False

    def __init__(
        self,
        dice_weight: float = 1.0,
        focal_weight: float = 1.0,
        gamma: float = 2.0,
        alpha: float | None = None,
        **options: Unpack[SigmoidRegionOptions],
    ) -> None:
        super().__init__()
        one_of("reduction", options.get("reduction", "mean"), ["mean"])
        self.dice_weight = number("dice_weight", dice_weight)
        self.focal_weight = number("focal_weight", focal_weight)
        self.dice = DiceLoss(**options)
        self.ignore_index, self.inplace = self.dice.ignore_index, self.dice.inplace
        self.across_processes = self.dice.across_processes
        self.focal = SigmoidFocalLoss(gamma, alpha, options.get("weight"), self.ignore_index)
        self.wants = self.dice.wants.union(self.focal.wants)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """Both parts from the sums of one pass."""
        dice = self.dice.from_sums(sums, is_index)
        return self.dice_weight * dice + self.focal_weight * self.focal.from_sums(sums, is_index)

    def valid_weight(self, target: Tensor) -> Tensor:
        """The weight of the focal loss's mean."""
        return self.focal.valid_weight(target)


class SoftmaxDiceFocalLoss(SumsLoss):
    r"""Dice and focal loss of the softmax, :math:`L = a\,L_\text{Dice} + b\,L_\text{focal}`.

    Args:
        dice_weight: a.
        focal_weight: b.
        gamma: of the focal loss.
        options: those of `SoftmaxDiceLoss`, less ``reduction``; ``weight`` and ``ignore_index`` go to both parts.

    Called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(SoftmaxDiceFocalLoss()(logits, target).item(), 4)
        0.5733

    Reference:
        Zhu et al., AnatomyNet, 2018, arXiv:1808.05238, section 2.3.
    """

    softmax = True

    def __init__(
        self,
        dice_weight: float = 1.0,
        focal_weight: float = 1.0,
        gamma: float = 2.0,
        **options: Unpack[SoftmaxRegionOptions],
    ) -> None:
        super().__init__()
        one_of("reduction", options.get("reduction", "mean"), ["mean"])
        self.dice_weight = number("dice_weight", dice_weight)
        self.focal_weight = number("focal_weight", focal_weight)
        self.dice = SoftmaxDiceLoss(**options)
        self.ignore_index, self.inplace = self.dice.ignore_index, self.dice.inplace
        self.across_processes = self.dice.across_processes
        self.focal = FocalLoss(gamma, options.get("weight"), self.ignore_index)
        self.wants = self.dice.wants.union(self.focal.wants)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """Both parts from the sums of one pass."""
        dice = self.dice.from_sums(sums, is_index)
        return self.dice_weight * dice + self.focal_weight * self.focal.from_sums(sums, is_index)

    def valid_weight(self, target: Tensor) -> Tensor:
        """The weight of the focal loss's mean."""
        return self.focal.valid_weight(target)
