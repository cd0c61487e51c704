"""Cross-entropy variants for classification and multi-label problems: poly, asymmetric, distillation."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hone.checks import invalid, number, one_of
from hone.losses.cross_entropy import CrossEntropyLoss, average_by_label
from hone.losses.loss import Loss
from hone.losses.plain_sums import REGIONS, Sums, visible
from hone.losses.region import Reduction
from hone.losses.sums_loss import Wants
from hone.losses.targets import (
    Target,
    check_logits,
    count_of,
    count_valid,
    fit_mask,
    read_sigmoid_target,
    sum_dtype,
    working_dtype,
)


class PolyCrossEntropyLoss(CrossEntropyLoss):
    r"""Poly-1: cross-entropy and a term linear in the probability of the label.

    .. math:: L = \frac{\sum_v w_{t_v} \bigl(-\log p_{v t_v} + \epsilon (1 - p_{v t_v})\bigr)}{\sum_v w_{t_v}}

    Args:
        epsilon: the weight of the linear term, at least -1.
        weight, ignore_index, across_processes, inplace: those of `CrossEntropyLoss`; called like it.
        reduction: "mean" or "sum".

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 2), torch.tensor([1])
        >>> round(PolyCrossEntropyLoss(epsilon=2.0)(logits, target).item(), 4)
        1.6931

    Reference:
        Leng et al., PolyLoss, 2022, arXiv:2204.12511, equation 7.
    """

    def __init__(
        self,
        epsilon: float = 1.0,
        weight: Sequence[float] | None = None,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
        across_processes: bool = False,
        inplace: bool = False,
    ) -> None:
        one_of("reduction", reduction, ["mean", "sum"])
        super().__init__(weight, ignore_index, reduction, across_processes=across_processes, inplace=inplace)
        self.epsilon = number("epsilon", epsilon, at_least=-1)
        self.wants = self.wants.union(Wants(REGIONS))

    def from_sums(self, sums: Sums, is_index: bool) -> Tensor:
        """The loss from the sums of a pass that had ``cross_entropy``."""
        weight = None if self.weight is None else self.weight.to(sums.target)
        if weight is not None and weight.numel() != sums.target.shape[1]:
            raise invalid("weight", f"have one number for each of the {sums.target.shape[1]} classes", weight.tolist())
        per_class = sums.cross_entropy + self.epsilon * (sums.target - sums.intersection)
        return average_by_label(per_class, sums, weight, is_index, self.reduction)


class AsymmetricLoss(Loss):
    r"""Asymmetric loss of the sigmoid, for many labels of which few are present.

    .. math:: L = -\frac1V \sum_v t (1 - p)^{\gamma_+} \log p + (1 - t) p_m^{\gamma_-} \log (1 - p_m),
              \quad p_m = \max(p - m, 0)

    Args:
        gamma_positive: the exponent of positives, at least 0.
        gamma_negative: the exponent of negatives, at least 0.
        margin: m in [0, 1): negatives below this probability cost nothing.
        ignore_index: the target value whose entries don't count.
        reduction: "mean", "sum", or "none" for losses of the logits' shape.

    Called as `BCEWithLogitsLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or values that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 2), torch.tensor([[1, 0]])
        >>> round(AsymmetricLoss()(logits, target).item(), 4)
        0.1855

    Reference:
        Ridnik et al., Asymmetric loss for multi-label classification, 2020, arXiv:2009.14119, equation 6.
    """

    def __init__(
        self,
        gamma_positive: float = 1.0,
        gamma_negative: float = 4.0,
        margin: float = 0.05,
        ignore_index: int = -100,
        reduction: Reduction = "mean",
    ) -> None:
        super().__init__()
        self.gamma_positive = number("gamma_positive", gamma_positive, at_least=0)
        self.gamma_negative = number("gamma_negative", gamma_negative, at_least=0)
        self.margin = number("margin", margin, at_least=0, below=1)
        self.ignore_index = ignore_index
        self.reduction = one_of("reduction", reduction, ["mean", "sum", "none"])

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_sigmoid_target(logits, target, mask, self.ignore_index)
        x = visible(logits, known)
        values = known.values.to(x.dtype)
        missed = (-x).sigmoid()  # 1 - p, to its own precision
        positive = -(missed.clamp_min(1e-30) ** self.gamma_positive) * F.logsigmoid(x)
        shifted = (x.sigmoid() - self.margin).clamp_min(0)
        # -log(1 - p_m) where p_m is p - m; without a margin that is the logarithm of a sigmoid, exact everywhere.
        losses = -torch.log1p(-shifted) if self.margin > 0 else -F.logsigmoid(-x)
        negative = shifted.clamp_min(1e-30) ** self.gamma_negative * losses
        loss = (values * positive).where(values > 0, 0) + ((1 - values) * negative).where(values < 1, 0)
        return reduce_entries(loss, known, self.reduction, logits)

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many entries of ``target`` count."""
        return count_valid(target, self.ignore_index)


class DistillationKLLoss(Loss):
    r"""How far the softmax of a student is from that of its teacher, both softened by a temperature.

    .. math:: L = \frac{\tau^2}{V} \sum_v \sum_c q_{vc} (\log q_{vc} - \log p_{vc}),
              \quad q = \text{softmax}(z / \tau),\ p = \text{softmax}(x / \tau)

    Args:
        temperature: tau, above 0.

    Called with the student's logits x ``(N, C, *spatial)``, the teacher's logits z of the same shape as target, and
    optionally a mask ``(N, *spatial)``.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes or dtypes that don't fit, or a temperature that is not positive.

    Example:
        >>> logits = torch.tensor([[1.0, 2.0]])
        >>> DistillationKLLoss()(logits, logits).item()
        0.0

    Reference:
        Hinton et al., Distilling the knowledge in a neural network, 2015, arXiv:1503.02531, section 2.
    """

    def __init__(self, temperature: float = 2.0) -> None:
        super().__init__()
        self.temperature = number("temperature", temperature, above=0)

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of the student's ``logits`` against the teacher's over the voxels where ``mask`` is true."""
        check_logits(logits, softmax=True)
        if target.shape != logits.shape or not torch.is_floating_point(target):
            raise invalid("target", f"be the teacher's logits, of shape {tuple(logits.shape)}", tuple(target.shape))
        valid = fit_mask(logits, mask)
        known = Target(target, False, None if valid is None else valid.reshape(logits.shape[0], 1, -1))
        student = torch.log_softmax(visible(logits, known) / self.temperature, 1)
        teacher = torch.log_softmax(visible(target, known).to(student.dtype) / self.temperature, 1)
        loss = (teacher.exp() * (teacher - student)).where(teacher > -torch.inf, 0).sum(1, keepdim=True)
        return self.temperature**2 * reduce_entries(loss, known, "mean", logits)

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels there are."""
        return count_of(target, target.numel() / target.shape[1])


def reduce_entries(loss: Tensor, known: Target, reduction: str, logits: Tensor) -> Tensor:
    """Reduce losses ``(N, K, V)`` over the entries that count; "none" gives them in the shape of the logits."""
    if known.valid is not None:
        loss = loss.where(known.valid, 0)
    if reduction == "none":
        return loss.reshape(logits.shape)
    total = loss.sum(dtype=sum_dtype(logits))
    if reduction == "mean":
        if known.valid is None:
            total = total / max(loss.numel(), 1)
        else:
            total = total / known.valid.expand_as(loss).sum().clamp_min(1)
    return total.to(working_dtype(logits))
