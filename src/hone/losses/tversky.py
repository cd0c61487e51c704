"""Tversky losses: Dice in which false positives and false negatives weigh differently; and the unified focal loss."""

from __future__ import annotations

from typing import Unpack

import torch
from torch import Tensor

from hone.checks import invalid, number
from hone.losses.plain_sums import CROSS_ENTROPY, Sums
from hone.losses.region import (
    RegionLoss,
    SigmoidRegionLoss,
    SigmoidRegionOptions,
    SoftmaxRegionLoss,
    SoftmaxRegionOptions,
)
from hone.losses.sums_loss import Wants


class TverskyLoss(SigmoidRegionLoss):
    r"""Tversky loss of the sigmoid.

    .. math:: L = 1 - \frac{\sum p t + s}{\sum p t + \alpha \sum p (1 - t) + \beta \sum (1 - p) t + s}

    Args:
        alpha: the weight of false positives, at least 0.
        beta: the weight of false negatives, at least 0.
        options: those of `RegionLoss`; called as `DiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])
        >>> round(TverskyLoss(smooth=0.0)(logits, target).item(), 4)
        0.5

    Reference:
        Salehi et al., Tversky loss function, 2017, arXiv:1706.05721, equation 4.
    """

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, **options: Unpack[SigmoidRegionOptions]) -> None:
        super().__init__(**options)
        self.alpha = number("alpha", alpha, at_least=0)
        self.beta = number("beta", beta, at_least=0)

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        return tversky(self, sums, self.alpha, self.beta)


class SoftmaxTverskyLoss(SoftmaxRegionLoss):
    r"""Tversky loss of the softmax, the mean over classes.

    .. math:: L = 1 - \frac{\sum p t + s}{\sum p t + \alpha \sum p (1 - t) + \beta \sum (1 - p) t + s}

    Args:
        alpha: the weight of false positives, at least 0.
        beta: the weight of false negatives, at least 0.
        options: those of `RegionLoss`; called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(SoftmaxTverskyLoss(smooth=0.0)(logits, target).item(), 4)
        0.5

    Reference:
        Salehi et al., Tversky loss function, 2017, arXiv:1706.05721, equation 4.
    """

    def __init__(self, alpha: float = 0.5, beta: float = 0.5, **options: Unpack[SoftmaxRegionOptions]) -> None:
        super().__init__(**options)
        self.alpha = number("alpha", alpha, at_least=0)
        self.beta = number("beta", beta, at_least=0)

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        return tversky(self, sums, self.alpha, self.beta)


class FocalTverskyLoss(SigmoidRegionLoss):
    r"""Focal Tversky loss of the sigmoid; regions that are hard count more.

    .. math:: L = \bigl(1 - \text{TI}\bigr)^\gamma, \quad
              \text{TI} = \frac{\sum p t + s}{\sum p t + \alpha \sum p (1 - t) + \beta \sum (1 - p) t + s}

    Args:
        alpha: the weight of false positives, at least 0.
        beta: the weight of false negatives, at least 0.
        gamma: the exponent, above 0; below 1 it stresses hard regions.
        options: those of `RegionLoss`; called as `DiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 1, 4), torch.tensor([[[0, 1, 1, 0]]])
        >>> round(FocalTverskyLoss(smooth=0.0)(logits, target).item(), 4)
        0.5946

    Reference:
        Abraham and Khan, A novel focal Tversky loss, 2018, arXiv:1810.07842, equation 4 (their 1 / gamma).
    """

    def __init__(
        self, alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75, **options: Unpack[SigmoidRegionOptions]
    ) -> None:
        super().__init__(**options)
        self.alpha = number("alpha", alpha, at_least=0)
        self.beta = number("beta", beta, at_least=0)
        self.gamma = number("gamma", gamma, above=0)

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        return focused(tversky(self, sums, self.alpha, self.beta), self.gamma)


