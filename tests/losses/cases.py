"""The table of losses that the shared laws run through, and an independent float64 formula for each.

The formulas are written voxel by voxel from the papers, with one-hot targets and no shared code.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

import hone.losses as L


@dataclass(frozen=True)
class Case:
    """A loss, its formula of (logits, one-hot or binary target) in float64, and its kind."""

    name: str
    loss: Callable[..., Tensor]
    formula: Callable[[Tensor, Tensor], Tensor]
    softmax: bool

    def inputs(
        self, shape: tuple[int, ...], seed: int = 0, dtype: torch.dtype = torch.float64
    ) -> tuple[Tensor, Tensor]:
        """Random logits of the shape and a target that has every class."""
        generator = torch.Generator().manual_seed(seed)
        logits = (torch.randn(shape, generator=generator, dtype=torch.float64) * 2).to(dtype)
        if self.softmax:
            return logits, torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
        return logits, torch.randint(0, 2, shape, generator=generator)

    def spread(self, logits: Tensor, target: Tensor) -> Tensor:
        """The target as the formula takes it."""
        return F.one_hot(target, logits.shape[1]).movedim(-1, 1).double() if self.softmax else target.double()


def axes(x: Tensor) -> tuple[int, ...]:
    return (0, *range(2, x.ndim))


def soft(x: Tensor) -> Tensor:
    e = torch.exp(x - x.amax(1, keepdim=True))
    return e / e.sum(1, keepdim=True)


def logistic(x: Tensor) -> Tensor:
    return 0.5 * (1 + torch.tanh(x / 2))


def counts(p: Tensor, t: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """True and false positives and negatives of each class."""
    a = axes(p)
    return (p * t).sum(a), (p * (1 - t)).sum(a), ((1 - p) * t).sum(a), ((1 - p) * (1 - t)).sum(a)


def dice(p: Tensor, t: Tensor) -> Tensor:
    tp, fp, fn, _ = counts(p, t)
    return 1 - (2 * tp + 1) / (2 * tp + fp + fn + 1)


def tversky(p: Tensor, t: Tensor, a: float, b: float) -> Tensor:
    tp, fp, fn, _ = counts(p, t)
    return (fp * a + fn * b) / (tp + a * fp + b * fn + 1)


def mcc(p: Tensor, t: Tensor) -> Tensor:
    tp, fp, fn, tn = counts(p, t)
    root = torch.sqrt((tp + fp) * (tp + fn) * (tn + fp) * (tn + fn))
    return 1 - (tp * tn - fp * fn + 1) / (root + 1)


def generalized(p: Tensor, t: Tensor) -> Tensor:
    tp, fp, fn, _ = counts(p, t)
    size = t.sum(axes(t))
    w = (size.min() / size) ** 2
    return 1 - (2 * (w * tp).sum() + 1) / ((w * (2 * tp + fp + fn)).sum() + 1)


def flat(f: Callable[..., Tensor], *extra: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A formula of one region: all channels in one."""
    return lambda x, t: f(logistic(x).reshape(1, 1, -1), t.reshape(1, 1, -1), *extra).mean()


def each(f: Callable[..., Tensor], *extra: float) -> Callable[[Tensor, Tensor], Tensor]:
    """A formula of each class."""
    return lambda x, t: f(soft(x), t, *extra).mean()


def jaccard(p: Tensor, t: Tensor) -> Tensor:
    tp, fp, fn, _ = counts(p, t)
    return (fp + fn) / (tp + fp + fn + 1)


def ce(x: Tensor, t: Tensor, gamma: float = 0.0) -> Tensor:
    p_t = (soft(x) * t).sum(1)
    return ((1 - p_t) ** gamma * -torch.log(p_t)).mean()


def bce(x: Tensor, t: Tensor, gamma: float = 0.0, alpha: float | None = None) -> Tensor:
    p = logistic(x)
    p_t = torch.where(t > 0, p, 1 - p)
    a_t = 1.0 if alpha is None else torch.where(t > 0, alpha, 1 - alpha)
    return (a_t * (1 - p_t) ** gamma * -torch.log(p_t)).mean()


def asymmetric(x: Tensor, t: Tensor) -> Tensor:
    p = logistic(x)
    m = (p - 0.05).clamp(min=0)
    return -(t * (1 - p) * torch.log(p) + (1 - t) * m**4 * torch.log(1 - m)).mean()


def unified(x: Tensor, t: Tensor) -> Tensor:
    p_t = (soft(x) * t).sum(1)
    d = 0.6 - 0.2 * t[:, 0]
    focal = (d * (1 - p_t) ** 0.5 * -torch.log(p_t)).mean()
    return 0.5 * (tversky(soft(x), t, 0.4, 0.6) ** 0.5).mean() + 0.5 * focal


