"""How wrong the output is: losses of logits, each as a function and as a module."""

from hone.losses.bce import BCEWithLogitsLoss, bce_with_logits_loss
from hone.losses.compound import DiceBCELoss, SoftmaxDiceCELoss, dice_bce_loss, softmax_dice_ce_loss
from hone.losses.cross_entropy import CrossEntropyLoss, cross_entropy_loss
from hone.losses.dice import DiceLoss, SoftmaxDiceLoss, dice_loss, softmax_dice_loss
from hone.losses.focal import FocalLoss, SigmoidFocalLoss, focal_loss, sigmoid_focal_loss
from hone.losses.loss import Loss, WeightedSum
from hone.losses.targets import check_labels

__all__ = [
    "BCEWithLogitsLoss",
    "CrossEntropyLoss",
    "DiceBCELoss",
    "DiceLoss",
    "FocalLoss",
    "Loss",
    "SigmoidFocalLoss",
    "SoftmaxDiceCELoss",
    "SoftmaxDiceLoss",
    "WeightedSum",
    "bce_with_logits_loss",
    "check_labels",
    "cross_entropy_loss",
    "dice_bce_loss",
    "dice_loss",
    "focal_loss",
    "sigmoid_focal_loss",
    "softmax_dice_ce_loss",
    "softmax_dice_loss",
]
