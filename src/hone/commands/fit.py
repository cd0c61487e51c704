"""``hone fit``: the main job, at the terminal and from Python."""

from __future__ import annotations

import dataclasses
import signal
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torch.utils.data import DataLoader, Dataset

from hone.commands.arguments import values_from_arguments
from hone.commands.console import Bar, duration, say, speed
from hone.recipe.build import build_job
from hone.recipe.cached import cache_training
from hone.recipe.extension import extend_job
from hone.recipe.folder import Run, is_started, open_run
from hone.recipe.job import Job
from hone.recipe.notes import notes
from hone.recipe.own import OwnData
from hone.recipe.run import carry_out
from hone.recipe.schema import ANYTIME, COMPONENTS, Recipe, recipe_from
from hone.recipe.trial import check_fits
from hone.report import Result
from hone.training import StopSignal, World, join_world

_WHAT = "Fine-tune a pretrained model on your own data."
_EXTRA: list[tuple[str, dict[str, Any]]] = [
    ("--resume", {"metavar": "RUN", "help": "go on with this run; DATA is then not needed"}),
    (
        "--on-extend",
        {"metavar": "HOW", "help": "--resume to other --updates: what the schedule does: continue, stretch, restart"},
    ),
]


def main(words: Sequence[str]) -> int:
    """Run ``hone fit WORDS``; 128 and the signal's number where one ended it early, as a shell counts."""
    values, found = values_from_arguments(words, "fit", _WHAT, _EXTRA)
    if found.resume is None:
        if found.on_extend is not None:
            raise ValueError("on_extend says what a run does that goes on to another length; give --resume RUN, too")
        _, interruption = fit(recipe_from(values))
    else:
        run, updates = open_run(found.resume), values.pop("updates", None)
        _, interruption = fit(_resumed(run, values, ANYTIME), run, updates=updates, on_extend=found.on_extend)
    return 128 + interruption if interruption else 0


def finetune(
    data: str | Path | Dataset[Any] | DataLoader[Any] | None = None,
    *,
    val: Dataset[Any] | DataLoader[Any] | None = None,
    classes: Sequence[str] | None = None,
    resume: str | Path | None = None,
    on_extend: str | None = None,
    quiet: bool = False,
    **options: Any,
) -> Run:
    """Fine-tune a model: the same job as ``hone fit``, with the same options by the same names.

    Args:
        data: folder or CSV (see :class:`hone.recipe.Recipe`); or a torch Dataset or DataLoader of ``(input, target)``
            that prepares its own inputs.
        val: with a Dataset or DataLoader, the data to validate on.
        classes: with a Dataset or DataLoader, the names of its classes; by default its own ``classes``.
        resume: go on with this run instead. Parts that were handed over as objects are handed over again.
        on_extend: with ``resume`` and other ``updates``, what the schedule does: "continue", "stretch" or "restart".
        quiet: print nothing.
        **options: fields of the recipe. ``model``, ``loss``, ``schedule`` and ``optimizer`` also take a mapping of
            ``name`` and arguments, or an object.

    Returns:
        The run: ``run.best``, ``run.report``, ``run.result``, ``hone.load(run)``.

    Raises:
        ValueError: an option is unknown or breaks its rule.

    Example:
        >>> run = finetune("flowers/", model="resnet50", train="last:2", precision="bf16")  # doctest: +SKIP
    """
    if resume is None:
        if on_extend is not None:
            raise ValueError("on_extend says what a run does that goes on to another length; give resume, too")
        own = _own(data, val, classes, options)
        name = own.name if own is not None else None if data is None else str(data)
        return fit(recipe_from({"data": name, **options}), own=own, quiet=quiet)[0]
    run = open_run(resume)
    own = _own(data, val, classes, {"task": run.recipe.task})
    options |= {"data": data} if isinstance(data, (str, Path)) else {}
    updates = options.pop("updates", None)
    recipe = _resumed(run, options, (*ANYTIME, *COMPONENTS))
    return fit(recipe, run, own=own, updates=updates, on_extend=on_extend, quiet=quiet)[0]


