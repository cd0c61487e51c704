"""The demo's numbers and page, and the comparison of runs."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import re
import statistics
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from hone.report import (
    Arm,
    Best,
    DemoResult,
    Result,
    catch_up,
    compare_runs,
    comparison_table,
    write_comparison,
    write_demo_report,
)

UPDATES = [0, 10, 20, 100, 200]
FINE = [[0.1, 0.7, 0.90, 0.95, 0.95], [0.2, 0.6, 0.80, 0.93, 0.94], [0.2, 0.7, 0.82, 0.92, 0.96]]
SCRATCH = [[0.2, 0.3, 0.40, 0.80, 0.93], [0.1, 0.3, 0.50, 0.82, 0.91], [0.2, 0.2, 0.45, 0.78, 0.95]]


def demo(**changes: Any) -> DemoResult:
    arms = [Arm("fine-tuned", FINE, "all layers"), Arm("head only", SCRATCH), Arm("from scratch", SCRATCH)]
    made = DemoResult(UPDATES, 20, arms, catch_up=200, examples=[([[0.0, 9.0], [3.0, 1.0]], "7")])
    return dataclasses.replace(made, **changes)


def test_means_and_deviations_are_those_of_the_seeds() -> None:
    mean, deviation = demo().final("fine-tuned")
    assert mean == pytest.approx(0.84) and deviation == pytest.approx(statistics.stdev([0.90, 0.80, 0.82]))
    assert Arm("one", [[0.5]]).at(0) == (0.5, 0.0)


def test_catching_up_is_the_first_mean_that_reaches_the_goal() -> None:
    assert catch_up(UPDATES, SCRATCH, 0.84) == 200
    assert catch_up(UPDATES, SCRATCH, 0.79) == 100
    assert catch_up(UPDATES, SCRATCH, 0.99) is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budget": 15}, "budget"),
        ({"updates": [0, 20, 10, 100, 200]}, "increase"),
        ({"main": "best"}, "one of the arms"),
        ({"arms": [Arm("fine-tuned", FINE), Arm("from scratch", [[0.1]])]}, "5 values"),
        ({"arms": [Arm("fine-tuned", FINE), Arm("from scratch", [])]}, "5 values"),
    ],
)
def test_a_demo_that_does_not_fit_together_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        demo(**changes)


def test_the_demo_page_says_what_was_measured(tmp_path: Path, outline: Any) -> None:
    page = write_demo_report(tmp_path / "demo.html", demo()).read_text()
    read = outline(page)
    for said in ("84%", "45%", "0.840 ± 0.053", "catches up at 200 updates", "10.0 times", "10 labelled images"):
        assert said in read.words, said
    assert [img["alt"] for img in read.all("img")] == ["handwritten digit 7"]
    every_seed = next(svg["aria-label"] for svg in read.all("svg") if "every seed" in (svg.get("aria-label") or ""))
    assert "fine-tuned: 0.900, 0.800, 0.820" in every_seed
    assert len(page) < 100_000


def test_the_demo_page_is_honest_where_nothing_caught_up(tmp_path: Path, outline: Any) -> None:
    words = outline(write_demo_report(tmp_path / "d.html", demo(catch_up=None)).read_text()).words
    assert "did not reach 0.840 within the 200 updates" in words and "catches up" not in words


def test_a_demo_that_ends_at_its_budget_has_one_chart(tmp_path: Path, outline: Any) -> None:
    arms = [Arm(arm.name, [row[:3] for row in arm.accuracy]) for arm in demo().arms]
    made = demo(updates=UPDATES[:3], arms=arms, catch_up=None)
    words = outline(write_demo_report(tmp_path / "d.html", made).read_text()).words
    assert "within 20 updates" in words and "far more" not in words


def test_the_demo_record_is_json() -> None:
    raw = json.loads(demo().to_json())
    assert raw["arms"][0]["accuracy"] == FINE and raw["budget"] == 20


def made_run(folder: Path, value: float | None, recipe: str, metric: str = "accuracy", *, higher: bool = True) -> Path:
    folder.mkdir(parents=True)
    best = None if value is None else Best(10, value)
    Result("classify", metric, higher_is_better=higher, best=best, updates=20, seconds=90).write(folder / "result.json")
    (folder / "recipe.yaml").write_text(recipe)
    return folder


def test_runs_are_ordered_by_their_best(tmp_path: Path) -> None:
    runs = [
        made_run(tmp_path / "a", 0.7, "lr: 0.1\nseed: 0\nloss:\n  gamma: 1\n"),
        made_run(tmp_path / "b", None, "lr: 0.1\nseed: 0\n"),
        made_run(tmp_path / "c", 0.9, "lr: 0.3\nseed: 0\nloss:\n  gamma: 2\n"),
    ]
    rows = compare_runs(runs)
    assert [row.name for row in rows] == ["c", "a", "b"]
    assert [row.differs for row in rows] == [
        {"lr": "0.3", "loss.gamma": "2"},
        {"lr": "0.1", "loss.gamma": "1"},
        {"lr": "0.1", "loss.gamma": "–"},
    ]
    assert math.isnan(rows[-1].best) and rows[-1].update is None


def test_a_lower_error_comes_first(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / name, value, "", "mae", higher=False) for name, value in (("a", 2.0), ("b", 1.0))]
    assert [row.name for row in compare_runs(runs)] == ["b", "a"]


def test_different_metrics_are_not_ordered(tmp_path: Path, outline: Any) -> None:
    runs = [made_run(tmp_path / "a", 0.1, ""), made_run(tmp_path / "b", 0.9, "", "macro_f1")]
    rows = compare_runs(runs)
    assert [row.name for row in rows] == ["a", "b"]
    assert "do not compare" in outline(write_comparison(tmp_path / "c.html", rows).read_text()).words


def test_runs_of_the_same_name_keep_their_paths(tmp_path: Path) -> None:
    runs = [made_run(tmp_path / outer / "run", 0.5, "") for outer in ("x", "y")]
    assert {row.name for row in compare_runs(runs)} == {str(run) for run in runs}


def test_the_terminal_table_shows_every_run(run: Path, tmp_path: Path) -> None:
    rows = compare_runs(
        [
            run,
            made_run(tmp_path / "[red]odd", 0.5, "data: photos\nlr: 1.0\n"),
        ]
    )
    out = io.StringIO()
    Console(file=out, width=200).print(comparison_table(rows))
    text = out.getvalue()
    assert "my run" in text and "[red]odd" in text and "0.900" in text and "1 min 12 s" in text
    assert re.search(r"best accuracy .* precision .* trained .* lr", text)


def test_the_comparison_page_shows_every_run(run: Path, tmp_path: Path, outline: Any) -> None:
    rows = compare_runs([made_run(tmp_path / "other", 0.5, "lr: 1.0\n"), run])
    read = outline(write_comparison(tmp_path / "c.html", rows).read_text())
    assert "my run is the best of them, with 0.900 accuracy" in read.words
    assert "Where their recipes differ" in read.words and len(read.all("table")) == 2


def test_no_runs_and_no_run_are_errors(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one run"):
        compare_runs([])
    with pytest.raises(FileNotFoundError):
        compare_runs([tmp_path / "none"])
