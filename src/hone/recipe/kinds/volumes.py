"""Volumes: segmentation voxel by voxel, and classification of whole volumes."""

from __future__ import annotations

import dataclasses
import functools
import inspect
import math
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, nn

from hone import losses
from hone.data import Examples, Splits
from hone.data.decoded_cache import parse_bytes
from hone.data.layout import task_of
from hone.data.volumes import VolumeBatches, VolumeExamples, VolumePreprocessing, WholeVolumes, read_volumes
from hone.data.volumes.preprocessing import normalizations
from hone.recipe.closer_look import CloserLook
from hone.recipe.component import Component
from hone.recipe.kinds.batch_options import batch_options
from hone.recipe.kinds.kind import TrainingBatches
from hone.recipe.kinds.photos import class_details, network
from hone.recipe.kinds.photos import class_weights as class_weights_of
from hone.recipe.kinds.volume_details import volume_details
from hone.recipe.kinds.volume_plan import multiples_of, plan, read_numbers, read_sides
from hone.recipe.kinds.volume_prediction import columns, predict
from hone.recipe.resolve import resolve_loss
from hone.recipe.schema import Recipe
from hone.recipe.source import Target, build_target
from hone.training import Inference, Outputs, World, overlap_counts, sliding_window

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
    """Folders of NIfTI files: images and labels, nnU-Net's and the Decathlon's layouts, or class folders."""
    task = recipe.task if recipe.task != "auto" else task_of(recipe.data) or "segment-volume"
    splits = read_volumes(
        recipe.data,
        task=task,
        val_fraction=recipe.val_fraction,
        seed=recipe.seed,
        skip_unreadable=recipe.skip_unreadable,
        classes=classes,
        ignore_index=recipe.ignore_index,
    )
    return dataclasses.replace(splits, notes=[*splits.notes, *_cache_note(splits, recipe)])


def _cache_note(splits: Splits, recipe: Recipe) -> list[str]:
    """What it means where the cache can't hold the prepared volumes."""
    parts = [cast(VolumeExamples, part) for part in (splits.train, splits.val, splits.test)]
    # Images in half precision, labels in bytes.
    needed = sum(float(part.shapes().prod(1).sum()) * (2 * part.channels + 1) for part in parts if len(part))
    if needed <= parse_bytes(recipe.cache):
        return []
    return [
        f"prepared, the volumes take about {needed / 1e9:.3g} GB, of which {recipe.cache} are kept (--cache): "
        "the others are prepared each time they are drawn"
    ]


def prefer(recipe: Recipe, splits: Splits | None, device: torch.device) -> Recipe:
    """A U-Net (a ResNet to classify) on patches of about the volumes' size, as far as the device goes."""
    if splits is None:
        return dataclasses.replace(
            recipe, model=recipe.model if recipe.model != Component() else Component("monai:UNet")
        )
    return plan(recipe, cast(VolumeExamples, splits.train), device)


def criterion(recipe: Recipe, examples: Examples) -> Callable[..., Tensor]:
    """Dice and cross-entropy of each voxel, or cross-entropy of the whole volume, unless the recipe names another."""
    volumes = cast(VolumeExamples, examples)
    weight = _class_weights(volumes) if recipe.class_weights == "auto" else None
    if volumes.task == "classify-volume":
        return resolve_loss(recipe.loss, "classify", weight)
    component = recipe.loss if recipe.loss.name else Component("SoftmaxDiceCELoss", recipe.loss.options)
    kind = getattr(losses, str(component.name), None)
    if volumes.ignore is not None and kind is not None and "ignore_index" in inspect.signature(kind).parameters:
        component = Component(component.name, {"ignore_index": volumes.ignore, **component.options})
    return resolve_loss(component, volumes.task, weight)


def _class_weights(examples: VolumeExamples) -> Tensor:
    """Weights that make every class count alike, by volumes or by voxels."""
    if examples.task == "classify-volume":
        return class_weights_of(dataclasses.replace(examples, task="classify"))
    voxels = examples.targets.sum(0).float()
    return voxels.sum() / (len(voxels) * voxels.clamp(min=1))


def target(recipe: Recipe, examples: Examples, *, with_weights: bool = True) -> Target:
    """A network of MONAI, torchvision or the user's."""
    return build_target(recipe, len(examples.classes), with_weights=with_weights)


