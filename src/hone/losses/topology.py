"""Losses that know of shapes and of relations between classes: clDice and the Wasserstein Dice."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from hone.checks import integer, invalid, number
from hone.losses.distance import one_hot
from hone.losses.loss import Loss
from hone.losses.plain_sums import visible
from hone.losses.targets import count_valid, read_softmax_target, sum_dtype, working_dtype


class ClDiceLoss(Loss):
    r"""Centre-line Dice of the softmax: how much of each skeleton lies in the other mask.

    .. math:: L = 1 - \frac{2\,T_p\,T_s}{T_p + T_s}, \quad
              T_p = \frac{\sum S(p)\,t + s}{\sum S(p) + s}, \quad T_s = \frac{\sum S(t)\,p + s}{\sum S(t) + s}

    S is the soft skeleton (repeated minimum and maximum pooling). Over the foreground classes of the whole batch.

    Args:
        iterations: how often the mask is eroded, at least 1: the largest radius of a vessel in voxels.
        smooth: s, at least 0.
        ignore_index: the label whose voxels don't count.

    Called as `SoftmaxDiceLoss`, with two or three axes of space.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or an option outside its range.

    Example:
        >>> logits, target = torch.zeros(1, 2, 5, 5), torch.zeros(1, 5, 5, dtype=torch.long)
        >>> 0 <= ClDiceLoss()(logits, target).item() <= 1
        True

    Reference:
        Shit et al., clDice, 2020, arXiv:2003.07311, equations 1 and 2, algorithm 1.
    """

    def __init__(self, iterations: int = 3, smooth: float = 1.0, ignore_index: int = -100) -> None:
        super().__init__()
        self.iterations = integer("iterations", iterations, at_least=1)
        self.smooth = number("smooth", smooth, at_least=0)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        if logits.ndim not in (4, 5):
            raise invalid("logits", "have two or three axes of space for clDice", tuple(logits.shape))
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        flat = visible(logits, known).softmax(1)
        truth = one_hot(known, flat).to(flat.dtype)
        if known.valid is not None:
            flat = flat * known.valid
        probs = flat[:, 1:].reshape(logits.shape[0], logits.shape[1] - 1, *logits.shape[2:])
        truth = truth[:, 1:].reshape(probs.shape)
        precision = self._share(soft_skeleton(probs, self.iterations), truth)
        recall = self._share(soft_skeleton(truth, self.iterations), probs)
        total = precision + recall
        score = 2 * precision * recall / total.where(total > 0, 1)
        return (1 - score).to(working_dtype(logits))

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels of ``target`` count."""
        return count_valid(target, self.ignore_index)

    def _share(self, skeleton: Tensor, mask: Tensor) -> Tensor:
        dtype = sum_dtype(mask)
        inside, whole = (skeleton * mask).sum(dtype=dtype) + self.smooth, skeleton.sum(dtype=dtype) + self.smooth
        return inside.where(whole > 0, 1) / whole.where(whole > 0, 1)


def soft_skeleton(mask: Tensor, iterations: int) -> Tensor:
    """The soft skeleton of maps ``(N, K, *spatial)`` in [0, 1], by pooling; differentiable."""
    pool = F.max_pool2d if mask.ndim == 4 else F.max_pool3d
    axes = mask.ndim - 2

    def erode(x: Tensor) -> Tensor:
        # The minimum over a cross: of windows three long along one axis each.
        windows = [tuple(3 if axis == along else 1 for axis in range(axes)) for along in range(axes)]
        least = [-pool(-x, w, 1, tuple(size // 2 for size in w)) for w in windows]
        return torch.stack(least).amin(0)

    def opened(x: Tensor) -> Tensor:
        return pool(erode(x), 3, 1, 1)

    skeleton = (mask - opened(mask)).relu()
    for _ in range(iterations):
        mask = erode(mask)
        rest = (mask - opened(mask)).relu()
        skeleton = skeleton + (rest - skeleton * rest).relu()
    return skeleton


class WassersteinDiceLoss(Loss):
    r"""Generalised Wasserstein Dice: confusing near classes costs less than confusing far ones.

    .. math:: L = 1 - \frac{2 A + s}{2 A + \sum_v W_v + s}, \quad W_v = \sum_k M_{t_v k}\,p_{vk}, \quad
              A = \sum_v M_{t_v 0} (1 - W_v)

    M is the matrix of distances between classes, scaled so that its largest entry is 1; class 0 is the background.

    Args:
        distances: C rows of C distances, symmetric, at least 0, 0 on the diagonal.
        smooth: s, at least 0.
        ignore_index: the label whose voxels don't count.

    Called as `SoftmaxDiceLoss`, with labels.

    Returns:
        A float32 scalar (float64 for float64 logits).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or distances that are none.

    Example:
        >>> loss = WassersteinDiceLoss([[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]])
        >>> round(loss(torch.zeros(1, 3, 2), torch.tensor([[1, 2]])).item(), 4)
        0.25

    Reference:
        Fidon et al., Generalised Wasserstein Dice score, 2017, arXiv:1707.00478, equations 14 to 16.
    """

    def __init__(self, distances: Sequence[Sequence[float]], smooth: float = 1.0, ignore_index: int = -100) -> None:
        super().__init__()
        matrix = torch.tensor([list(row) for row in distances], dtype=torch.float64)
        square = matrix.ndim == 2 and matrix.shape[0] == matrix.shape[1] >= 2
        if not (square and torch.equal(matrix, matrix.T) and (matrix >= 0).all() and (matrix.diagonal() == 0).all()):
            raise invalid("distances", "be a symmetric matrix of distances, at least 0, 0 on the diagonal", distances)
        if not matrix.max() > 0:
            raise invalid("distances", "have an entry above 0", distances)
        self.matrix = matrix / matrix.max()
        self.smooth = number("smooth", smooth, at_least=0)
        self.ignore_index = ignore_index

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        known = read_softmax_target(logits, target, mask, self.ignore_index)
        if not known.is_index:
            raise invalid("target", "hold labels for the Wasserstein Dice", tuple(target.shape))
        if logits.shape[1] != self.matrix.shape[0]:
            raise invalid("distances", f"have a row for each of the {logits.shape[1]} classes", self.matrix.tolist())
        probs = visible(logits, known).softmax(1)
        matrix = self.matrix.to(probs)
        moved = (matrix[known.values] * probs.transpose(1, 2)).sum(2)  # W, (N, V)
        far = matrix[:, 0][known.values]
        if known.valid is not None:
            moved, far = moved * known.valid[:, 0], far * known.valid[:, 0]
        dtype = sum_dtype(logits)
        hit = (far * (1 - moved)).sum(dtype=dtype)
        bottom = 2 * hit + moved.sum(dtype=dtype) + self.smooth
        score = (2 * hit + self.smooth) / bottom.where(bottom > 0, 1)
        return (1 - score).where(bottom > 0, 0).to(working_dtype(logits))

    def valid_weight(self, target: Tensor) -> Tensor:
        """How many voxels of ``target`` count."""
        return count_valid(target, self.ignore_index)
