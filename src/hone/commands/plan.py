"""``hone plan DATA``: which precision, layout and batch size train this model fastest on this machine."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from rich.markup import escape
from torch import Tensor

from hone import checks
from hone.commands.arguments import values_from_arguments
from hone.commands.console import say
from hone.commands.tables import add_row, columns, show
from hone.precision import Measurement, Plan, PlanTable, all_plans, measure_plans, plan_key, remember_choice, remembered
from hone.precision.measure import ROUNDS, native_kinds, prepared, wait_for
from hone.recipe.build import build_job
from hone.recipe.job import Job
from hone.recipe.kinds import kind_of
from hone.recipe.measured import setup_of
from hone.recipe.notes import notes
from hone.recipe.resolve import resolve_optimizer
from hone.recipe.schema import Recipe, recipe_from
from hone.recipe.trial import check_fits
from hone.training import World, pick_device
from hone.transfer import apply_freeze

_WHAT = """\
Measure whole updates of your model at your data's size under every combination that is asked for, and take the
fastest; of those that tie, the plainest. Reading them is not measured. Answers are remembered."""
_EXTRA: list[tuple[str, dict[str, Any]]] = [
    ("--seconds", {"type": float, "default": 60.0, "metavar": "X", "help": "about how long to measure (60)"}),
    ("--batch-sizes", {"metavar": "N,N", "help": "sizes to try (--batch-size and its double)"}),
    ("--compile", {"action": "store_true", "help": "try torch.compile, too: compiling takes minutes"}),
    ("--checkpointing", {"action": "store_true", "help": "try activation checkpointing, too"}),
    ("--again", {"action": "store_true", "help": "measure, even where the answer is remembered"}),
    ("--json", {"metavar": "FILE", "help": "write the table here"}),
]
_MOST_STEPS = 10


def main(words: Sequence[str]) -> int:
    """Run ``hone plan WORDS``."""
    values, found = values_from_arguments(words, "plan", _WHAT, _EXTRA)
    recipe = recipe_from(values)
    device = pick_device(recipe.device)
    recipe = kind_of(recipe.task, recipe.data).prefer(recipe, None, device)
    checks.number("seconds", found.seconds, above=0)
    sizes = batch_sizes(found.batch_sizes, int(recipe.batch_size or 1))
    # The plans lay the model out themselves, from the layout that a model has when it is built.
    plain = dataclasses.replace(
        recipe, layout="contiguous", batch_size=max(sizes), precision="fp32", compile=False, checkpointing=False
    )
    job = build_job(plain, World(device=device), with_weights=False)
    check_fits(job)
    told = dict(notes(job))
    for subject in ("data", "trains"):
        say(subject, escape(told[subject]))
    say("model", escape(f"{job.target.name}, {job.preprocessing.describe()}, on {job.world.device}"))
    plans = plans_for(recipe, job.world.device, sizes, compiled=found.compile, checkpointing=found.checkpointing)
    table = _measured_or_remembered(job, plans, found.seconds, again=found.again)
    batch = int(recipe.batch_size or 1)
    _remember(job, recipe, table, batch)
    _show(table, batch)
    if found.json:
        Path(found.json).write_text(table.to_json() + "\n")
    return 0


def _remember(job: Job, recipe: Recipe, table: PlanTable, batch: int) -> None:
    """Keep what is best for the recipe's own batch, for runs with the same options."""
    own = PlanTable(tuple(row for row in table.rows if row.plan.batch_size == batch))
    if any(not row.failure for row in own.rows):
        setup = dataclasses.replace(job.recipe, batch_size=batch)
        remember_choice(setup_of(setup, job.model, job.preprocessing, job.world.device), own.best.plan)


def batch_sizes(stated: str | None, own: int) -> list[int]:
    """The sizes to try, rising.

    Example:
        >>> batch_sizes(None, 32), batch_sizes("64,16", 32)
        ([32, 64], [16, 64])
    """
    if stated is None:
        return [own, 2 * own]
    try:
        sizes = sorted({int(part) for part in stated.split(",")})
    except ValueError:
        raise checks.invalid("batch-sizes", "be whole numbers with commas between them", stated) from None
    return [checks.integer("batch-sizes", size, at_least=1) for size in sizes]


def plans_for(
    recipe: Recipe, device: torch.device, sizes: Sequence[int], *, compiled: bool, checkpointing: bool
) -> list[Plan]:
    """What to measure, the most wanted first; what the recipe states is not varied.

    Larger batches stand last within their kind: where time is short, they are what is left out.
    """
    layouts = {"auto": (False, True), "contiguous": (False,), "channels_last": (True,)}[recipe.layout]
    plans = all_plans(
        kinds=native_kinds(device) if recipe.precision == "auto" else [recipe.precision],
        batch_sizes=sizes,
        channels_last=layouts,
        compile=(False, True) if compiled else (False,),
        checkpointing=(False, True) if checkpointing else (False,),
    )
    return sorted(plans, key=lambda plan: (plan.batch_size != recipe.batch_size, plan.batch_size))


