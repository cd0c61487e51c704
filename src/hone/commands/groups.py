"""``hone groups MODEL``: the layers of a model, what trains, and the rate and weight decay of each."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from hone import checks
from hone.commands.arguments import values_from_arguments
from hone.commands.console import say
from hone.commands.tables import add_row, columns, show
from hone.recipe.build import build_optimizer
from hone.recipe.choices import settle
from hone.recipe.folder import as_json
from hone.recipe.schema import Recipe, recipe_from
from hone.recipe.source import build_target
from hone.recipe.training_plan import parse_plan
from hone.training import pick_device
from hone.transfer import GroupRow, apply_freeze, group_rows, layer_rows

_WHAT = "Show a model's layers, which of them train, and at which rates: no data is read, no weights are downloaded."
_EXTRA: list[tuple[str, dict[str, Any]]] = [
    ("--outputs", {"type": int, "metavar": "N", "help": "size of a new output layer (the model's own stays)"}),
    (
        "--at",
        {
            "type": int,
            "default": 0,
            "metavar": "N",
            "help": "what trains after N updates, where --train has stages (0)",
        },
    ),
    ("--json", {"metavar": "FILE", "help": "write the rows here as well"}),
]


def main(words: Sequence[str]) -> int:
    """Run ``hone groups WORDS``."""
    values, found = values_from_arguments(words, "groups", _WHAT, _EXTRA, word="model")
    if "model" not in values and "source" not in values:
        raise ValueError("MODEL must be given: a timm or torchvision classifier, or your_module:builder")
    recipe = recipe_from({**values, "data": ""})
    checks.integer("at", found.at, at_least=0)
    name, settled, rows, head = rows_of(recipe, found.outputs, found.at)
    trains, size = sum(row.trains for row in rows), sum(row.size for row in rows)
    say("model", f"{name}, {len(rows)} layers, {size:,} parameters")
    stage = f" at update {found.at:,}" if ";" in str(settled.train) else ""
    say("trains", f"{settled.train}{stage}: {trains:,} of {size:,} parameters")
    say("rates", _rates(settled))
    _show(rows, head)
    if found.json:
        Path(found.json).write_text(as_json([dataclasses.asdict(row) for row in rows]))
    return 0


def rows_of(recipe: Recipe, outputs: int | None = None, update: int = 0) -> tuple[str, Recipe, list[GroupRow], str]:
    """The model's layers with the rates that a run of this recipe gives them.

    Args:
        recipe: its data is not looked at.
        outputs: size of a new output layer; None keeps the model's own.
        update: updates completed, where what trains depends on it.

    Returns:
        The model's full name, the recipe with its rates chosen, a row a layer, and the name of the output layer
        (empty where there is none).

    Raises:
        ValueError: no such model, or a pattern of ``train`` that matches nothing.
    """
    target = build_target(recipe, outputs, with_weights=False)
    # One update an epoch stands for the unknown data: rates do not depend on the length of the run.
    task = "classify" if recipe.task == "auto" else recipe.task
    settled = settle(recipe, target, task, pick_device(recipe.device), updates_per_epoch=1)
    plan = parse_plan(str(settled.train), settled.norm)
    apply_freeze(target.model, plan, update)
    rows = group_rows(target.model, build_optimizer(settled, target.model).param_groups)
    head = next((row.name for row in layer_rows(target.model) if row.is_head), "")
    return str(target.name), settled, rows, head


def _rates(recipe: Recipe) -> str:
    parts = [f"{recipe.optimizer.name} lr {recipe.lr:g}", f"weight decay {recipe.weight_decay:g}"]
    parts += [f"layer decay {recipe.layer_decay:g}"] if recipe.layer_decay != 1.0 else []
    return ", ".join([*parts, f"output layer x {recipe.head_multiplier:g}"])


def _show(rows: Sequence[GroupRow], head: str) -> None:
    """A line a layer: its depth, the N with which ``last:N`` reaches it, and what it gets; frozen ones are dim."""
    table = columns(">depth", ">last", "layer", ">tensors", ">parameters", "trains", ">lr", ">weight decay")
    trunk = len(rows) - bool(head)
    for row in rows:
        place = "head" if row.name == head else f"last:{trunk - row.depth}"
        trains = "yes" if row.trains == row.size else f"{row.trains:,}" if row.trains else "no"
        numbers = (f"{row.tensors}", f"{row.size:,}", trains, f"{row.lr:.3g}", f"{row.weight_decay:g}")
        add_row(table, (row.depth, place, row.name, *numbers), style="" if row.trains else "dim")
    show(table)
