"""From a recipe to the objects of a run."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hone.data import Examples, Splits
from hone.precision import Precision
from hone.recipe.budget import measure_pace, within_budget
from hone.recipe.choices import settle, warmup_updates
from hone.recipe.folds import whole
from hone.recipe.fused_head import MANY_CLASSES, fuse_head
from hone.recipe.kinds import kind_of
from hone.recipe.kinds.kind import Kind, TrainingBatches
from hone.recipe.measured import arrange, as_planned, fitting
from hone.recipe.placing import place
from hone.recipe.resolve import resolve_optimizer, resolve_schedule
from hone.recipe.schema import Recipe
from hone.recipe.source import Target
from hone.recipe.state import Extension
from hone.recipe.strategy import choose
from hone.recipe.training_plan import parse_plan
from hone.recipe.units import StandardizedLoss, Units
from hone.schedules import bind_schedule, warmup
from hone.training import Inference, World
from hone.transfer import (
    FreezePlan,
    add_lora,
    apply_freeze,
    check_plan,
    find_head,
    merge_adapters,
    merged_state_dict,
    parameter_groups,
)


@dataclass
class Job:
    """A run that is ready to start.

    Attributes:
        recipe: with every choice made.
        criterion: the loss.
        schedule: bound to the run's length.
        kind: of data.
        extensions: how often, since it was planned, the run was given another end.
        remarks: (subject, text) about what was decided and done for it.
    """

    recipe: Recipe
    world: World
    splits: Splits
    target: Target
    preprocessing: Any
    criterion: Callable[..., Tensor]
    optimizer: Optimizer
    schedule: Any
    plan: FreezePlan
    precision: Precision
    train: TrainingBatches
    kind: Kind
    units: Units | None = None
    extensions: tuple[Extension, ...] = ()
    remarks: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.target.model

    @property
    def total_updates(self) -> int:
        """Where the run ends: as planned, or as it was extended last; a probe makes no updates."""
        if self.recipe.strategy == "probe":
            return 0
        return self.extensions[-1].total_updates if self.extensions else int(self.recipe.updates or 0)

    @property
    def samples_an_update(self) -> int:
        """Of all processes."""
        return int(self.recipe.batch_size or 1) * self.recipe.accumulate

    def weights(self) -> dict[str, Tensor]:
        """The weights as they are saved: adapters merged, and for regression in the target's own units."""
        state = merged_state_dict(self.model)
        return state if self.units is None else self.units.fold(state, find_head(self.model)[0].name)

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Put saved weights into the model, which from then on has no adapters and is trained no more."""
        merge_adapters(self.model).load_state_dict(weights)

    @functools.cached_property
    def validation(self) -> Any:
        """Batches that see each validation example once over all processes."""
        return self.evaluation(self.splits.val)

    def evaluation(self, examples: Examples, *, whole: bool = False) -> Any:
        """Batches that see each of the examples once over all processes, or on each process (``whole``)."""
        world = World(device=self.world.device) if whole else self.world
        return self.kind.evaluation_batches(self.recipe, examples, self.preprocessing, world)

    @functools.cached_property
    def inference(self) -> Inference:
        """How outputs come about in an evaluation."""
        return self.kind.inference(self.recipe, self.preprocessing, self.splits.classes)


def build_job(recipe: Recipe, world: World, *, own: Kind | None = None, with_weights: bool = True) -> Job:
    """Read the data, build the model, and make every choice that the recipe leaves open.

    Args:
        recipe: what the user stated.
        world: the processes that train together.
        own: data handed over in Python instead of what ``recipe.data`` names.
        with_weights: False for what depends on the model's shape alone, as rates do: nothing is downloaded.

    Raises:
        ValueError: anything that the user can get wrong, in one line; nothing has been written.
    """
    resolve_optimizer(recipe.optimizer)
    resolve_schedule(recipe.schedule)
    Precision(recipe.precision, device=world.device)  # refuses what the device lacks before anything is read
    kind = own if own is not None else kind_of(recipe.task, recipe.data)
    splits = kind.read(recipe) if recipe.folds is None else whole(kind.read(recipe))
    stated, recipe = recipe, kind.prefer(recipe, splits, world.device)
    criterion = kind.criterion(recipe, splits.train)
    units = Units.of(splits.train.targets) if splits.task == "regress" else None
    if units is not None:
        criterion = StandardizedLoss(criterion, units)
    target = kind.target(recipe, splits.train, with_weights=with_weights)
    recipe, why = choose(stated, recipe, target, splits, world.device)
    remarks = [("strategy", f"{why}  (--strategy none to decide yourself)")] if why else []
    if recipe.lora is not None:
        torch.manual_seed(recipe.seed)
        add_lora(target.model, recipe.lora, layers=recipe.lora_layers or ("*",))
    preprocessing = kind.preprocessing(recipe, splits.train, target, world.device)
    recipe = dataclasses.replace(recipe, **kind.settled(preprocessing))
    recipe = as_planned(recipe, target.model, preprocessing, world.device)
    train = kind.training_batches(recipe, splits.train, preprocessing, world)
    recipe = settle(recipe, target, splits.task, world.device, train.updates_per_epoch)
    precision = Precision(recipe.precision, device=world.device)
    place(target.model, world.device, recipe.layout, recipe.keep_fp32)
    criterion = _moved(criterion, world.device)
    if world.size == 1 and splits.task.startswith("segment") and len(splits.classes) >= MANY_CLASSES:
        blank, *_ = kind.trial_batch(recipe, splits.train, preprocessing, train, world.device)
        criterion = fuse_head(target.model, criterion, blank)
    arrange(target.model, recipe)
    plan = parse_plan(str(recipe.train), recipe.norm)
    check_plan(target.model, plan)
    apply_freeze(target.model, plan)
    if recipe.fit_batch:
        recipe = fitting(recipe, target.model, next(train.batches(0)), criterion, precision.kind, world)
        train = kind.training_batches(recipe, splits.train, preprocessing, world)
    if recipe.budget is not None and recipe.strategy != "probe" and with_weights:
        pace = measure_pace(target.model, criterion, precision, train, splits, recipe)
        per_epoch = train.updates_per_epoch
        recipe, why = within_budget(recipe, pace, per_epoch, can_probe=recipe.head == "probe")
        remarks.append(("budget", why))
    schedule = build_schedule(recipe, train.updates_per_epoch)
    if hasattr(schedule, "read") and not len(splits.val):
        raise ValueError(f"schedule {recipe.schedule.name} follows the validation data, and there is none")
    return Job(
        recipe,
        world,
        splits,
        target,
        preprocessing,
        criterion,
        build_optimizer(recipe, target.model),
        schedule,
        plan,
        precision,
        train,
        kind,
        units,
        remarks=remarks,
    )


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


def _moved(criterion: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    return criterion.to(device) if isinstance(criterion, nn.Module) else criterion
