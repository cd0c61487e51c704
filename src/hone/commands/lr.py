"""``hone lr``: every group's rate over the run, before the run; with ``--find``, a test of which rates work."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape

from hone.commands.arguments import values_from_arguments
from hone.commands.console import say
from hone.commands.find_lr import find_lr
from hone.recipe.build import build_job, build_schedule
from hone.recipe.choices import settle
from hone.recipe.folder import as_json
from hone.recipe.job import Job
from hone.recipe.kinds import kind_of
from hone.recipe.notes import notes
from hone.recipe.schema import Recipe, recipe_from
from hone.recipe.source import build_target
from hone.report import draw_rates, terminal_rates
from hone.schedules import curves, driven, learns
from hone.training import World, pick_device
from hone.transfer import ever_trained

_WHAT = """\
Draw every group's learning rate over the run, exactly as hone fit with the same options will set it.

Without DATA, --updates says how long the run is, and one curve is drawn. With --find nothing is drawn from a schedule:
a copy of the model is trained for a few updates at rising rates, to see at which of them the loss falls."""
_EXTRA: list[tuple[str, dict[str, Any]]] = [
    ("--out", {"metavar": "FILE", "help": "draw into this file, too: .png, .svg, .pdf"}),
    ("--json", {"metavar": "FILE", "help": "write the numbers here"}),
    ("--updates-per-epoch", {"type": int, "metavar": "N", "help": "without DATA (default: the run is one epoch)"}),
    ("--find", {"action": "store_true", "help": "try rates out on DATA (learning-rate range test)"}),
    ("--lowest", {"type": float, "default": 1e-6, "metavar": "X", "help": "--find: first rate (1e-6)"}),
    ("--highest", {"type": float, "default": 10.0, "metavar": "X", "help": "--find: last rate (10)"}),
    ("--steps", {"type": int, "default": 100, "metavar": "N", "help": "--find: rates between them (100)"}),
]


def main(words: Sequence[str]) -> int:
    """Run ``hone lr WORDS``."""
    values, found = values_from_arguments(words, "lr", _WHAT, _EXTRA)
    recipe = recipe_from({"data": "", **values})
    if found.find:
        find_lr(recipe, found)
        return 0
    drawn, bound = of_data(recipe) if recipe.data else of_length(recipe, found.updates_per_epoch)
    console = Console()
    width = min(console.width, 100) if console.is_terminal else 72
    colour = console.is_terminal and not console.no_color
    print(terminal_rates(drawn, width, colour=colour))
    _say_more(bound, len(next(iter(drawn.values()))))
    if found.json:
        Path(found.json).write_text(as_json(drawn))
    if found.out:
        say("picture", escape(str(draw_rates(drawn, found.out))))
    return 0


def of_data(recipe: Recipe) -> tuple[dict[str, list[float]], Any]:
    """Every group's curve for a run on the recipe's data, and the bound schedule; no weights are loaded."""
    job = build_job(recipe, World(device=pick_device(recipe.device)), with_weights=False)
    if not job.total_updates:
        raise ValueError("strategy probe makes no updates: there are no rates to draw; leave it out")
    told = dict(notes(job))
    for subject in ("data", "trains", "schedule"):
        say(subject, escape(told[subject]))
    say("length", f"{job.total_updates} updates, {job.train.updates_per_epoch} an epoch")
    groups = job.optimizer.param_groups
    rates = {str(group["name"]): float(group["lr"]) for group in groups}
    frozen = never_trained(job)
    if frozen:
        say("frozen", f"{len(frozen)} of {len(groups)} groups of parameters, in the whole run: not drawn")
    drawn = curves(job.schedule, rates, total_updates=job.total_updates)
    return merged({name: values for name, values in drawn.items() if name not in frozen}), job.schedule


def never_trained(job: Job) -> set[str]:
    """The names of the groups of which nothing trains in any stage of the run."""
    trained = ever_trained(job.model, job.plan)
    held = {id(parameter) for name, parameter in job.model.named_parameters() if name in trained}
    groups = job.optimizer.param_groups
    return {str(group["name"]) for group in groups if not any(id(p) in held for p in group["params"])}


def of_length(recipe: Recipe, updates_per_epoch: int | None) -> tuple[dict[str, list[float]], Any]:
    """The curve of the base rate for a run of a known length, and the bound schedule.

    Raises:
        ValueError: the length is not stated.
    """
    if recipe.updates is None:
        raise ValueError("DATA or --updates must be given: without data nothing says how long the run is")
    per_epoch = updates_per_epoch or recipe.updates
    task = "classify" if recipe.task == "auto" else recipe.task
    device = pick_device(recipe.device)
    preferred = kind_of(task).prefer(recipe, None, device)
    target = build_target(preferred, None, with_weights=False)
    settled = settle(preferred, target, task, device, per_epoch)
    bound = build_schedule(settled, per_epoch)
    say("schedule", f"{recipe.schedule.name or 'cosine to 0'} over {recipe.updates} updates, lr {settled.lr:g}")
    return curves(bound, {"lr": float(settled.lr or 0.0)}, total_updates=recipe.updates), bound


def merged(drawn: dict[str, list[float]]) -> dict[str, list[float]]:
    """Curves by group, less those of groups without weight decay whose sibling has the same.

    Example:
        >>> merged({"trunk": [0.1], "trunk no decay": [0.1], "head": [1.0]})
        {'trunk': [0.1], 'head': [1.0]}
    """
    return {
        name: rates
        for name, rates in drawn.items()
        if not name.endswith(" no decay") or drawn.get(name.removesuffix(" no decay")) != rates
    }


def _say_more(bound: Any, total_updates: int) -> None:
    """What else the schedule drives, and what the curve can't show."""
    values = [bound(update) for update in range(total_updates)]
    for key in dict.fromkeys(key for value in values for key in value):
        if key.rpartition("/")[2] != "lr":
            run = [value[key] for value in values]
            say(escape(key), f"{run[0]:g} at the start, {min(run):g} to {max(run):g}, {run[-1]:g} at the end")
    if learns(bound):
        say("readings", f"{', '.join(driven(bound))} as if no reading ever triggered: this schedule follows a metric")
