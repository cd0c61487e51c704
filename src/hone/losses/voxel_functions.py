"""The function forms of the losses that look at single voxels, at their order or at their place."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor

from hone.losses.cross_entropy import TopKCrossEntropyLoss
from hone.losses.distance import BoundaryLoss, HausdorffLoss
from hone.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from hone.losses.poly import AsymmetricLoss, DistillationKLLoss, PolyCrossEntropyLoss
from hone.losses.region import Absent, Reduction
from hone.losses.topology import ClDiceLoss, WassersteinDiceLoss


def top_k_cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    fraction: float = 0.1,
    weight: Sequence[float] | None = None,
    ignore_index: int = -100,
    label_smoothing: float = 0.0,
) -> Tensor:
    """`TopKCrossEntropyLoss` as a function; the options are the same."""
    return TopKCrossEntropyLoss(
        fraction=fraction, weight=weight, ignore_index=ignore_index, label_smoothing=label_smoothing
    )(logits, target, mask)


def poly_cross_entropy_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    epsilon: float = 1.0,
    weight: Sequence[float] | None = None,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """`PolyCrossEntropyLoss` as a function; the options are the same."""
    return PolyCrossEntropyLoss(epsilon=epsilon, weight=weight, ignore_index=ignore_index, reduction=reduction)(
        logits, target, mask
    )


def asymmetric_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    gamma_positive: float = 1.0,
    gamma_negative: float = 4.0,
    margin: float = 0.05,
    ignore_index: int = -100,
    reduction: Reduction = "mean",
) -> Tensor:
    """`AsymmetricLoss` as a function; the options are the same."""
    return AsymmetricLoss(
        gamma_positive=gamma_positive,
        gamma_negative=gamma_negative,
        margin=margin,
        ignore_index=ignore_index,
        reduction=reduction,
    )(logits, target, mask)


def distillation_kl_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    temperature: float = 2.0,
) -> Tensor:
    """`DistillationKLLoss` as a function; the options are the same."""
    return DistillationKLLoss(temperature=temperature)(logits, target, mask)


def lovasz_hinge_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    per_sample: bool = False,
    ignore_index: int = -100,
) -> Tensor:
    """`LovaszHingeLoss` as a function; the options are the same."""
    return LovaszHingeLoss(per_sample=per_sample, ignore_index=ignore_index)(logits, target, mask)


def lovasz_softmax_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    per_sample: bool = False,
    include_background: bool = True,
    absent: Absent = "skip",
    ignore_index: int = -100,
) -> Tensor:
    """`LovaszSoftmaxLoss` as a function; the options are the same."""
    return LovaszSoftmaxLoss(
        per_sample=per_sample, include_background=include_background, absent=absent, ignore_index=ignore_index
    )(logits, target, mask)


def boundary_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    include_background: bool = False,
    ignore_index: int = -100,
) -> Tensor:
    """`BoundaryLoss` as a function; the options are the same."""
    return BoundaryLoss(include_background=include_background, ignore_index=ignore_index)(logits, target, mask)


def hausdorff_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    alpha: float = 2.0,
    include_background: bool = False,
    ignore_index: int = -100,
) -> Tensor:
    """`HausdorffLoss` as a function; the options are the same."""
    return HausdorffLoss(alpha=alpha, include_background=include_background, ignore_index=ignore_index)(
        logits, target, mask
    )


def cl_dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    iterations: int = 3,
    smooth: float = 1.0,
    ignore_index: int = -100,
) -> Tensor:
    """`ClDiceLoss` as a function; the options are the same."""
    return ClDiceLoss(iterations=iterations, smooth=smooth, ignore_index=ignore_index)(logits, target, mask)


def wasserstein_dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    distances: Sequence[Sequence[float]],
    smooth: float = 1.0,
    ignore_index: int = -100,
) -> Tensor:
    """`WassersteinDiceLoss` as a function; the options are the same."""
    return WassersteinDiceLoss(distances=distances, smooth=smooth, ignore_index=ignore_index)(logits, target, mask)
