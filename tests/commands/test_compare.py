"""``hone compare``: real runs side by side."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from hone import cli
from hone.recipe import Run

Fit = Callable[..., Run]


@pytest.fixture(scope="module")
def runs(fit: Fit, photos: Path) -> list[Run]:
    return [fit(photos, "--lr", rate, "--metric", "loss") for rate in ("1e-7", "3e-3")]


def compare(*words: str | Path) -> int:
    return cli.main(["compare", *map(str, words)])


def test_best_first_and_what_differs(runs: list[Run], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, page = tmp_path / "rows.json", tmp_path / "page.html"
    assert compare(*(run.path for run in runs), "--json", file, "--out", page) == 0
    said = capsys.readouterr().out
    rows = json.loads(file.read_text())
    values = [row["best"] for row in rows]
    assert values == sorted(values)  # a loss: the lower the better
    assert {row["path"] for row in rows} == {str(run.path) for run in runs}
    assert {row["differs"]["lr"] for row in rows} == {"1e-07", "0.003"}
    lines = said.splitlines()
    assert "best loss" in lines[0]
    assert [line.split()[0] for line in lines[1:3]] == [str(row["name"]) for row in rows]
    assert page.read_text().lower().startswith("<!doctype html>")


def test_an_interrupted_run_has_null_for_what_it_lacks(runs: list[Run], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "recipe.yaml").write_text(runs[0].path.joinpath("recipe.yaml").read_text())
    (bare / "metrics.jsonl").write_text("")
    file = tmp_path / "rows.json"
    assert compare(bare, runs[0].path, "--json", file) == 0
    last = json.loads(file.read_text())[-1]
    assert last["path"] == str(bare) and last["best"] is None


@pytest.mark.parametrize(
    ("words", "message"), [([], "RUN"), (["nowhere"], "nowhere"), (["nowhere", "--jsn", "x"], "did you mean --json")]
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare(*words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