def affordable(plans: Sequence[Plan], seconds_a_sample: float, seconds: float) -> tuple[list[Plan], int]:
    """The first plans that fit the time, at least two of them, and how many updates each is timed in each round.

    Args:
        plans: the most wanted first.
        seconds_a_sample: of an update, measured once.
        seconds: how long the whole may take.

    Example:
        >>> affordable([Plan(batch_size=8), Plan(batch_size=16)], seconds_a_sample=0.01, seconds=60.0)[1]
        10
    """

    def cost(count: int, steps: int) -> float:
        samples = sum(plan.batch_size for plan in plans[:count])
        return ROUNDS * samples * (steps + 1) * seconds_a_sample

    for count in range(len(plans), 0, -1):
        for steps in range(_MOST_STEPS, 1, -1):
            if cost(count, steps) <= seconds:
                return list(plans[:count]), steps
    return list(plans[:2]), 2


def _measured_or_remembered(job: Job, plans: Sequence[Plan], seconds: float, *, again: bool) -> PlanTable:
    job.model.train()
    apply_freeze(job.model, job.plan)
    batch = next(job.train.batches(0))
    asked = (seconds, job.recipe.optimizer.name, job.recipe.loss.name, time.time() if again else None)
    key = f"{plan_key(job.model, batch, plans)} {asked}"
    is_new = False

    def measure() -> PlanTable:
        nonlocal is_new
        is_new = True
        return _measured(job, batch, plans, seconds)

    table = remembered(key, measure)
    if not is_new:
        say("remembered", "this model, size and machine were measured before; --again measures anew")
    return table


def _measured(job: Job, batch: tuple[Tensor, Tensor], plans: Sequence[Plan], seconds: float) -> PlanTable:
    kind, options = resolve_optimizer(job.recipe.optimizer)
    make: Any = kind

    def optimizer(parameters: Any) -> torch.optim.Optimizer:
        built: torch.optim.Optimizer = make(parameters, lr=job.recipe.lr, **options)
        return built

    first = plans[0]
    update = prepared(job.model, batch, job.criterion, dataclasses.replace(first, compile=False), optimizer)
    update()  # allocation is not what is asked about
    wait_for(job.world.device)
    start = time.perf_counter()
    update()
    wait_for(job.world.device)
    chosen, steps = affordable(plans, (time.perf_counter() - start) / first.batch_size, seconds)
    left = f"; {len(plans) - len(chosen)} more left out (--seconds)" if len(chosen) < len(plans) else ""
    say("measuring", f"{len(chosen)} plans, {ROUNDS} x {steps} updates each, in turn{left}")
    return measure_plans(job.model, batch, job.criterion, chosen, optimizer=optimizer, steps=steps, warmup_steps=1)


def _show(table: PlanTable, own_batch: int) -> None:
    best = table.best
    # A column that would hold the same dash in every row says nothing.
    extras = [name for name in ("compile", "checkpointing") if any(getattr(row.plan, name) for row in table.rows)]
    drawn = columns("precision", "layout", *extras, ">batch", ">samples/s", ">quartiles", ">peak MiB", "")
    for row in table.rows:
        words = [row.plan.kind, _layout(row.plan), *("yes" if getattr(row.plan, name) else "–" for name in extras)]
        mark = row.failure or ("<- taken" if row is best else "")
        add_row(drawn, [*words, row.plan.batch_size, *_figures(row), mark], style="bold" if row is best else "")
    show(drawn)
    plan = best.plan
    more = " --compile" * plan.compile + " --checkpointing" * plan.checkpointing
    say("take", f"--precision {plan.kind} --layout {_layout(plan)} --batch-size {plan.batch_size}{more}")
    if plan.batch_size == own_batch:
        say("", "hone fit with the same options takes it by itself, where they are left at auto")
    if plan.batch_size != own_batch:
        say("", f"another batch than {own_batch} is another training: fewer updates an epoch, so look at --lr, too")


def _figures(row: Measurement) -> list[str]:
    if row.failure:
        return ["", "", ""]
    peak = "–" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f}"
    return [f"{row.samples_per_second:.1f}", f"{row.low:.1f}–{row.high:.1f}", peak]


def _layout(plan: Plan) -> str:
    return "channels_last" if plan.channels_last else "contiguous"
