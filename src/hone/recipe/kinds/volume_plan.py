"""What a recipe for volumes leaves open: network, patch, spacing, batch, and how long to train."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import torch

from hone import checks
from hone.data.volumes import VolumeExamples
from hone.data.volumes.preprocessing import plan_patches, plan_whole
from hone.models import find_model
from hone.models.monai_networks import monai_options, side_multiples
from hone.recipe.component import Component
from hone.recipe.folder import open_run
from hone.recipe.schema import Recipe

_MODELS = {"segment-volume": "monai:UNet", "classify-volume": "monai:resnet18"}
#: Voxels of a patch: on a CPU an update takes a fraction of a second, on a GPU 128^3 fit.
_VOXELS = {"cpu": 48**3, "gpu": 128**3}
#: Two patches say enough of the voxels in them; of whole volumes, each with one class, it takes more.
_BATCH_SIZE = {"segment-volume": 2, "classify-volume": 8}
#: Updates of a run that states no length, from random weights. Measured on the CPU: docs/benchmarks/volumes.md.
_UPDATES = {"cpu": 1000, "gpu": 5000}
#: Evaluations a run: each reads every validation volume whole.
_EVALUATIONS = 12


def plan(recipe: Recipe, examples: VolumeExamples, device: torch.device) -> Recipe:
    """The recipe with everything chosen that depends on the data's size and spacing.

    Args:
        recipe: as the user stated it.
        examples: the training data.
        device: where it trains.
    """
    place = "cpu" if device.type == "cpu" else "gpu"
    recipe = _with_source(recipe) if recipe.source is not None else recipe
    component = recipe.model if recipe.model.name else Component(_MODELS[examples.task], recipe.model.options)
    spacing = read_numbers("spacing", recipe.spacing) if recipe.spacing not in (None, "own") else None
    patch, chosen, component = _fitted(recipe, component, examples, spacing, _VOXELS[place])
    batch_size = recipe.batch_size or min(_BATCH_SIZE[examples.task], len(examples))
    updates = recipe.updates
    per_epoch = max(1, len(examples) // (batch_size * recipe.accumulate))
    if updates is None:
        updates = recipe.epochs * per_epoch if recipe.epochs else _UPDATES[place]
    return dataclasses.replace(
        recipe,
        model=component,
        patch_size=as_text(patch),
        spacing=recipe.spacing if recipe.spacing == "own" else as_text(chosen),
        batch_size=batch_size,
        augment=recipe.augment or "light",
        ignore_index=recipe.ignore_index if recipe.ignore_index is not None else examples.ignore,
        updates=updates,
        epochs=None,
        eval_every=recipe.eval_every or max(per_epoch, math.ceil(updates / _EVALUATIONS)),
    )


def read_numbers(name: str, text: object) -> tuple[float, float, float]:
    """Three numbers from "96x96x64", "96, 96, 64", a list, or one number for all three.

    Raises:
        ValueError: it is none of these.

    Example:
        >>> read_numbers("patch_size", "96x96x64"), read_numbers("spacing", "1.5")
        ((96.0, 96.0, 64.0), (1.5, 1.5, 1.5))
    """
    parts = str(text).strip("[]() ").replace("x", ",").split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        numbers = []
    if len(numbers) not in (1, 3) or min(numbers) <= 0:
        raise checks.invalid(name, "be three numbers above 0, such as 1x1x2.5, or one", text)
    x, y, z = numbers * (3 // len(numbers))
    return x, y, z


def as_text(numbers: Sequence[float]) -> str:
    """Three numbers as :func:`read_numbers` reads them.

    Example:
        >>> as_text((1.0, 0.7, 2.5))
        '1x0.7x2.5'
    """
    return "x".join(f"{number:.6g}" for number in numbers)


def read_sides(text: object) -> tuple[int, int, int]:
    """A patch size of whole numbers.

    Raises:
        ValueError: it is none.
    """
    numbers = read_numbers("patch_size", text)
    if any(number != round(number) for number in numbers):
        raise checks.invalid("patch_size", "be whole numbers of voxels", text)
    x, y, z = (round(number) for number in numbers)
    return x, y, z


def multiples_of(component: Component) -> tuple[int, int, int]:
    """What the sides of the network's input must be multiples of; 1 where nothing is known of it."""
    library, _, name = str(component.name).partition(":")
    return side_multiples(name, component.options) if library == "monai" else (1, 1, 1)


def _fitted(
    recipe: Recipe,
    component: Component,
    examples: VolumeExamples,
    spacing: Sequence[float] | None,
    voxels: int,
) -> tuple[tuple[int, int, int], tuple[float, float, float], Component]:
    """Patch and spacing, and the network with arguments that fit both."""
    planned = plan_patches if examples.task == "segment-volume" else plan_whole
    rough, chosen = planned(examples, voxels=voxels, multiple=(1, 1, 1), spacing=spacing)
    stated = read_sides(recipe.patch_size) if recipe.patch_size is not None else None
    component = _with_options(component, examples, stated or rough, chosen)
    multiple = multiples_of(component)
    if stated is not None:
        if any(side % by for side, by in zip(stated, multiple, strict=True)):
            raise checks.invalid("patch_size", f"be multiples of {as_text(multiple)} for this network", as_text(stated))
        return stated, chosen, component
    if multiple == (1, 1, 1):
        multiple = (8, 8, 8)
    patch, _ = planned(examples, voxels=voxels, multiple=multiple, spacing=chosen)
    return patch, chosen, component


def _with_options(
    component: Component, examples: VolumeExamples, sides: Sequence[int], spacing: Sequence[float]
) -> Component:
    """A MONAI network with the arguments that its user left out."""
    if component.given is not None or not str(component.name).startswith("monai:"):
        return component
    options: dict[str, Any] = monai_options(
        find_model(str(component.name)).name,
        channels=examples.channels,
        classes=len(examples.classes),
        sides=sides,
        spacing=spacing,
        stated=component.options,
    )
    return Component(component.name, options)


def _with_source(recipe: Recipe) -> Recipe:
    """What the source run decided: its network sees best what it was trained to see."""
    source = open_run(str(recipe.source)).recipe
    return dataclasses.replace(
        recipe,
        model=recipe.model if recipe.model.name else source.model,
        patch_size=recipe.patch_size or source.patch_size,
        spacing=recipe.spacing or source.spacing,
    )