def preprocessing(recipe: Recipe, examples: Examples, target: Target, device: torch.device) -> VolumePreprocessing:
    """RAS, the recipe's spacing and patch, intensities as their modality asks for."""
    spacing = None if recipe.spacing == "own" else read_numbers("spacing", recipe.spacing)
    channels = normalizations(cast(VolumeExamples, examples))
    return VolumePreprocessing(read_sides(recipe.patch_size), spacing, channels)


def settled(preprocessing: VolumePreprocessing) -> dict[str, Any]:
    """Nothing: the plan has said it all."""
    return {}


def read_preprocessing(text: str) -> VolumePreprocessing:
    """From ``preprocessing.json``."""
    return VolumePreprocessing.from_json(text)


def training_batches(
    recipe: Recipe, examples: Examples, preprocessing: VolumePreprocessing, world: World
) -> VolumeBatches:
    """Patches as the recipe draws and augments them."""
    if recipe.hflip and recipe.augment != "strong":
        raise ValueError(f"hflip mirrors volumes with augment strong only, got augment {recipe.augment or 'light'}")
    return VolumeBatches(
        cast(VolumeExamples, examples),
        preprocessing,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        augment=recipe.augment or "light",
        hflip=recipe.hflip,
        sampler=recipe.sampler,
        **batch_options(recipe, world),
    )


def evaluation_batches(
    recipe: Recipe, examples: Examples, preprocessing: VolumePreprocessing, world: World
) -> WholeVolumes:
    """Whole volumes, one at a time."""
    options = batch_options(recipe, world)
    del options["batch_size"]
    return WholeVolumes(cast(VolumeExamples, examples), preprocessing, **options)


def trial_batch(
    recipe: Recipe,
    examples: Examples,
    preprocessing: VolumePreprocessing,
    batches: TrainingBatches,
    device: torch.device,
) -> tuple[Tensor, Tensor, str]:
    """Blank patches."""
    volumes, sides = cast(VolumeExamples, examples), preprocessing.patch_size
    inputs = torch.zeros(2, volumes.channels, *sides, device=device)
    shape = (2, *sides) if volumes.task == "segment-volume" else (2,)
    what = f"{volumes.channels} channels of {'x'.join(map(str, sides))} voxels"
    return inputs, torch.zeros(shape, dtype=torch.int64, device=device), what


def inference(recipe: Recipe, preprocessing: VolumePreprocessing, classes: Sequence[str]) -> Inference:
    """Windows over the volume, and the voxels that each class shares with the truth; plain logits to classify."""
    if recipe.task == "classify-volume":
        return Inference()
    infer = functools.partial(windows, preprocessing=preprocessing, multiple=multiples_of(recipe.model))
    ignore = -100 if recipe.ignore_index is None else recipe.ignore_index
    return Inference(infer, functools.partial(overlap_counts, ignore_index=ignore))


def windows(model: nn.Module, inputs: Tensor, preprocessing: VolumePreprocessing, multiple: Sequence[int]) -> Tensor:
    """The logits of whole volumes, (1, C, *spatial)."""
    window = window_for(inputs.shape[2:], preprocessing.patch_size, multiple)
    return sliding_window(model, inputs, window, overlap=preprocessing.overlap)


def window_for(shape: Sequence[int], patch_size: Sequence[int], multiple: Sequence[int]) -> tuple[int, ...]:
    """The window over a volume: the patch, or the volume as a whole where that is less work than a few windows.

    Example:
        >>> window_for((43, 50, 30), (40, 56, 40), (8, 8, 8)), window_for((90, 90, 30), (40, 56, 40), (8, 8, 8))
        ((48, 56, 40), (40, 56, 40))
    """
    if min(multiple) > 1:
        whole = tuple(max(p, math.ceil(n / m) * m) for n, p, m in zip(shape, patch_size, multiple, strict=True))
        if math.prod(whole) <= 2 * math.prod(patch_size):
            return whole
    return tuple(patch_size)


def details(outputs: Outputs, examples: Examples, look: CloserLook | None = None) -> dict[str, Any]:
    """Scores of each class, the best and worst cases with pictures, and how far surfaces lie from one another."""
    if examples.task == "classify-volume":
        return class_details(outputs, examples)
    return volume_details(outputs, cast(VolumeExamples, examples), look)
