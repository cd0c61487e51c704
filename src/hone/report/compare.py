"""Several runs side by side: what they reached, at what price, and where their recipes differ."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hone.checks import invalid

from .charts import COLOURS, Series, line_chart
from .folder import RunFolder, read_run
from .markup import Content, Markup, element, table
from .page import page, save, section
from .wording import count, duration, plural, score_text, short

if TYPE_CHECKING:
    from rich.table import Table


@dataclass(frozen=True)
class RunRow:
    """One run of a comparison. NaN and empty where the run does not say; ``differs`` holds its own recipe entries."""

    name: str
    path: Path
    metric: str
    best: float
    update: int | None
    updates: int
    seconds: float
    samples_per_second: float
    precision: str
    trained: int
    finished: bool
    differs: dict[str, str] = field(default_factory=dict)
    curve: list[tuple[int, float]] = field(default_factory=list)


def compare_runs(runs: Sequence[str | Path]) -> list[RunRow]:
    """Read several runs, the best first.

    Runs that no evaluation was made in come last. Where the runs have different metrics they are kept in the order
    given, for their values do not compare.

    Args:
        runs: run folders, at least one.

    Returns:
        One row a run.

    Raises:
        ValueError: no run is given.
        FileNotFoundError: one of them is not a run folder.
    """
    if not runs:
        raise invalid("runs", "hold at least one run folder", list(runs))
    folders = [read_run(run) for run in runs]
    recipes = [_flat(_parsed(folder.recipe)) for folder in folders]
    keys = [key for key in dict.fromkeys(k for recipe in recipes for k in recipe) if _differs(key, recipes)]
    names = _names(folders)
    rows = [
        _row(folder, name, {key: recipe.get(key, "–") for key in keys})
        for folder, name, recipe in zip(folders, names, recipes, strict=True)
    ]
    if len({row.metric for row in rows if row.metric}) > 1:
        return rows
    sign = -1.0 if folders[0].higher_is_better else 1.0
    return sorted(rows, key=lambda row: math.inf if math.isnan(row.best) else sign * row.best)


def _row(run: RunFolder, name: str, differs: dict[str, str]) -> RunRow:
    result, best = run.result, run.best
    return RunRow(
        name=name,
        path=run.path,
        metric=run.metric,
        best=best.value if best else math.nan,
        update=best.update if best else None,
        updates=run.updates,
        seconds=result.seconds if result else math.nan,
        samples_per_second=result.samples_per_second if result else math.nan,
        precision=result.precision if result else "",
        trained=sum(layer.parameters for layer in result.trained) if result else 0,
        finished=run.finished,
        differs=differs,
        curve=[(row.update, row.metrics[run.metric]) for row in run.evaluations if run.metric in row.metrics],
    )


def _names(folders: Sequence[RunFolder]) -> list[str]:
    """The folders' own names, or their paths where two have the same."""
    names = [folder.name for folder in folders]
    return names if len(set(names)) == len(names) else [str(folder.path) for folder in folders]


def _parsed(recipe: str) -> Any:
    import yaml

    try:
        return yaml.safe_load(recipe)
    except yaml.YAMLError:
        return None


def _flat(node: Any, stem: str = "") -> dict[str, str]:
    """A nested recipe as dotted keys.

    >>> _flat({"loss": {"gamma": 2.0}, "seed": 0})
    {'loss.gamma': '2.0', 'seed': '0'}
    """
    if isinstance(node, Mapping):
        return {
            k: v for key, item in node.items() for k, v in _flat(item, f"{stem}.{key}" if stem else str(key)).items()
        }
    return {stem: str(node)} if stem else {}


def _differs(key: str, recipes: Sequence[Mapping[str, str]]) -> bool:
    return len({recipe.get(key) for recipe in recipes if recipe}) > 1


def _cells(row: RunRow) -> list[str]:
    return [
        score_text(row.best),
        f"{row.update:,}" if row.update is not None else "–",
        f"{row.updates:,}" + ("" if row.finished else " (not finished)"),
        duration(row.seconds) if row.seconds == row.seconds else "–",
        short(round(row.samples_per_second, 1)),
        row.precision or "–",
        count(row.trained) if row.trained else "–",
    ]


def _heads(rows: Sequence[RunRow]) -> list[str]:
    metrics = list(dict.fromkeys(row.metric for row in rows if row.metric))
    return ["best " + " / ".join(metrics), "at update", "updates", "time", "samples/s", "precision", "trained"]


def comparison_table(rows: Sequence[RunRow]) -> Table:
    """The comparison as a table of rich, for the terminal."""
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=None, pad_edge=False, header_style="dim")
    drawn.add_column("run")
    keys = list(rows[0].differs) if rows else []
    for head in _heads(rows):
        drawn.add_column(head, justify="right")
    for key in keys:
        drawn.add_column(key)
    for row in rows:
        # Text, not str: a run's name may hold square brackets, which rich would read as its markup.
        drawn.add_row(*map(Text, [row.name, *_cells(row), *(row.differs[key] for key in keys)]))
    return drawn


def write_comparison(path: str | Path, rows: Sequence[RunRow]) -> Path:
    """Write a page that shows several runs side by side.

    Args:
        path: of the page.
        rows: from `compare_runs`.

    Returns:
        The path.
    """
    return save(Path(path), comparison_page(rows))


def comparison_page(rows: Sequence[RunRow]) -> str:
    """The HTML of a comparison."""
    first = rows[0]
    same = len({row.metric for row in rows if row.metric}) == 1 and not math.isnan(first.best)
    lead: Content = (
        [
            element("b", first.name),
            " is the best of them, with ",
            element("b", f"{score_text(first.best)} {first.metric}"),
            ".",
        ]
        if same
        else "These runs were judged by different metrics, or not at all: their values do not compare."
    )
    keys = list(first.differs)
    what: list[list[Content]] = [[row.name, *(row.differs[key] for key in keys)] for row in rows]
    return page(
        f"{plural(len(rows), 'run')} compared",
        lead,
        section("What they reached", None, element("div", _reached(rows), class_="card")),
        section("How they learned", "The metric at every evaluation.", _curves(rows)),
        section(
            "Where their recipes differ",
            None,
            element("div", table(["run", *keys], what, caption="Recipe entries that are not the same"), class_="card"),
        )
        if keys
        else None,
        kicker="comparison of runs",
    )


def _reached(rows: Sequence[RunRow]) -> Markup:
    cells: list[list[Content]] = [[row.name, *_cells(row)] for row in rows]
    return table(["run", *_heads(rows)], cells, caption="Runs, the best first")


def _curves(rows: Sequence[RunRow]) -> Markup | None:
    series = [
        Series(row.name, [u for u, _ in row.curve], [v for _, v in row.curve], 1 + i, dots=len(row.curve) <= 30)
        for i, row in enumerate(rows[:COLOURS])
        if row.curve
    ]
    return line_chart("Validation", series) if series else None
