"""Masks: a class, or several labels, for each pixel of an image."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor

from hone.data import Examples, Splits
from hone.data.masks import MaskBatches, MaskExamples, MaskPreprocessing, WholeImages, read_masks
from hone.data.masks.coding import IGNORED
from hone.data.masks.examples import has_background
from hone.recipe.component import Component
from hone.recipe.kinds.batch_options import batch_options
from hone.recipe.kinds.kind import TrainingBatches
from hone.recipe.kinds.mask_details import details
from hone.recipe.kinds.mask_model import mask_target
from hone.recipe.kinds.mask_plan import plan
from hone.recipe.kinds.mask_prediction import columns, predict
from hone.recipe.kinds.mask_windows import whole_or_windows
from hone.recipe.kinds.photos import network
from hone.recipe.resolve import resolve_loss
from hone.recipe.schema import Recipe
from hone.recipe.source import Target
from hone.training import Inference, World, label_counts, overlap_counts

__all__ = [
    "columns",
    "criterion",
    "details",
    "evaluation_batches",
    "inference",
    "network",
    "predict",
    "prefer",
    "preprocessing",
    "read",
    "read_preprocessing",
    "settled",
    "target",
    "training_batches",
    "trial_batch",
]


def read(recipe: Recipe, classes: Sequence[str] | None = None) -> Splits:
    """Folders of images and masks."""
    return read_masks(
        recipe.data,
        val_fraction=recipe.val_fraction,
        seed=recipe.seed,
        skip_unreadable=recipe.skip_unreadable,
        classes=classes,
        ignore_index=recipe.ignore_index,
    )


def prefer(recipe: Recipe, splits: Splits | None, device: torch.device) -> Recipe:
    """A small U-Net on crops."""
    return plan(recipe, cast(MaskExamples, splits.train) if splits is not None else None, device)


def criterion(recipe: Recipe, examples: Examples) -> Callable[..., Tensor]:
    """Dice and cross-entropy (Dice and binary cross-entropy of labels), unless the recipe names another."""
    masks = cast(MaskExamples, examples)
    if "ignore_index" in recipe.loss.options:
        raise ValueError("loss.ignore_index is set by hone; --ignore-index N says which value of a mask counts nowhere")
    default = Component("DiceBCELoss" if masks.coding.labels else "SoftmaxDiceCELoss")
    weight = _class_weights(masks) if recipe.class_weights == "auto" else None
    return resolve_loss(recipe.loss if recipe.loss != Component() else default, masks.task, weight)


def _class_weights(examples: MaskExamples) -> Tensor:
    """Weights that make every class count alike: ``w_c = n / (C n_c)`` of pixels.

    Raises:
        ValueError: a pixel may have several labels.
    """
    if examples.coding.labels:
        raise ValueError("class_weights auto needs one class a pixel, and these masks have labels")
    pixels = examples.targets.sum(0).float()
    return pixels.sum() / (len(pixels) * pixels.clamp(min=1))


def target(recipe: Recipe, examples: Examples, *, with_weights: bool = True) -> Target:
    """A network of segmentation_models_pytorch, torchvision or the user's."""
    return mask_target(recipe, len(examples.classes), with_weights=with_weights)


def preprocessing(recipe: Recipe, examples: Examples, target: Target, device: torch.device) -> MaskPreprocessing:
    """Mean and spread as the encoder knows them, and the run's crop."""
    masks = cast(MaskExamples, examples)
    own = target.preprocessing
    return MaskPreprocessing(
        image_size=int(recipe.image_size or own.image_size),
        mean=own.mean,
        std=own.std,
        labels=masks.coding.labels,
        peak=masks.peak,
    )


def settled(preprocessing: MaskPreprocessing) -> dict[str, Any]:
    """The side of a crop."""
    return {"image_size": preprocessing.image_size}


def read_preprocessing(text: str) -> MaskPreprocessing:
    """From ``preprocessing.json``."""
    return MaskPreprocessing.from_json(text)


def training_batches(recipe: Recipe, examples: Examples, preprocessing: MaskPreprocessing, world: World) -> MaskBatches:
    """Crops as the recipe draws and augments them."""
    if recipe.sampler != "shuffle":
        raise ValueError(f"sampler must be shuffle for task segment, got {recipe.sampler!r}")
    return MaskBatches(
        cast(MaskExamples, examples),
        preprocessing,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        augment=recipe.augment or "light",
        hflip=recipe.hflip,
        **batch_options(recipe, world),
    )


def evaluation_batches(
    recipe: Recipe, examples: Examples, preprocessing: MaskPreprocessing, world: World
) -> WholeImages:
    """Whole images."""
    return WholeImages(cast(MaskExamples, examples), preprocessing, **batch_options(recipe, world))


def trial_batch(
    recipe: Recipe,
    examples: Examples,
    preprocessing: MaskPreprocessing,
    batches: TrainingBatches,
    device: torch.device,
) -> tuple[Tensor, Tensor, str]:
    """Blank crops."""
    size = preprocessing.image_size
    shape = (2, len(examples.classes), size, size) if preprocessing.labels else (2, size, size)
    dtype = torch.float32 if preprocessing.labels else torch.int64
    inputs = torch.zeros(2, 3, size, size, device=device)
    return inputs, torch.zeros(shape, dtype=dtype, device=device), f"images of {size} px"


def inference(recipe: Recipe, preprocessing: MaskPreprocessing, classes: Sequence[str]) -> Inference:
    """Whole images, or windows over large ones; the pixels that each class shares with the truth are kept."""
    infer = functools.partial(whole_or_windows, preprocessing=preprocessing)
    if preprocessing.labels:
        return Inference(infer, _label_counts)
    background = not has_background(classes, labels=False)
    return Inference(infer, functools.partial(overlap_counts, ignore_index=IGNORED, background=background))


def _label_counts(logits: Tensor, target: Tensor) -> Tensor:
    return label_counts(logits, target, valid=target != IGNORED)
