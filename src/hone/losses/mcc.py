"""Matthews correlation as a loss."""

from __future__ import annotations

from torch import Tensor

from hone.losses.plain_sums import Sums
from hone.losses.region import RegionLoss, SigmoidRegionLoss, SoftmaxRegionLoss


class MCCLoss(SigmoidRegionLoss):
    r"""One less the Matthews correlation of sigmoid and target.

    .. math:: L = 1 - \frac{TP \cdot TN - FP \cdot FN + s}{\sqrt{P (V - P) T (V - T)} + s}

    with soft counts; the numerator is :math:`V I - P T`.

    Args: those of `RegionLoss`, of which ``squared`` has no effect; called as `DiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])
        >>> MCCLoss(smooth=0.0)(logits, target).item()
        1.0

    Reference:
        Abhishek and Hamarneh, Matthews correlation coefficient loss, 2020, arXiv:2010.13454, equation 4.
    """

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        return _correlation(self, sums)


class SoftmaxMCCLoss(SoftmaxRegionLoss):
    r"""One less the Matthews correlation of softmax and target, the mean over classes.

    .. math:: L = \frac1C \sum_c 1 - \frac{TP \cdot TN - FP \cdot FN + s}{\sqrt{P (V - P) T (V - T)} + s}

    Args: those of `RegionLoss`, of which ``squared`` has no effect; called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> SoftmaxMCCLoss(smooth=0.0)(logits, target).item()
        1.0

    Reference:
        Abhishek and Hamarneh, Matthews correlation coefficient loss, 2020, arXiv:2010.13454, equation 4.
    """

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        return _correlation(self, sums)


def _correlation(loss: RegionLoss, sums: Sums) -> Tensor:
    p, t, v = sums.prediction, sums.target, sums.valid
    squared = (p * (v - p) * t * (v - t)).clamp_min(0)
    some = squared > 0  # the square root has no gradient at 0
    return loss.loss_of(v * sums.intersection - p * t, squared.where(some, 1).sqrt().where(some, 0))
