"""The choices that a recipe leaves open, each a small function of what is known once data, model and device are."""

from __future__ import annotations

import dataclasses
import inspect
import math
import os
from pathlib import Path
from typing import Literal

import torch

from hone.data.examples import Task
from hone.recipe.component import Component
from hone.recipe.resolve import resolve_optimizer
from hone.recipe.schema import Recipe
from hone.recipe.source import Target
from hone.training import check_metric, is_better
from hone.transfer.probe import can_probe

#: Optimizer -> base rate and weight decay for fine-tuning; other optimizers take their class's own rate.
_RATES = {"AdamW": (1e-4, 0.01), "Adam": (1e-4, 0.0), "NAdam": (1e-4, 0.0), "RAdam": (1e-4, 0.0), "SGD": (1e-3, 1e-4)}
#: Random weights have further to go than a source's: what is not copied learns this many times faster.
_RANDOM_FACTOR = 10.0
#: Below this many updates a small data set is not yet learned where time is no concern (BiT-HyperRule's shortest run).
_ENOUGH_UPDATES = 500
_CPU_EPOCHS = 3
_MAX_NORM = 1.0


def settle(recipe: Recipe, target: Target, task: Task, device: torch.device, updates_per_epoch: int) -> Recipe:
    """The recipe with every choice made; what the user stated is never changed.

    Args:
        recipe: as the user stated it.
        target: the model.
        task: as seen in the data.
        device: where it trains.
        updates_per_epoch: of the training data.

    Returns:
        A recipe without None, but for ``patience``, the sources, and options of other kinds of data.
    """
    updates = recipe.updates or (recipe.epochs or epochs(device, updates_per_epoch)) * updates_per_epoch
    has_source = bool(target.origin)
    # Adapters are new, as random weights are, and beside layers that stay.
    lr, decay = rates(recipe.optimizer, has_source and recipe.lora is None)
    metric = check_metric(task, recipe.metric)
    head = recipe.head if recipe.head != "auto" else head_start(target, task)
    multiplier = _RANDOM_FACTOR if has_source and head == "random" else 1.0
    return dataclasses.replace(
        recipe,
        task=task,
        model=target.component,
        train=recipe.train or ("all" if recipe.lora is None else "head, *.lora_*"),
        layer_decay=recipe.layer_decay or 1.0,
        schedule=following(recipe.schedule, metric),
        head=head,
        norm=recipe.norm if recipe.norm != "auto" else "frozen" if has_source else "follow",
        warmup=recipe.warmup if recipe.warmup is not None else 0.0 if recipe.schedule.name else 0.1,
        lr=recipe.lr if recipe.lr is not None else lr,
        weight_decay=recipe.weight_decay if recipe.weight_decay is not None else decay,
        head_multiplier=recipe.head_multiplier if recipe.head_multiplier is not None else multiplier,
        updates=updates,
        epochs=None,
        eval_every=recipe.eval_every or min(updates_per_epoch, updates),
        max_norm=recipe.max_norm if recipe.max_norm is not None else _MAX_NORM,
        averages=recipe.averages or "none",
        metric=metric,
        workers=recipe.workers if recipe.workers is not None else workers(device),
        layout="channels_last" if recipe.layout == "auto" else recipe.layout,
        out=recipe.out or f"runs/{Path(recipe.data).resolve().stem}",
    )


def head_start(target: Target, task: Task) -> Literal["probe", "random"]:
    """How a new output layer starts: from a probe of the source's features, where there are both."""
    return "probe" if target.origin and can_probe(target.model, task) else "random"


def rates(optimizer: Component, has_source: bool) -> tuple[float, float]:
    """The base rate and the weight decay for an optimizer.

    Example:
        >>> rates(Component("AdamW"), has_source=True), rates(Component("AdamW"), has_source=False)
        ((0.0001, 0.01), (0.001, 0.01))
    """
    kind, _ = resolve_optimizer(optimizer)
    own = inspect.signature(kind).parameters.get("lr")
    lr = own.default if own is not None and isinstance(own.default, float) else 1e-3
    if kind.__name__ not in _RATES:
        return lr, 0.0
    lr, decay = _RATES[kind.__name__]
    return lr * (1.0 if has_source else _RANDOM_FACTOR), decay


def following(schedule: Component, metric: str) -> Component:
    """A schedule that follows the run's metric is told which way is up, unless the user said so.

    Example:
        >>> following(Component("ReduceLROnPlateau"), "accuracy").options
        {'mode': 'max'}
    """
    if schedule.name != "ReduceLROnPlateau" or "mode" in schedule.options:
        return schedule
    mode = "max" if is_better(metric, 1.0, 0.0) else "min"
    return dataclasses.replace(schedule, options={**schedule.options, "mode": mode})


def image_size(stated: int | None, own: int, takes_one_size: bool, device: torch.device) -> int:
    """The input size: the model's own, or on a CPU 5/7 of it (half the work), to a multiple of 32.

    Example:
        >>> image_size(None, 224, False, torch.device("cpu"))
        160
    """
    if stated is not None:
        return stated
    if takes_one_size or device.type != "cpu":
        return own
    return max(32, round(own * 5 / 7 / 32) * 32)


def crop_size(image_size: int) -> int:
    """The side of training's random crops, about 0.8 of the input's, to a multiple of 32.

    A random crop enlarges what it shows, so that smaller ones show things about as large as evaluation does.

    Example:
        >>> crop_size(160), crop_size(224), crop_size(28)
        (128, 192, 28)

    Reference:
        Touvron et al., "Fixing the train-test resolution discrepancy", NeurIPS 2019, section 3.
    """
    return min(image_size, max(32, round(image_size * 0.8 / 32) * 32))


def passes(seen: int, samples: int, least: int, most: int) -> int:
    """How often a run passes over its data that is to see about so many samples.

    Example:
        >>> passes(400, 48, 3, 12), passes(400, 100, 3, 12), passes(400, 5_000, 3, 12)
        (8, 4, 3)
    """
    return min(max(round(seen / samples), least), most)


def epochs(device: torch.device, updates_per_epoch: int) -> int:
    """The length of a run: 3 passes on a CPU; elsewhere at least 10 passes and 500 updates.

    Example:
        >>> epochs(torch.device("cuda"), updates_per_epoch=12)
        42
    """
    if device.type == "cpu":
        return _CPU_EPOCHS
    return max(10, math.ceil(_ENOUGH_UPDATES / updates_per_epoch))


def warmup_updates(warmup: float, total_updates: int) -> int:
    """Warm-up in updates: a share of the run below 1, else the number itself.

    Example:
        >>> warmup_updates(0.1, 120), warmup_updates(50, 120)
        (12, 50)
    """
    return round(warmup * total_updates) if warmup < 1 else int(warmup)


def workers(device: torch.device) -> int:
    """Processes that prepare batches: none where the model itself needs the processor, else up to 8."""
    return 0 if device.type == "cpu" else min(8, os.cpu_count() or 1)