def smoothed_ce(x: Tensor, t: Tensor) -> Tensor:
    return -(torch.log(soft(x)) * (0.9 * t + 0.1 / t.shape[1])).sum(1).mean()


TABLE = [
    Case("dice", L.DiceLoss(), flat(dice), False),
    Case("softmax dice", L.SoftmaxDiceLoss(), each(dice), True),
    Case("softmax log dice", L.SoftmaxDiceLoss(log=True), each(lambda p, t: -torch.log(1 - dice(p, t))), True),
    Case("jaccard", L.JaccardLoss(), flat(jaccard), False),
    Case("softmax jaccard", L.SoftmaxJaccardLoss(), each(jaccard), True),
    Case("tversky", L.TverskyLoss(alpha=0.2, beta=0.9), flat(tversky, 0.2, 0.9), False),
    Case("softmax tversky", L.SoftmaxTverskyLoss(alpha=0.2, beta=0.9), each(tversky, 0.2, 0.9), True),
    Case("focal tversky", L.FocalTverskyLoss(), flat(lambda p, t: tversky(p, t, 0.3, 0.7) ** 0.75), False),
    Case(
        "softmax focal tversky", L.SoftmaxFocalTverskyLoss(), each(lambda p, t: tversky(p, t, 0.3, 0.7) ** 0.75), True
    ),
    Case("generalized dice", L.GeneralizedDiceLoss(), lambda x, t: generalized(logistic(x), t), False),
    Case("softmax generalized dice", L.SoftmaxGeneralizedDiceLoss(), each(generalized), True),
    Case("mcc", L.MCCLoss(), flat(mcc), False),
    Case("softmax mcc", L.SoftmaxMCCLoss(), each(mcc), True),
    Case("unified focal", L.UnifiedFocalLoss(), unified, True),
    Case("cross-entropy", L.CrossEntropyLoss(), ce, True),
    Case("smoothed cross-entropy", L.CrossEntropyLoss(label_smoothing=0.1), smoothed_ce, True),
    Case("top-k", L.TopKCrossEntropyLoss(fraction=1.0), ce, True),
    Case(
        "poly", L.PolyCrossEntropyLoss(epsilon=2.0), lambda x, t: ce(x, t) + 2 * (1 - (soft(x) * t).sum(1)).mean(), True
    ),
    Case("focal", L.FocalLoss(gamma=2.0), lambda x, t: ce(x, t, 2.0), True),
    Case("focal 0.5", L.FocalLoss(gamma=0.5), lambda x, t: ce(x, t, 0.5), True),
    Case("bce", L.BCEWithLogitsLoss(), bce, False),
    Case("sigmoid focal", L.SigmoidFocalLoss(), lambda x, t: bce(x, t, 2.0, 0.25), False),
    Case("sigmoid focal 0.5", L.SigmoidFocalLoss(gamma=0.5, alpha=None), lambda x, t: bce(x, t, 0.5), False),
    Case("asymmetric", L.AsymmetricLoss(), asymmetric, False),
    Case("dice ce", L.SoftmaxDiceCELoss(dice_weight=0.5), lambda x, t: 0.5 * each(dice)(x, t) + ce(x, t), True),
    Case("dice bce", L.DiceBCELoss(bce_weight=0.5), lambda x, t: flat(dice)(x, t) + 0.5 * bce(x, t), False),
    Case("softmax dice focal", L.SoftmaxDiceFocalLoss(), lambda x, t: each(dice)(x, t) + ce(x, t, 2.0), True),
    Case("dice focal", L.DiceFocalLoss(), lambda x, t: flat(dice)(x, t) + bce(x, t, 2.0), False),
    Case(
        "weighted sum",
        0.5 * L.SoftmaxDiceLoss() + 2.0 * L.FocalLoss(),
        lambda x, t: 0.5 * each(dice)(x, t) + 2 * ce(x, t, 2.0),
        True,
    ),
]
#: Losses without a formula of two lines; their oracles are in files of their own.
OTHERS = [
    Case("lovasz hinge", L.LovaszHingeLoss(), bce, False),
    Case("lovasz softmax", L.LovaszSoftmaxLoss(), ce, True),
    Case("boundary", L.BoundaryLoss(), ce, True),
    Case("hausdorff", L.HausdorffLoss(), ce, True),
    Case("cl dice", L.ClDiceLoss(), ce, True),
    Case("wasserstein dice", L.WassersteinDiceLoss([[0, 1, 1], [1, 0, 0.5], [1, 0.5, 0]]), ce, True),
]
#: Deliberately wrong: Tversky with its weights swapped. The laws must reject it.
WRONG = Case("wrong", L.SoftmaxTverskyLoss(alpha=0.9, beta=0.2), each(tversky, 0.2, 0.9), True)