class SoftmaxFocalTverskyLoss(SoftmaxRegionLoss):
    r"""Focal Tversky loss of the softmax, the mean over classes; regions that are hard count more.

    .. math:: L = \bigl(1 - \text{TI}\bigr)^\gamma, \quad
              \text{TI} = \frac{\sum p t + s}{\sum p t + \alpha \sum p (1 - t) + \beta \sum (1 - p) t + s}

    Args:
        alpha: the weight of false positives, at least 0.
        beta: the weight of false negatives, at least 0.
        gamma: the exponent, above 0; below 1 it stresses hard regions.
        options: those of `RegionLoss`; called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits); see ``reduction``.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(SoftmaxFocalTverskyLoss(smooth=0.0)(logits, target).item(), 4)
        0.5946

    Reference:
        Abraham and Khan, A novel focal Tversky loss, 2018, arXiv:1810.07842, equation 4 (their 1 / gamma).
    """

    def __init__(
        self, alpha: float = 0.3, beta: float = 0.7, gamma: float = 0.75, **options: Unpack[SoftmaxRegionOptions]
    ) -> None:
        super().__init__(**options)
        self.alpha = number("alpha", alpha, at_least=0)
        self.beta = number("beta", beta, at_least=0)
        self.gamma = number("gamma", gamma, above=0)

    def of_region(self, sums: Sums) -> Tensor:
        """The loss of each region."""
        return focused(tversky(self, sums, self.alpha, self.beta), self.gamma)


class UnifiedFocalLoss(SoftmaxRegionLoss):
    r"""The symmetric unified focal loss of the softmax: a focal cross-entropy and a focal Tversky loss.

    .. math:: L = \lambda \frac1C \sum_c (1 - \text{TI}_c)^{1 - \gamma}
              - (1 - \lambda) \frac1V \sum_v d_{t_v} (1 - p_{v t_v})^\gamma \log p_{v t_v}

    with :math:`\text{TI}` the Tversky index of :math:`\alpha = 1 - \delta, \beta = \delta`, and :math:`d` being
    :math:`1 - \delta` for class 0 and :math:`\delta` for the others.

    Args:
        balance: lambda in [0, 1], the part of the Tversky loss.
        delta: in [0, 1]: how much more a missed foreground voxel costs than a false one.
        gamma: in [0, 1): how much hard voxels and regions are stressed.
        options: those of `RegionLoss`; called as `SoftmaxDiceLoss`. ``reduction`` must be "mean".

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> import torch
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(UnifiedFocalLoss(smooth=0.0)(logits, target).item(), 4)
        0.4761

    Reference:
        Yeung et al., Unified focal loss, 2021, arXiv:2102.04525, equation 18.
    """

    def __init__(
        self, balance: float = 0.5, delta: float = 0.6, gamma: float = 0.5, **options: Unpack[SoftmaxRegionOptions]
    ) -> None:
        super().__init__(**options)
        self.balance = number("balance", balance, at_least=0, at_most=1)
        self.delta = number("delta", delta, at_least=0, at_most=1)
        self.gamma = number("gamma", gamma, at_least=0, below=1)
        if self.reduction != "mean":
            raise invalid("reduction", "be 'mean' for the unified focal loss", self.reduction)
        self.wants = self.wants.union(Wants(CROSS_ENTROPY, self.gamma))

    def of_region(self, sums: Sums) -> Tensor:
        """The Tversky part of each region."""
        return focused(tversky(self, sums, 1 - self.delta, self.delta), 1 - self.gamma)

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """Both parts from the sums of one pass that had ``cross_entropy`` with this ``gamma``."""
        share = sums.target.new_full(sums.target.shape[1:], self.delta)
        share[0] = 1 - self.delta
        count = sums.valid[:, 0].sum()
        voxels = (sums.cross_entropy * share).sum() / torch.where(count > 0, count, 1)
        return self.balance * super().from_sums(sums, is_index) + (1 - self.balance) * voxels


def tversky(loss: RegionLoss, sums: Sums, alpha: float, beta: float) -> Tensor:
    """The Tversky loss of each region."""
    prediction, target = loss.sizes(sums)
    hit = sums.intersection
    return loss.loss_of(hit, hit + alpha * (prediction - hit) + beta * (target - hit))


def focused(loss: Tensor, gamma: float) -> Tensor:
    """``loss ** gamma``, whose gradient at a loss of 0 is 0 rather than infinite."""
    return loss.clamp_min(1e-12) ** gamma
