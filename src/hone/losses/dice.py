"""Dice, Jaccard and the generalised Dice: how much of prediction and target overlaps."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from hone.checks import number
from hone.losses.plain_sums import Sums
from hone.losses.region import (
    RegionLoss,
    SigmoidRegionLoss,
    SigmoidRegionOptions,
    SoftmaxRegionLoss,
    SoftmaxRegionOptions,
)


class DiceLoss(SigmoidRegionLoss):
    r"""Dice loss of the sigmoid, by default over the whole batch and all channels at once.

    .. math:: L = 1 - \frac{2 \sum p t + s}{\sum p + \sum t + s}

    Args: those of `RegionLoss`. Called with logits ``(N, C, *spatial)`` of any floating dtype, a target of the same
    shape (or without the channel axis where C is 1) that is bool, 0 or 1, or soft, and optionally a mask
    ``(N, *spatial)``.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.tensor([[[4.0, -4.0, 4.0]]]), torch.tensor([[[1, 0, 0]]])
        >>> round(DiceLoss()(logits, target).item(), 4)
        0.2556

    Reference:
        Milletari et al., V-Net, 2016, arXiv:1606.04797, section 3 (with ``squared=True``).
    """

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        prediction, target = self.sizes(sums)
        return self.loss_of(2 * sums.intersection, prediction + target)


class SoftmaxDiceLoss(SoftmaxRegionLoss):
    r"""Dice loss of the softmax, the mean over classes.

    .. math:: L = \frac1C \sum_c 1 - \frac{2 \sum p_c t_c + s}{\sum p_c + \sum t_c + s}

    Args: those of `RegionLoss`. Called with logits ``(N, C, *spatial)``, a target of labels ``(N, *spatial)`` (any
    integer dtype or bool) or of the logits' shape (one-hot or soft), and optionally a mask ``(N, *spatial)``.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(SoftmaxDiceLoss()(logits, target).item(), 4)
        0.4

    Reference:
        Milletari et al., V-Net, 2016, arXiv:1606.04797, section 3.
    """

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        prediction, target = self.sizes(sums)
        return self.loss_of(2 * sums.intersection, prediction + target)


class JaccardLoss(SigmoidRegionLoss):
    r"""Jaccard (soft intersection over union) loss of the sigmoid.

    .. math:: L = 1 - \frac{\sum p t + s}{\sum p + \sum t - \sum p t + s}

    Args: those of `RegionLoss`; called as `DiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])
        >>> round(JaccardLoss(smooth=0.0)(logits, target).item(), 4)
        0.6667

    Reference:
        Rahman and Wang, Optimizing intersection-over-union in deep neural networks, 2016, equation 3.
    """

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        prediction, target = self.sizes(sums)
        return self.loss_of(sums.intersection, prediction + target - sums.intersection)


class SoftmaxJaccardLoss(SoftmaxRegionLoss):
    r"""Jaccard (soft intersection over union) loss of the softmax, the mean over classes.

    .. math:: L = \frac1C \sum_c 1 - \frac{\sum p_c t_c + s}{\sum p_c + \sum t_c - \sum p_c t_c + s}

    Args: those of `RegionLoss`; called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(SoftmaxJaccardLoss(smooth=0.0)(logits, target).item(), 4)
        0.6667

    Reference:
        Rahman and Wang, Optimizing intersection-over-union in deep neural networks, 2016, equation 3.
    """

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        prediction, target = self.sizes(sums)
        return self.loss_of(sums.intersection, prediction + target - sums.intersection)


class GeneralizedDiceLoss(SigmoidRegionLoss):
    r"""Generalised Dice of the sigmoid: one ratio for all channels, each weighted by its rarity.

    .. math:: L = 1 - \frac{2 \sum_c w_c I_c + s}{\sum_c w_c (P_c + T_c) + s}, \quad w_c \propto T_c^{-q}

    The weights are scaled so that the largest is 1. An absent class gets the largest weight of the present ones, or
    none with ``absent="skip"`` (the only policies that differ here).

    Args:
        power: the exponent q, at least 0.
        options: those of `RegionLoss`, ``per_class`` having no effect; called as `DiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])
        >>> round(GeneralizedDiceLoss(smooth=0.0)(logits, target).item(), 4)
        0.5

    Reference:
        Sudre et al., Generalised Dice overlap, 2017, arXiv:1707.03237, section 2.1.
    """

    def __init__(self, power: float = 2.0, **options: Unpack[SigmoidRegionOptions]) -> None:
        options.setdefault("per_class", True)
        super().__init__(**options)
        self.power = number("power", power, at_least=0)

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each sample, or of the batch."""
        return _generalized(self, sums, self.power)


class SoftmaxGeneralizedDiceLoss(SoftmaxRegionLoss):
    r"""Generalised Dice of the softmax: one ratio for all classes, each weighted by its rarity.

    .. math:: L = 1 - \frac{2 \sum_c w_c I_c + s}{\sum_c w_c (P_c + T_c) + s}, \quad w_c \propto T_c^{-q}

    The weights are scaled so that the largest is 1. An absent class gets the largest weight of the present ones, or
    none with ``absent="skip"`` (the only policies that differ here).

    Args:
        power: the exponent q, at least 0.
        options: those of `RegionLoss`; called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(SoftmaxGeneralizedDiceLoss(smooth=0.0)(logits, target).item(), 4)
        0.5

    Reference:
        Sudre et al., Generalised Dice overlap, 2017, arXiv:1707.03237, section 2.1.
    """

    def __init__(self, power: float = 2.0, **options: Unpack[SoftmaxRegionOptions]) -> None:
        super().__init__(**options)
        self.power = number("power", power, at_least=0)

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each sample, or of the batch."""
        return _generalized(self, sums, self.power)


def _generalized(loss: RegionLoss, sums: Sums, power: float) -> Tensor:
    size = sums.target.detach()
    present = size > 0
    smallest = size.where(present, torch.inf).amin(1, keepdim=True)
    rarity = (smallest / size).where(present, 0.0 if loss.absent == "skip" else 1.0) ** power
    rarity = rarity.where(present | torch.tensor(loss.absent != "skip", device=size.device), 0)
    if loss.weight is not None:
        weight = loss.weight.to(device=size.device, dtype=size.dtype)
        rarity = rarity * (weight if loss.include_background else weight[1:])
    prediction, target = loss.sizes(sums)
    numerator = (2 * rarity * sums.intersection).sum(1, keepdim=True)
    return loss.loss_of(numerator, (rarity * (prediction + target)).sum(1, keepdim=True))


def dice_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[SigmoidRegionOptions]
) -> Tensor:
    """`DiceLoss` as a function; the options are the same.

    Example:
        >>> dice_loss(torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]]), smooth=0.0).item()
        0.5
    """
    return DiceLoss(**options)(logits, target, mask)


def softmax_dice_loss(
    logits: Tensor, target: Tensor, *, mask: Tensor | None = None, **options: Unpack[SoftmaxRegionOptions]
) -> Tensor:
    """`SoftmaxDiceLoss` as a function; the options are the same.

    Example:
        >>> softmax_dice_loss(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]]), smooth=0.0).item()
        0.5
    """
    return SoftmaxDiceLoss(**options)(logits, target, mask)
