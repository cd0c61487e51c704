"""Losses on distances to the target's border: boundary loss and Hausdorff distance."""

from __future__ import annotations

import torch
from torch import Tensor

from hone.checks import number
from hone.losses.loss import Loss
from hone.losses.plain_sums import visible
from hone.losses.targets import Target, count_valid, read_softmax_target, sum_dtype


class BoundaryLoss(Loss):
    r"""Boundary loss of the softmax: probability times the signed distance to the border of the target.

    .. math:: L = \frac{1}{|K| V} \sum_{k \in K} \sum_v p_{vk}\,\phi_k(v)

    :math:`\phi_k` is the distance in voxels to the border of class k, negative inside it; 0 for an absent class. It is
    computed on the CPU, sample by sample. The loss can be negative; it is meant to be added to a region loss.

    Args:
        include_background: whether class 0 is among the classes K.
        ignore_index: the label whose voxels don't count.

    Called as `SoftmaxDiceLoss`, with at least one axis of space.

    Returns:
        A float32 scalar (float64 for float64 logits); 0 where nothing counts.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit.

    Example:
        >>> round(BoundaryLoss()(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])).item(), 4)
        0.25

    Reference:
        Kervadec et al., Boundary loss for highly unbalanced segmentation, 2018, arXiv:1812.07032, equation 5.
    """

    def __init__(self, include_background: bool = False, ignore_index: int = -100) -> None:
        super().__init__()
        self.include_background, self.ignore_index = include_background, ignore_index

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        probs = visible(logits, known).softmax(1)
        first = 0 if self.include_background else 1
        truth = one_hot(known, probs)[:, first:]
        truth = truth.reshape(*truth.shape[:2], *logits.shape[2:])
        signed = (distance_to(truth) - (distance_to(~truth) - 1).clamp_min(0) * truth).to(probs.dtype)
        return mean_of_valid(probs[:, first:] * signed.reshape(probs[:, first:].shape), known)

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels of ``target`` count."""
        return count_valid(target, self.ignore_index)


class HausdorffLoss(Loss):
    r"""Hausdorff distance by distance transforms, of the softmax.

    .. math:: L = \frac{1}{|K| V} \sum_{k \in K} \sum_v (p_{vk} - t_{vk})^2 \bigl( d_t^\alpha + d_p^\alpha \bigr)

    :math:`d_t` and :math:`d_p` are the distances in voxels to the border of target and of prediction (p above 1/2);
    no gradient goes through them. They are computed on the CPU, sample by sample.

    Args:
        alpha: the exponent of the distance, above 0.
        include_background: whether class 0 is among the classes K.
        ignore_index: the label whose voxels don't count.

    Called as `SoftmaxDiceLoss`, with at least one axis of space.

    Returns:
        A float32 scalar (float64 for float64 logits); 0 where nothing counts.

    Raises:
        ValueError: shapes, dtypes or labels that don't fit.

    Example:
        >>> round(HausdorffLoss()(torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])).item(), 4)
        0.25

    Reference:
        Karimi and Salcudean, Reducing the Hausdorff distance, 2019, arXiv:1904.10030, equation 8.
    """

    def __init__(self, alpha: float = 2.0, include_background: bool = False, ignore_index: int = -100) -> None:
        super().__init__()
        self.alpha = number("alpha", alpha, above=0)
        self.include_background, self.ignore_index = include_background, ignore_index

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        first = 0 if self.include_background else 1
        probs = visible(logits, known).softmax(1)
        truth = one_hot(known, probs)[:, first:]
        probs = probs[:, first:]
        shape = (logits.shape[0], probs.shape[1], *logits.shape[2:])
        fields = sum(self._field(part.reshape(shape)) for part in (truth, probs.detach() > 0.5))
        weights = torch.as_tensor(fields, device=probs.device).to(probs.dtype).reshape(probs.shape)
        return mean_of_valid((probs - truth.to(probs.dtype)) ** 2 * weights, known)

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels of ``target`` count."""
        return count_valid(target, self.ignore_index)

    def _field(self, inside: Tensor) -> Tensor:
        return distance_to(inside) ** self.alpha + distance_to(~inside) ** self.alpha


def one_hot(known: Target, probs: Tensor) -> Tensor:
    """Where each class is, bool ``(N, C, V)``; soft targets by their largest value."""
    index = known.values if known.is_index else known.values.to(probs.dtype).argmax(1)
    found = torch.zeros_like(probs, dtype=torch.bool).scatter(1, index.unsqueeze(1), True)
    return found if known.valid is None else found & known.valid


def distance_to(region: Tensor) -> Tensor:
    """The distance to a region of each voxel outside, in each map of ``(N, K, *spatial)``; 0 where there is none."""
    from scipy.ndimage import distance_transform_edt

    maps = region.detach().cpu()
    found = torch.zeros(maps.shape, dtype=torch.float64)
    for sample in range(maps.shape[0]):
        for channel in range(maps.shape[1]):
            one = maps[sample, channel]
            if one.any() and not one.all():
                found[sample, channel] = torch.from_numpy(distance_transform_edt(~one.numpy()))
    return found.to(region.device)


def mean_of_valid(values: Tensor, known: Target) -> Tensor:
    """The mean of maps ``(N, K, V)`` over the voxels that count and over K."""
    if known.valid is not None:
        values = values.where(known.valid, 0)
        count = known.valid.sum() * values.shape[1]
    else:
        count = torch.tensor(values.numel(), device=values.device)
    return (values.sum(dtype=sum_dtype(values)) / count.clamp_min(1)).to(values.dtype)