def _own(data: Any, val: Any, classes: Sequence[str] | None, options: Mapping[str, Any]) -> OwnData | None:
    """The user's own data, if it is no folder or file."""
    if data is not None and not isinstance(data, (str, Path)):
        return OwnData.of(data, val, classes, options.get("task", "auto"))
    if val is not None or classes is not None:
        raise ValueError("val and classes go with a Dataset or DataLoader; a folder or CSV says them itself")
    return None


def _resumed(run: Run, options: Mapping[str, Any], allowed: Sequence[str]) -> Recipe:
    """The run's recipe, with what may be said anew."""
    strange = [name for name in options if name not in allowed]
    if strange:
        raise ValueError(
            f"resume goes on with a run as it was started, and {strange[0]} is part of that; "
            f"only updates, {', '.join(allowed)} can be given anew"
        )
    return dataclasses.replace(run.recipe, **options)


def fit(
    recipe: Recipe,
    run: Run | None = None,
    *,
    own: OwnData | None = None,
    updates: int | None = None,
    on_extend: str | None = None,
    quiet: bool = False,
) -> tuple[Run, int]:
    """Carry out a recipe.

    Args:
        recipe: what to do.
        run: where to go on; None begins a run in ``recipe.out``.
        own: data handed over in Python.
        updates: another length for the run that goes on.
        on_extend: what its schedule makes of that.
        quiet: print nothing.

    Returns:
        The run, and the number of the signal that ended it early, else 0.

    Raises:
        ValueError: anything that the user can get wrong; nothing has been written.
    """
    if run is not None and updates is None and _is_finished(run):
        if not quiet:
            say(
                "finished",
                f"{run.path} came to its end; {_summary(run.result)}. --updates N goes on to another end",
            )
        return run, 0
    with join_world(recipe.device) as world, StopSignal() as stop:
        if run is None and recipe.out is not None:
            _check_free(Path(recipe.out), world)
        job = build_job(recipe, world, own=own, trains=False)
        if run is not None:
            extend_job(job, run, updates, on_extend)
        check_fits(job)
        place = run or Run(Path(str(job.recipe.out)))
        if run is None:
            _check_free(place.path, world)
        quiet = quiet or not world.is_first
        if not quiet:
            for subject, text in notes(job):
                say(subject, text)
        if cached := cache_training(job):
            job.remarks.append(("features", cached))
            if not quiet:
                say("features", cached)
        noun = job.splits.train.noun
        with Bar(job.total_updates, job.train.updates_per_epoch, str(job.recipe.metric), noun=noun, quiet=quiet) as bar:
            result = carry_out(job, place, bar, stop, resume=run is not None)
        if not quiet:
            _say_end(job, place, result, stop, world)
        return place, int(signal.Signals[stop.name]) if stop.name and result.interrupted else 0


def _say_end(job: Job, run: Run, result: Result, stop: StopSignal, world: World) -> None:
    if result.interrupted:
        say(
            "stopped",
            f"by {stop.name} at update {result.updates}/{job.total_updates}; hone fit --resume {run.path} goes on",
        )
        return
    for subject, text in job.remarks:
        if subject == "kept":
            say(subject, text)
    say("best", f"{_summary(result)}  ->  {run.best if result.best else run.last}")
    pace = speed(result.samples_per_second, job.splits.train.noun)
    say("time", duration(result.seconds) + (f" for {result.updates} updates, {pace}" if result.updates else ""))
    say("report", str(run.report))


def _summary(result: Result) -> str:
    if result.best is None:
        return f"{result.updates} updates, no validation data"
    return f"{result.best.value:.3f} {result.metric} at update {result.best.update}"


def _is_finished(run: Run) -> bool:
    return (run.path / "result.json").exists() and not run.result.interrupted


def _check_free(path: Path, world: World) -> None:
    # The first process alone looks, and tells: it may have begun to write before another one gets here.
    if world.any(world.is_first and is_started(path)):
        raise ValueError(
            f"out: {str(path)!r} already holds a run; give another --out, or go on with it: hone fit --resume {path}"
        )
