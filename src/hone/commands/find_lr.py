"""``hone lr --find``: the range test on the user's data and model, shown at the terminal and drawn."""

from __future__ import annotations

import argparse
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, TextColumn

from hone.commands.console import say
from hone.commands.range_test import RangeTest, range_test
from hone.recipe.build import build_job
from hone.recipe.cached import probe_data
from hone.recipe.folder import as_json
from hone.recipe.job import Job
from hone.recipe.notes import notes
from hone.recipe.schema import Recipe
from hone.recipe.start import start_from_probe
from hone.recipe.trial import check_fits
from hone.report import terminal_rates
from hone.report.canvas import INK, INKS, LINE, SOFT, blank, save_figure
from hone.training import World, pick_device

_HEIGHT = 12


def find_lr(recipe: Recipe, found: argparse.Namespace) -> RangeTest:
    """Run the test, and say what it found.

    Args:
        recipe: with data.
        found: the command line's ``lowest``, ``highest``, ``steps``, ``out`` and ``json``.
    """
    if not recipe.data:
        raise ValueError("DATA must be given: hone lr --find tries rates out on real batches")
    job = build_job(recipe, World(device=pick_device(recipe.device)))
    check_fits(job)
    told = dict(notes(job))
    for subject in ("data", "model", "trains", "precision"):
        say(subject, escape(told[subject]))
    if job.recipe.head == "probe":
        with probe_data(job) as data:
            start_from_probe(job, data)  # as hone fit begins, or the loss of a random output layer would be what falls
    test = run_shown(job, found)
    print(chart(test))
    _say_result(test, job)
    if found.json:
        Path(found.json).write_text(as_json(test.to_json()))
    if found.out:
        say("picture", escape(str(draw(test, Path(found.out)))))
    return test


def run_shown(job: Job, found: argparse.Namespace) -> RangeTest:
    """The test, with a bar where there is a terminal."""
    console = Console(highlight=False)
    text = TextColumn("{task.completed:.0f}/{task.total:.0f}  lr {task.fields[rate]:.1e}")
    columns = (TextColumn("[bold cyan]find      [/]"), BarColumn(bar_width=24), text)
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("find", total=found.steps, rate=found.lowest)
        return range_test(
            job,
            lowest=found.lowest,
            highest=found.highest,
            steps=found.steps,
            tell=lambda update, rate: bar.update(task, completed=update, rate=rate),
        )


def chart(test: RangeTest, width: int | None = None) -> str:
    """The smoothed loss as text over the rates, which stand under it from the first to the last.

    Args:
        test: what to draw.
        width: in characters; the terminal's by default, at most 100.
    """
    console = Console()
    if width is None:
        width = min(console.width, 100) if console.is_terminal else 72
    # The chart of rates draws any curve; only what stands under its axis is about updates.
    top = _top(test)
    lines = terminal_rates({"loss": [min(loss, top) for loss in test.smoothed]}, width, _HEIGHT).splitlines()[
        : _HEIGHT + 1
    ]
    margin = lines[-1].index("└") + 1
    columns = width - margin
    marks = [" "] * columns
    if test.fell:
        for rate in (test.steepest, test.tenth_of_lowest):
            near = min(range(len(test.rates)), key=lambda k: abs(test.rates[k] / rate - 1))
            marks[round(near / (len(test.rates) - 1) * (columns - 1))] = "▲"
    first, last = f"lr {test.rates[0]:.1e}", f"{test.rates[-1]:.1e}"
    scale = f"{first}{last:>{columns - len(first)}}"
    rows = [*lines, f"{'':{margin}}{''.join(marks)}", f"{'':{margin}}{scale}"]
    return "\n".join(row.rstrip() for row in rows)


def draw(test: RangeTest, path: Path) -> Path:
    """Draw the losses and their average over the rates into a picture file, with both marks.

    Raises:
        ValueError: the ending is none of ``.png``, ``.svg``, ``.pdf``.
    """
    figure, axes = blank(8, 4.2)
    axes.plot(test.rates, test.losses, color=SOFT, linewidth=0.8, alpha=0.5, label="loss after an update at this rate")
    axes.plot(test.rates, test.smoothed, color=INKS[0], linewidth=1.8, label="averaged")
    if test.fell:
        marks = (("steepest descent", test.steepest, INKS[1]), ("a tenth of the lowest", test.tenth_of_lowest, INKS[2]))
        for name, rate, ink in marks:
            axes.axvline(rate, color=ink, linewidth=1.2, linestyle="--", label=f"{name}: {rate:.1e}")
    axes.set_xscale("log")
    low, high = min(test.smoothed), _top(test)
    axes.set_ylim(low - 0.1 * (high - low or 1.0), high)
    axes.set_title("Learning-rate range test", loc="left", fontsize=12, fontweight="bold", color=INK)
    axes.set_xlabel("learning rate", loc="right")
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.legend(frameon=False, fontsize=9, labelcolor=INK)
    return save_figure(figure, path)


def _top(test: RangeTest) -> float:
    """How high the loss is drawn: half as far above its start as it fell; the blow-up would leave the fall no room."""
    start, low = test.smoothed[0], min(test.smoothed)
    return start + 0.5 * (start - low) if start > low else max(test.smoothed)


def _say_result(test: RangeTest, job: Job) -> None:
    end = f"the loss blew up at lr {test.rates[-1]:.1e}" if test.diverged else "the loss did not blow up"
    if not test.fell:
        say("no answer", f"the loss never fell, and {end}; try more --steps, a larger batch, or other rates")
        return
    lowest = test.rates[test.lowest]
    say("steepest", f"lr {test.steepest:.1e}: the loss falls fastest here")
    say("tenth", f"lr {test.tenth_of_lowest:.1e}: a tenth of where the loss is lowest ({lowest:.1e}); {end}")
    which = "the steepest descent" if test.is_clear else "a tenth, for the steepest descent is next to the lowest loss"
    say("suggested", f"--lr {test.suggestion:.1e}  ({which})")
    if job.recipe.head_multiplier != 1.0:
        say("", f"the output layer learns at {job.recipe.head_multiplier:g} times this rate, here as in hone fit")
