"""The function forms of the losses on regions; those of Dice are beside their classes."""

from __future__ import annotations

from typing import Unpack

from torch import Tensor

from hone.losses.dice import GeneralizedDiceLoss, JaccardLoss, SoftmaxGeneralizedDiceLoss, SoftmaxJaccardLoss
from hone.losses.dice_focal import DiceFocalLoss, SoftmaxDiceFocalLoss
from hone.losses.mcc import MCCLoss, SoftmaxMCCLoss
from hone.losses.region import SigmoidRegionOptions, SoftmaxRegionOptions
from hone.losses.tversky import (
    FocalTverskyLoss,
    SoftmaxFocalTverskyLoss,
    SoftmaxTverskyLoss,
    TverskyLoss,
    UnifiedFocalLoss,
)


def jaccard_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    **options: Unpack[SigmoidRegionOptions],
) -> Tensor:
    """`JaccardLoss` as a function; the options are the same."""
    return JaccardLoss(**options)(logits, target, mask)


def softmax_jaccard_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    **options: Unpack[SoftmaxRegionOptions],
) -> Tensor:
    """`SoftmaxJaccardLoss` as a function; the options are the same."""
    return SoftmaxJaccardLoss(**options)(logits, target, mask)


def generalized_dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    power: float = 2.0,
    **options: Unpack[SigmoidRegionOptions],
) -> Tensor:
    """`GeneralizedDiceLoss` as a function; the options are the same."""
    return GeneralizedDiceLoss(power=power, **options)(logits, target, mask)


def softmax_generalized_dice_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    power: float = 2.0,
    **options: Unpack[SoftmaxRegionOptions],
) -> Tensor:
    """`SoftmaxGeneralizedDiceLoss` as a function; the options are the same."""
    return SoftmaxGeneralizedDiceLoss(power=power, **options)(logits, target, mask)


def tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    alpha: float = 0.5,
    beta: float = 0.5,
    **options: Unpack[SigmoidRegionOptions],
) -> Tensor:
    """`TverskyLoss` as a function; the options are the same."""
    return TverskyLoss(alpha=alpha, beta=beta, **options)(logits, target, mask)


def softmax_tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    alpha: float = 0.5,
    beta: float = 0.5,
    **options: Unpack[SoftmaxRegionOptions],
) -> Tensor:
    """`SoftmaxTverskyLoss` as a function; the options are the same."""
    return SoftmaxTverskyLoss(alpha=alpha, beta=beta, **options)(logits, target, mask)


def focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    **options: Unpack[SigmoidRegionOptions],
) -> Tensor:
    """`FocalTverskyLoss` as a function; the options are the same."""
    return FocalTverskyLoss(alpha=alpha, beta=beta, gamma=gamma, **options)(logits, target, mask)


def softmax_focal_tversky_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    alpha: float = 0.3,
    beta: float = 0.7,
    gamma: float = 0.75,
    **options: Unpack[SoftmaxRegionOptions],
) -> Tensor:
    """`SoftmaxFocalTverskyLoss` as a function; the options are the same."""
    return SoftmaxFocalTverskyLoss(alpha=alpha, beta=beta, gamma=gamma, **options)(logits, target, mask)


def unified_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    balance: float = 0.5,
    delta: float = 0.6,
    gamma: float = 0.5,
    **options: Unpack[SoftmaxRegionOptions],
) -> Tensor:
    """`UnifiedFocalLoss` as a function; the options are the same."""
    return UnifiedFocalLoss(balance=balance, delta=delta, gamma=gamma, **options)(logits, target, mask)


def mcc_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    **options: Unpack[SigmoidRegionOptions],
) -> Tensor:
    """`MCCLoss` as a function; the options are the same."""
    return MCCLoss(**options)(logits, target, mask)


def softmax_mcc_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    **options: Unpack[SoftmaxRegionOptions],
) -> Tensor:
    """`SoftmaxMCCLoss` as a function; the options are the same."""
    return SoftmaxMCCLoss(**options)(logits, target, mask)


def dice_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    dice_weight: float = 1.0,
    focal_weight: float = 1.0,
    gamma: float = 2.0,
    alpha: float | None = None,
    **options: Unpack[SigmoidRegionOptions],
) -> Tensor:
    """`DiceFocalLoss` as a function; the options are the same."""
    return DiceFocalLoss(dice_weight=dice_weight, focal_weight=focal_weight, gamma=gamma, alpha=alpha, **options)(
        logits, target, mask
    )


def softmax_dice_focal_loss(
    logits: Tensor,
    target: Tensor,
    *,
    mask: Tensor | None = None,
    dice_weight: float = 1.0,
    focal_weight: float = 1.0,
    gamma: float = 2.0,
    **options: Unpack[SoftmaxRegionOptions],
) -> Tensor:
    """`SoftmaxDiceFocalLoss` as a function; the options are the same."""
    return SoftmaxDiceFocalLoss(dice_weight=dice_weight, focal_weight=focal_weight, gamma=gamma, **options)(
        logits, target, mask
    )
