"""A run folder is read as far as it is there."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest

from hone.report import Best, read_run, write_report
from hone.report.folder import FILES


def test_everything_is_read(run: Path) -> None:
    read = read_run(run)
    assert read.problems == [] and read.finished
    assert len(read.train) == 40 and len(read.evaluations) == 4 and len(read.transfer) == 2
    assert read.train[-1].rates == {"backbone": 1e-4, "head": 1e-3}
    assert read.best == Best(40, 0.9) and read.metric == "accuracy" and read.updates == 40
    assert read.classes == ["daisy", "rose", "tulip"]


@pytest.mark.parametrize("kept", [set(c) for n in (1, 2, 5) for c in itertools.combinations(FILES, n)], ids=sorted)
def test_each_missing_file_is_named_and_the_page_is_written(run: Path, kept: set[str], outline) -> None:  # type: ignore[no-untyped-def]
    for name in FILES.keys() - kept:
        (run / name).unlink()
    page = write_report(run).read_text()
    words = outline(page).words
    for name, what in FILES.items():
        assert (f"{name} is not there: {what} cannot be shown" in words) == (name not in kept)


@pytest.mark.parametrize("name", sorted(FILES.keys() - {"recipe.yaml"}))
@pytest.mark.parametrize("content", ["{", "null", "3", '"text"', "[1, 2]", '{"a": 1}', ""])
def test_a_broken_file_is_named_and_the_page_is_written(run: Path, name: str, content: str, outline) -> None:  # type: ignore[no-untyped-def]
    (run / name).write_text(content)
    words = outline(write_report(run).read_text()).words
    fine = (name == "classes.json" and content == "[1, 2]") or (name == "preprocessing.json" and content == '{"a": 1}')
    empty = name == "metrics.jsonl" and content == ""
    assert (name in words.split("How it learned")[0]) == (not fine and not empty)


def test_the_last_line_that_a_kill_cut_off_is_counted(run: Path) -> None:
    with (run / "metrics.jsonl").open("a") as lines:
        lines.write('{"kind": "train", "upd')
    read = read_run(run)
    assert (
        read.problems == ["metrics.jsonl: 1 line could not be read and were left out"] or "1 line" in read.problems[0]
    )
    assert len(read.train) == 40


def test_rows_without_numbers_are_gaps(run: Path) -> None:
    (run / "metrics.jsonl").write_text(
        '{"kind": "train", "update": 3, "loss": null, "lr": 0.1}\n{"kind": "eval", "update": 3}\n'
    )
    read = read_run(run)
    assert math.isnan(read.train[0].loss) and read.train[0].rates == {"lr": 0.1}
    assert read.evaluations[0].metrics == {}


def test_without_a_result_the_best_is_that_of_the_curves(run: Path) -> None:
    (run / "result.json").unlink()
    read = read_run(run)
    assert read.metric == "accuracy" and read.best == Best(40, 0.9) and read.higher_is_better and not read.finished


def test_a_metric_that_is_an_error_is_better_lower(run: Path) -> None:
    (run / "result.json").unlink()
    row = {"kind": "eval", "update": 5, "metrics": {"loss": 1.0, "mae": 0.4}, "best": True}
    (run / "metrics.jsonl").write_text(json.dumps(row) + "\n")
    assert not read_run(run).higher_is_better


@pytest.mark.parametrize("made", [False, True])
def test_what_is_no_run_is_refused(tmp_path: Path, made: bool) -> None:
    folder = tmp_path / "none"
    if made:
        folder.mkdir()
    with pytest.raises(FileNotFoundError, match="none"):
        write_report(folder)
    assert not (folder / "report.html").exists()


@pytest.mark.parametrize("content", ['{"tensors": 3}', '{"tensors": [3]}', "{}"])
def test_a_transfer_record_without_tensors_is_named(run: Path, content: str) -> None:
    (run / "transfer.json").write_text(content)
    read = read_run(run)
    assert read.transfer == [] and "transfer.json" in read.problems[0]


def test_random_weights_have_no_record_of_a_source(run: Path) -> None:
    (run / "transfer.json").unlink()
    assert any("transfer.json" in problem for problem in read_run(run).problems)
    content = json.loads((run / "result.json").read_text())
    (run / "result.json").write_text(json.dumps(content | {"weights": ""}))
    assert not any("transfer.json" in problem for problem in read_run(run).problems)
