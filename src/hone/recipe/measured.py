"""What was measured for the same network, input and machine, taken where the recipe leaves the choice to hone."""

from __future__ import annotations

import dataclasses
from typing import Any

import torch
from torch import nn

from hone.precision import Plan, accumulation, checkpoint_blocks, find_batch_size, recall_choice, setup_key
from hone.recipe.resolve import resolve_optimizer
from hone.recipe.schema import Recipe
from hone.training import World


def setup_of(recipe: Recipe, model: nn.Module, preprocessing: Any, device: torch.device) -> str:
    """What a plan's answer depends on, known before the first batch."""
    told = (preprocessing.to_json(), recipe.batch_size, recipe.train or "all", recipe.optimizer.name, recipe.loss.name)
    return setup_key(model, device, repr(told))


def as_planned(recipe: Recipe, model: nn.Module, preprocessing: Any, device: torch.device) -> Recipe:
    """The recipe with the format, the layout and the rest that ``hone plan`` took; what the user stated stays.

    Args:
        recipe: with its batch size.
        model: as built for it.
        preprocessing: of its input.
        device: where it trains.
    """
    plan = recall_choice(setup_of(recipe, model, preprocessing, device))
    if plan is None:
        return recipe
    taken = {
        "precision": plan.kind,
        "layout": "channels_last" if plan.channels_last else "contiguous",
        "compile": plan.compile,
        "checkpointing": plan.checkpointing,
    }
    left = {name: value for name, value in taken.items() if getattr(recipe, name) in (None, "auto")}
    return dataclasses.replace(recipe, **left)  # type: ignore[arg-type]


def arrange(model: nn.Module, recipe: Recipe) -> None:
    """Recompute activations and compile, where the recipe says so; the state dict's keys stay as they are."""
    if recipe.checkpointing:
        checkpoint_blocks(model)
    if recipe.compile:
        model.compile()


def fitting(recipe: Recipe, model: nn.Module, batch: Any, criterion: Any, numbers: str, world: World) -> Recipe:
    """The recipe with the largest micro-batch that fits the device, and as many of them as keep the update's samples.

    Args:
        recipe: settled, with the batch that an update should hold.
        model: on its device, as it will train.
        batch: ``(inputs, target)`` of at least one sample.
        criterion: the loss.
        numbers: the precision it trains in.
        world: the processes that share a micro-batch; the one with the least memory decides.
    """
    kind, options = resolve_optimizer(recipe.optimizer)
    make: Any = kind

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        built: torch.optim.Optimizer = make(parameters, lr=recipe.lr, **options)
        return built

    wanted = int(recipe.batch_size or 1) * recipe.accumulate // world.size
    plan = Plan(
        checkpointing=bool(recipe.checkpointing),
        kind=numbers,
        channels_last=recipe.layout == "channels_last",
        batch_size=wanted,
    )
    most = find_batch_size(model, batch, criterion, plan, optimizer=optimizer, at_most=wanted)
    size, times = accumulation(wanted, min(world.gather(most)))
    return dataclasses.replace(recipe, batch_size=size * world.size, accumulate=times, fit_batch=False)
