"""Lovasz losses: the convex extension of the Jaccard index, by sorting errors."""

from __future__ import annotations

import torch
from torch import Tensor

from hone.checks import one_of
from hone.losses.loss import Loss
from hone.losses.plain_sums import visible
from hone.losses.region import Absent, reduce
from hone.losses.targets import count_valid, read_sigmoid_target, read_softmax_target, sum_dtype, working_dtype


class LovaszHingeLoss(Loss):
    r"""Lovasz hinge loss of binary logits.

    .. math:: L = \overline{\Delta_J}\bigl(\max(0, 1 - x (2 t - 1))\bigr)

    Args:
        per_sample: whether each sample is a region of its own (the mean of theirs), else the whole batch is one.
        ignore_index: the target value whose entries don't count.

    Called as `DiceLoss`, with a target of 0 and 1; all channels of a sample are one region.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or values that don't fit.

    Example:
        >>> LovaszHingeLoss()(torch.zeros(1, 1, 2), torch.tensor([[[1, 0]]])).item()
        1.0

    Reference:
        Berman et al., The Lovasz-softmax loss, 2017, arXiv:1705.08790, equation 8 and algorithm 1.
    """

    def __init__(self, per_sample: bool = False, ignore_index: int = -100) -> None:
        super().__init__()
        self.per_sample, self.ignore_index = per_sample, ignore_index

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_sigmoid_target(logits, target, mask, self.ignore_index)
        x = visible(logits, known)
        truth = known.values.to(x.dtype)
        errors = 1 - x * (2 * truth - 1)
        valid = torch.ones_like(x, dtype=torch.bool) if known.valid is None else known.valid.expand_as(x)
        rows = x.shape[0] if self.per_sample else 1
        errors, truth, valid = (part.reshape(rows, -1) for part in (errors, truth, valid))
        loss = lovasz_extension(errors.relu(), truth, valid, by=errors)
        return reduce(loss, valid.any(1).to(loss.dtype), "mean", squeeze=False).to(working_dtype(logits))

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many entries of ``target`` count."""
        return count_valid(target, self.ignore_index)


class LovaszSoftmaxLoss(Loss):
    r"""Lovasz loss of the softmax, the mean over classes.

    .. math:: L = \frac1C \sum_c \overline{\Delta_{J_c}}(m_c), \quad m_c = |t_c - p_c|

    Args:
        per_sample: whether each sample is a region of its own, else the whole batch is one.
        include_background: whether class 0 takes part.
        absent: what a class with no target voxel in the region counts: "skip" (the paper's), "formula" (its largest
            false probability), "zero" or "one".
        ignore_index: the label whose voxels don't count.

    Called as `SoftmaxDiceLoss`.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit.

    Example:
        >>> LovaszSoftmaxLoss()(torch.zeros(1, 2, 2), torch.tensor([[1, 0]])).item()
        0.5

    Reference:
        Berman et al., The Lovasz-softmax loss, 2017, arXiv:1705.08790, equation 11.
    """

    def __init__(
        self,
        per_sample: bool = False,
        include_background: bool = True,
        absent: Absent = "skip",
        ignore_index: int = -100,
    ) -> None:
        super().__init__()
        self.per_sample, self.include_background = per_sample, include_background
        self.absent = one_of("absent", absent, ["formula", "skip", "zero", "one"])
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        probs = visible(logits, known).softmax(1)
        truth = known.values.to(probs.dtype)
        if known.is_index:
            truth = torch.zeros_like(probs).scatter(1, known.values.unsqueeze(1), 1)
        valid = torch.ones_like(probs, dtype=torch.bool) if known.valid is None else known.valid.expand_as(probs)
        truth = truth * valid
        first = 0 if self.include_background else 1
        parts = [part[:, first:].transpose(0, 1) for part in (probs, truth, valid)]
        classes = parts[0].shape[0]
        if self.per_sample:
            parts = [part.reshape(-1, part.shape[2]) for part in parts]
        else:
            parts = [part.reshape(classes, -1) for part in parts]
        probs, truth, valid = parts
        loss = lovasz_extension((truth - probs).abs(), truth, valid)
        present = truth.sum(1) > 0
        if self.absent in ("zero", "one"):
            loss = loss.where(present, float(self.absent == "one"))
        counts = valid.any(1) & (present if self.absent == "skip" else torch.ones_like(present))
        return reduce(loss, counts.to(loss.dtype), "mean", squeeze=False).to(working_dtype(logits))

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels of ``target`` count."""
        return count_valid(target, self.ignore_index)


def lovasz_extension(errors: Tensor, truth: Tensor, valid: Tensor, by: Tensor | None = None) -> Tensor:
    """The Lovasz extension of the Jaccard loss of each row: errors in falling order times the steps of the loss.

    Args:
        errors: ``(R, V)``, at least 0.
        truth: ``(R, V)``, 0 or 1.
        valid: ``(R, V)``, bool; other entries come last and cost nothing.
        by: what to sort by where it is not the errors.

    Returns:
        The loss of each row, ``(R,)``.
    """
    if errors.shape[1] == 0:
        return errors.sum(1)
    keys = (errors if by is None else by).detach()
    order = keys.masked_fill(~valid, -torch.inf).argsort(1, descending=True)
    dtype = sum_dtype(errors)
    valid = valid.gather(1, order)
    truth = truth.gather(1, order).to(dtype) * valid
    total = truth.sum(1, keepdim=True)
    union = total + ((1 - truth) * valid).cumsum(1)
    jaccard = 1 - (total - truth.cumsum(1)) / union.where(union > 0, 1)
    steps = torch.cat([jaccard[:, :1], jaccard[:, 1:] - jaccard[:, :-1]], 1)
    return (errors.gather(1, order) * valid * steps.detach()).sum(1)
