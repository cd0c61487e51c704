"""How wrong the output is: losses of logits, each as a function and as a module."""

from hone.losses.bce import BCEWithLogitsLoss, bce_with_logits_loss
from hone.losses.compound import DiceBCELoss, SoftmaxDiceCELoss, dice_bce_loss, softmax_dice_ce_loss
from hone.losses.cross_entropy import CrossEntropyLoss, TopKCrossEntropyLoss, cross_entropy_loss
from hone.losses.deep_supervision import DeepSupervisionLoss
from hone.losses.dice import (
    DiceLoss,
    GeneralizedDiceLoss,
    JaccardLoss,
    SoftmaxDiceLoss,
    SoftmaxGeneralizedDiceLoss,
    SoftmaxJaccardLoss,
    dice_loss,
    softmax_dice_loss,
)
from hone.losses.dice_focal import DiceFocalLoss, SoftmaxDiceFocalLoss
from hone.losses.distance import BoundaryLoss, HausdorffLoss
from hone.losses.focal import FocalLoss, SigmoidFocalLoss, focal_loss, sigmoid_focal_loss
from hone.losses.head import conv1x1_dice_ce, conv1x1_loss
from hone.losses.loss import Loss, WeightedSum
from hone.losses.lovasz import LovaszHingeLoss, LovaszSoftmaxLoss
from hone.losses.mcc import MCCLoss, SoftmaxMCCLoss
from hone.losses.poly import AsymmetricLoss, DistillationKLLoss, PolyCrossEntropyLoss
from hone.losses.region import RegionLoss
from hone.losses.region_functions import (
    dice_focal_loss,
    focal_tversky_loss,
    generalized_dice_loss,
    jaccard_loss,
    mcc_loss,
    softmax_dice_focal_loss,
    softmax_focal_tversky_loss,
    softmax_generalized_dice_loss,
    softmax_jaccard_loss,
    softmax_mcc_loss,
    softmax_tversky_loss,
    tversky_loss,
    unified_focal_loss,
)
from hone.losses.sums import Sums, sigmoid_sums, softmax_sums
from hone.losses.targets import check_labels
from hone.losses.topology import ClDiceLoss, WassersteinDiceLoss
from hone.losses.tversky import (
    FocalTverskyLoss,
    SoftmaxFocalTverskyLoss,
    SoftmaxTverskyLoss,
    TverskyLoss,
    UnifiedFocalLoss,
)
from hone.losses.voxel_functions import (
    asymmetric_loss,
    boundary_loss,
    cl_dice_loss,
    distillation_kl_loss,
    hausdorff_loss,
    lovasz_hinge_loss,
    lovasz_softmax_loss,
    poly_cross_entropy_loss,
    top_k_cross_entropy_loss,
    wasserstein_dice_loss,
)

__all__ = [
    "AsymmetricLoss",
    "BCEWithLogitsLoss",
    "BoundaryLoss",
    "ClDiceLoss",
    "CrossEntropyLoss",
    "DeepSupervisionLoss",
    "DiceBCELoss",
    "DiceFocalLoss",
    "DiceLoss",
    "DistillationKLLoss",
    "FocalLoss",
    "FocalTverskyLoss",
    "GeneralizedDiceLoss",
    "HausdorffLoss",
    "JaccardLoss",
    "Loss",
    "LovaszHingeLoss",
    "LovaszSoftmaxLoss",
    "MCCLoss",
    "PolyCrossEntropyLoss",
    "RegionLoss",
    "SigmoidFocalLoss",
    "SoftmaxDiceCELoss",
    "SoftmaxDiceFocalLoss",
    "SoftmaxDiceLoss",
    "SoftmaxFocalTverskyLoss",
    "SoftmaxGeneralizedDiceLoss",
    "SoftmaxJaccardLoss",
    "SoftmaxMCCLoss",
    "SoftmaxTverskyLoss",
    "Sums",
    "TopKCrossEntropyLoss",
    "TverskyLoss",
    "UnifiedFocalLoss",
    "WassersteinDiceLoss",
    "WeightedSum",
    "asymmetric_loss",
    "bce_with_logits_loss",
    "boundary_loss",
    "check_labels",
    "cl_dice_loss",
    "conv1x1_dice_ce",
    "conv1x1_loss",
    "cross_entropy_loss",
    "dice_bce_loss",
    "dice_focal_loss",
    "dice_loss",
    "distillation_kl_loss",
    "focal_loss",
    "focal_tversky_loss",
    "generalized_dice_loss",
    "hausdorff_loss",
    "jaccard_loss",
    "lovasz_hinge_loss",
    "lovasz_softmax_loss",
    "mcc_loss",
    "poly_cross_entropy_loss",
    "sigmoid_focal_loss",
    "sigmoid_sums",
    "softmax_dice_ce_loss",
    "softmax_dice_focal_loss",
    "softmax_dice_loss",
    "softmax_focal_tversky_loss",
    "softmax_generalized_dice_loss",
    "softmax_jaccard_loss",
    "softmax_mcc_loss",
    "softmax_sums",
    "softmax_tversky_loss",
    "top_k_cross_entropy_loss",
    "tversky_loss",
    "unified_focal_loss",
    "wasserstein_dice_loss",
]
