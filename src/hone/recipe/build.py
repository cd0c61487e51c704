"""From a recipe to the objects of a run."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hone.data import Splits
from hone.precision import Precision
from hone.recipe.budget import measure_pace, within_budget
from hone.recipe.choices import settle, warmup_updates
from hone.recipe.folds import whole
from hone.recipe.fused_head import MANY_CLASSES, fuse_head
from hone.recipe.job import Job
from hone.recipe.kinds import kind_of
from hone.recipe.kinds.kind import Kind
from hone.recipe.length import lengthen
from hone.recipe.measured import arrange, as_planned, fitting
from hone.recipe.mirroring import settle_mirroring
from hone.recipe.placing import place
from hone.recipe.resolve import resolve_optimizer, resolve_schedule
from hone.recipe.schema import Recipe, read_averages
from hone.recipe.source import Target
from hone.recipe.strategy import choose
from hone.recipe.training_plan import parse_plan
from hone.recipe.units import StandardizedLoss, Units
from hone.schedules import bind_schedule, warmup
from hone.training import World
from hone.transfer import add_lora, apply_freeze, check_plan, parameter_groups


def build_job(
    recipe: Recipe, world: World, *, own: Kind | None = None, with_weights: bool = True, trains: bool = True
) -> Job:
    """Read the data, build the model, and make every choice that the recipe leaves open.

    Args:
        recipe: what the user stated.
        world: the processes that train together.
        own: data handed over in Python instead of what ``recipe.data`` names.
        with_weights: False for what depends on the model's shape alone, as rates do: nothing is downloaded.
        trains: True for what is about training, where a probe that makes no updates is chosen only if it is stated, and
            the length is not asked of the features.

    Raises:
        ValueError: anything that the user can get wrong, in one line; nothing has been written.
    """
    resolve_optimizer(recipe.optimizer)
    resolve_schedule(recipe.schedule)
    Precision(recipe.precision, device=world.device)  # refuses what the device lacks before anything is read
    is_open = not recipe.states_length
    kind = own if own is not None else kind_of(recipe.task, recipe.data)
    splits = kind.read(recipe) if recipe.folds is None else whole(kind.read(recipe))
    preferred = kind.prefer(recipe, splits, world.device)
    criterion, units = _criterion(kind, preferred, splits, world)
    target = kind.target(preferred, splits.train, with_weights=with_weights)
    recipe, why = choose(recipe, preferred, target, splits, world, trains=trains)
    _adapt(target, recipe)
    preprocessing = kind.preprocessing(recipe, splits.train, target, world.device)
    recipe = dataclasses.replace(recipe, **kind.settled(preprocessing))
    recipe = as_planned(recipe, target.model, preprocessing, world.device)
    train = kind.training_batches(recipe, splits.train, preprocessing, world)
    recipe = settle(recipe, target, splits.task, world.device, train.updates_per_epoch)
    job = Job(
        recipe=recipe,
        world=world,
        splits=splits,
        target=target,
        preprocessing=preprocessing,
        criterion=criterion,
        plan=parse_plan(str(recipe.train), recipe.norm),
        precision=Precision(recipe.precision, device=world.device),
        train=train,
        kind=kind,
        units=units,
        remarks=[("strategy", f"{why}  (--strategy none to decide yourself)")] if why else [],
    )
    _arrange(job)
    _size(job, with_weights)
    if with_weights and not trains:
        settle_mirroring(job)
    if is_open and not trains:
        lengthen(job)
    job.optimizer = build_optimizer(job.recipe, job.model)
    job.schedule = build_schedule(job.recipe, job.train.updates_per_epoch)
    if hasattr(job.schedule, "read") and not len(splits.val):
        raise ValueError(f"schedule {recipe.schedule.name} follows the validation data, and there is none")
    _check_averages(job.recipe, splits)
    return job


def _check_averages(recipe: Recipe, splits: Splits) -> None:
    """Averages need something to judge them by, and a line two ends."""
    kinds = read_averages(str(recipe.averages))
    if kinds and not len(splits.val):
        raise ValueError(f"averages are kept where validation says so, got {recipe.averages} without validation data")
    if "line" in kinds and recipe.head != "probe":
        raise ValueError(f"averages line begins at a probe, got {recipe.averages} with head {recipe.head}")


def _criterion(kind: Kind, recipe: Recipe, splits: Splits, world: World) -> tuple[Callable[..., Tensor], Units | None]:
    """The loss on its device, and for a regression the scale of its targets."""
    criterion = kind.criterion(recipe, splits.train)
    units = Units.of(splits.train.targets) if splits.task == "regress" else None
    if units is not None:
        criterion = StandardizedLoss(criterion, units)
    return (criterion.to(world.device) if isinstance(criterion, nn.Module) else criterion), units


def _adapt(target: Target, recipe: Recipe) -> None:
    """Put adapters beside the layers, where the recipe says so."""
    if recipe.lora is not None:
        torch.manual_seed(recipe.seed)
        add_lora(target.model, recipe.lora, layers=recipe.lora_layers or ("*",))


def _arrange(job: Job) -> None:
    """Place the model, join its last layer with the loss where that pays, and freeze what is frozen at the start."""
    recipe, world = job.recipe, job.world
    place(job.model, world.device, recipe.layout, recipe.keep_fp32)
    if world.size == 1 and job.splits.task.startswith("segment") and len(job.splits.classes) >= MANY_CLASSES:
        blank, *_ = job.kind.trial_batch(recipe, job.splits.train, job.preprocessing, job.train, world.device)
        job.criterion = fuse_head(job.model, job.criterion, blank)
    arrange(job.model, recipe)
    check_plan(job.model, job.plan)
    apply_freeze(job.model, job.plan)


def _size(job: Job, with_weights: bool) -> None:
    """Measure what the recipe wants measured: the batch that fits, and the length that a budget allows."""
    world, splits = job.world, job.splits
    if job.recipe.fit_batch:
        batch = next(job.train.batches(0))
        job.recipe = fitting(job.recipe, job.model, batch, job.criterion, job.precision.kind, world)
        job.train = job.kind.training_batches(job.recipe, splits.train, job.preprocessing, world)
    if job.recipe.budget is not None and job.recipe.strategy != "probe" and with_weights:
        pace = measure_pace(job.model, job.criterion, job.precision, job.train, splits, job.recipe)
        per_epoch = job.train.updates_per_epoch
        job.recipe, why = within_budget(job.recipe, pace, per_epoch, can_probe=job.recipe.head == "probe")
        job.remarks.append(("budget", why))


def build_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The recipe's optimizer over all parameters of the model, those frozen now included."""
    kind, options = resolve_optimizer(recipe.optimizer)
    lr = float(recipe.lr or 0.0)
    groups = parameter_groups(
        model,
        lr=lr,
        weight_decay=float(recipe.weight_decay or 0.0),
        layer_decay=float(recipe.layer_decay or 1.0),
        head_multiplier=float(recipe.head_multiplier or 1.0),
    )
    make: Callable[..., Optimizer] = kind
    return make(groups, lr=lr, **options)


def build_schedule(recipe: Recipe, updates_per_epoch: int) -> Any:
    """The recipe's schedule, warm-up included, bound to the run's length."""
    total = int(recipe.updates or 0)
    schedule = resolve_schedule(recipe.schedule)
    if steps := warmup_updates(float(recipe.warmup or 0.0), total):
        schedule = warmup(steps) >> schedule
    return bind_schedule(
        schedule, total_updates=total, updates_per_epoch=updates_per_epoch, base_lr=float(recipe.lr or 0.0)
    )
