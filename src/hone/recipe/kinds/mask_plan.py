"""What a recipe for masks leaves open: network, crop, batch, rate, and how long to train."""

from __future__ import annotations

import dataclasses
import math

import torch

from hone.data.masks import MaskExamples
from hone.precision import is_fast_bf16
from hone.recipe.component import Component
from hone.recipe.schema import Recipe

#: A U-Net on a small encoder; a narrow decoder is most of its speed and next to nothing of its Dice.
_MODEL = Component("smp:Unet", {"encoder_name": "mobilenet_v2", "decoder_channels": [96, 64, 32, 16, 16]})
#: Side of a crop, at most, and crops a batch.
_CROP = {"cpu": 128, "gpu": 512}
_BATCH_SIZE = {"cpu": 8, "gpu": 16}
#: Passes over the data, as many in bf16 on a processor that has it as on a GPU; and the updates of a run at least.
_EPOCHS = {"cpu": 14, "gpu": 30}
_UPDATES = {"cpu": 300, "gpu": 1500}
_LR = 1e-3
#: Evaluations a run: each sees every validation image whole.
_EVALUATIONS = {"cpu": 4, "gpu": 12}
_MULTIPLE = 32


def plan(recipe: Recipe, examples: MaskExamples | None, device: torch.device) -> Recipe:
    """The recipe with everything chosen that differs from photos.

    Args:
        recipe: as the user stated it.
        examples: the training data; None where it is not looked at.
        device: where it trains.
    """
    place = "cpu" if device.type == "cpu" else "gpu"
    batch_size = recipe.batch_size or min(_BATCH_SIZE[place], len(examples) if examples is not None else 1 << 30)
    chosen = dataclasses.replace(
        recipe,
        model=_MODEL if recipe.model == Component() and recipe.source is None else recipe.model,
        batch_size=batch_size,
        augment=recipe.augment or "light",
        image_size=recipe.image_size or crop_side(examples, _CROP[place]),
        # New layers stand behind old ones, and are most of what learns.
        norm="follow" if recipe.norm == "auto" else recipe.norm,
        head="random" if recipe.head == "auto" else recipe.head,
        head_multiplier=recipe.head_multiplier or 1.0,
        lr=recipe.lr or (_LR if recipe.optimizer.name == "AdamW" else None),
    )
    return chosen if examples is None else _with_length(chosen, len(examples), device)


def crop_side(examples: MaskExamples | None, most: int) -> int:
    """The side of a training crop: the largest image's shorter side, to a multiple of 32, at most ``most``.

    Example:
        >>> crop_side(None, 128)
        128
    """
    if examples is None or examples.stats is None:
        return most
    longest = int(examples.stats[:, 2:].min(axis=1).max())
    return min(most, max(_MULTIPLE, math.ceil(longest / _MULTIPLE) * _MULTIPLE))


def _with_length(recipe: Recipe, samples: int, device: torch.device) -> Recipe:
    place = "cpu" if device.type == "cpu" else "gpu"
    passes = _EPOCHS["gpu" if is_fast_bf16(recipe.precision, device) else place]
    per_epoch = max(1, samples // (int(recipe.batch_size or 1) * recipe.accumulate))
    updates = recipe.updates
    if updates is None:
        updates = recipe.epochs * per_epoch if recipe.epochs else max(passes * per_epoch, _UPDATES[place])
    every = max(per_epoch, math.ceil(updates / _EVALUATIONS[place]))
    return dataclasses.replace(recipe, updates=updates, epochs=None, eval_every=recipe.eval_every or every)
