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

from hone.data import EvalBatches, Examples, Preprocessing, Splits, TrainBatches, read_examples
from hone.precision import Precision, keep_fp32
from hone.recipe.choices import image_size, settle, warmup_updates
from hone.recipe.own import OwnData
from hone.recipe.resolve import resolve_loss, resolve_optimizer, resolve_schedule
from hone.recipe.schema import Recipe
from hone.recipe.source import Target, build_target
from hone.recipe.state import Extension
from hone.recipe.training_plan import parse_plan
from hone.recipe.units import StandardizedLoss, Units
from hone.schedules import bind_schedule, warmup
from hone.training import World
from hone.transfer import FreezePlan, apply_freeze, check_plan, find_head, parameter_groups


@dataclass
class Job:
    """A run that is ready to start.

    Attributes:
        recipe: with every choice made.
        criterion: the loss.
        schedule: bound to the run's length.
        extensions: how often, since it was planned, the run was given another end.
    """

    recipe: Recipe
    world: World
    splits: Splits
    target: Target
    preprocessing: Preprocessing
    criterion: Callable[..., Tensor]
    optimizer: Optimizer
    schedule: Any
    plan: FreezePlan
    precision: Precision
    train: TrainBatches
    units: Units | None = None
    own: OwnData | None = None
    extensions: tuple[Extension, ...] = ()

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.target.model

    @property
    def total_updates(self) -> int:
        """Where the run ends: as planned, or as it was extended last."""
        return self.extensions[-1].total_updates if self.extensions else int(self.recipe.updates or 0)

    def weights(self) -> dict[str, Tensor]:
        """The weights as they are saved: for regression, with an output layer that gives the target's own units."""
        state = self.model.state_dict()
        return state if self.units is None else self.units.fold(state, find_head(self.model)[0].name)

    @functools.cached_property
    def validation(self) -> Any:
        """Batches that see each validation example once over all processes."""
        return self.evaluation(self.splits.val)

    def evaluation(self, examples: Examples, *, whole: bool = False) -> Any:
        """Batches that see each of the examples once over all processes, or on each process (``whole``)."""
        world = World(device=self.world.device) if whole else self.world
        if self.own is not None:
            data = self.own.train if examples is self.splits.train else self.own.val
            return self.own.evaluation_batches(data, self.recipe, world)
        return evaluation_batches(self.recipe, examples, self.preprocessing, world)


def build_job(recipe: Recipe, world: World, *, own: OwnData | None = None, with_weights: bool = True) -> Job:
    """Read the data, build the model, and make every choice that the recipe leaves open.

    Args:
        recipe: what the user stated.
        world: the processes that train together.
        own: the user's own data instead of what ``recipe.data`` names.
        with_weights: False for what depends on the model's shape alone, as rates do: nothing is downloaded.

    Raises:
        ValueError: anything that the user can get wrong, in one line; nothing has been written.
    """
    resolve_optimizer(recipe.optimizer)
    resolve_schedule(recipe.schedule)
    precision = Precision(recipe.precision, device=world.device)
    splits = own.splits() if own is not None else _read(recipe)
    weight = class_weights(splits.train) if recipe.class_weights == "auto" else None
    criterion = resolve_loss(recipe.loss, splits.task, weight)
    units = Units.of(splits.train.targets) if splits.task == "regress" else None
    if units is not None:
        criterion = StandardizedLoss(criterion, units)
    target = build_target(recipe, outputs_of(splits.train), with_weights=with_weights)
    size = image_size(recipe.image_size, target.preprocessing.image_size, target.one_size, world.device)
    preprocessing = target.preprocessing.with_size(size)
    train = (
        own.training_batches(recipe, world)
        if own is not None
        else training_batches(recipe, splits.train, preprocessing, world)
    )
    recipe = settle(recipe, target, splits.task, world.device, train.updates_per_epoch)
    recipe = dataclasses.replace(recipe, image_size=size)
    _place(target.model, recipe, world)
    plan = parse_plan(recipe.train, recipe.norm)
    check_plan(target.model, plan)
    apply_freeze(target.model, plan)
    schedule = build_schedule(recipe, train.updates_per_epoch)
    if hasattr(schedule, "read") and not len(splits.val):
        raise ValueError(f"schedule {recipe.schedule.name} follows the validation data, and there is none")
    return Job(
        recipe,
        world,
        splits,
        target,
        preprocessing,
        _moved(criterion, world.device),
        build_optimizer(recipe, target.model),
        schedule,
        plan,
        precision,
        train,
        units,
        own,
    )


def _read(recipe: Recipe) -> Splits:
    return read_examples(
        recipe.data,
        task=recipe.task,
        val_fraction=recipe.val_fraction,
        seed=recipe.seed,
        skip_unreadable=recipe.skip_unreadable,
    )


def build_optimizer(recipe: Recipe, model: nn.Module) -> Optimizer:
    """The recipe's optimizer over all parameters of the model, those frozen now included."""
    kind, options = resolve_optimizer(recipe.optimizer)
    lr = float(recipe.lr or 0.0)
    groups = parameter_groups(
        model,
        lr=lr,
        weight_decay=float(recipe.weight_decay or 0.0),
        layer_decay=recipe.layer_decay,
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


def training_batches(recipe: Recipe, examples: Examples, preprocessing: Preprocessing, world: World) -> TrainBatches:
    """Micro-batches as the recipe draws and augments them."""
    return TrainBatches(
        examples,
        preprocessing,
        batch_size=recipe.batch_size,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        augment=recipe.augment,
        sampler=recipe.sampler,
        workers=recipe.workers or 0,
        rank=world.rank,
        world_size=world.size,
        cache=recipe.cache,
        device=world.device,
        channels_last=recipe.layout != "contiguous",
    )


def evaluation_batches(recipe: Recipe, examples: Examples, preprocessing: Preprocessing, world: World) -> EvalBatches:
    """Batches of a whole data set, once over all processes."""
    return EvalBatches(
        examples,
        preprocessing,
        batch_size=recipe.batch_size,
        workers=recipe.workers or 0,
        rank=world.rank,
        world_size=world.size,
        cache=recipe.cache,
        device=world.device,
        channels_last=recipe.layout != "contiguous",
    )


def outputs_of(examples: Examples) -> int:
    """The size of the output layer: classes, labels, or numbers to predict."""
    if examples.classes:
        return len(examples.classes)
    return 1 if examples.targets.ndim == 1 else int(examples.targets.shape[1])


def class_weights(examples: Examples) -> Tensor:
    """Weights that make every class count alike: ``w_c = n / (C n_c)``.

    Raises:
        ValueError: the task does not give each sample one class.
    """
    if examples.task != "classify":
        raise ValueError(f"class_weights auto needs one class a sample, and this task is {examples.task}")
    counts = examples.counts().float()
    return counts.sum() / (len(counts) * counts.clamp(min=1))


def _place(model: nn.Module, recipe: Recipe, world: World) -> None:
    model.to(world.device)
    if recipe.layout == "channels_last":
        model.to(memory_format=torch.channels_last)
    keep_fp32(model, *recipe.keep_fp32)


def _moved(criterion: Callable[..., Tensor], device: torch.device) -> Callable[..., Tensor]:
    return criterion.to(device) if isinstance(criterion, nn.Module) else criterion
