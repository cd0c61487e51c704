"""``hone groups``: the layers as ``last:N`` counts them, with what a run gives each."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hone import cli
from hone.commands.groups import rows_of
from hone.recipe import Run, recipe_from

Fit = Callable[..., Run]


def groups(*words: str | Path) -> int:
    return cli.main(["groups", *map(str, words), "--device", "cpu"])


def test_rows_and_rates(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rows.json"
    words = ["--lr", "1e-2", "--layer-decay", "0.5", "--weight-decay", "0.1", "--train", "last:1", "--outputs", "3"]
    assert groups("own_parts:normed", *words, "--head-multiplier", "4", "--json", file) == 0
    rows = json.loads(file.read_text())
    assert [row["size"] for row in rows] == [3 * 8 * 9 + 16, 8 * 16 * 9 + 32, 64 * 3 + 3]
    assert [row["lr"] for row in rows] == pytest.approx([0.0025, 0.005, 0.04])
    assert [row["trains"] == row["size"] for row in rows] == [False, True, True]
    assert [row["weight_decay"] for row in rows] == [0.1] * 3
    said = capsys.readouterr().out
    assert "AdamW lr 0.01, weight decay 0.1, layer decay 0.5, output layer x 4" in said
    lines = [line.split() for line in said.splitlines()[-3:]]
    assert [line[1] for line in lines] == ["last:2", "last:1", "head"]
    assert [line[5] for line in lines] == ["no", "yes", "yes"]


@pytest.mark.parametrize("count", [0, 1, 2])
def test_last_n_reaches_the_row_with_that_number(count: int) -> None:
    train = f"last:{count}" if count else "head"
    recipe = recipe_from({"data": "", "model": "own_parts:normed", "train": train, "device": "cpu"})
    _, _, rows, _ = rows_of(recipe)
    assert [bool(row.trains) for row in rows] == [False] * (2 - count) + [True] * (1 + count)


def test_what_it_shows_as_frozen_is_what_training_leaves(fit: Fit, photos: Path) -> None:
    run = fit(photos, "--train", "last:1", "--lr", "1e-2")
    longer = fit(photos, "--train", "last:1", "--lr", "1e-2", "--updates", "9")
    first, second = load_file(run.last), load_file(longer.last)
    moved = {name for name in first if not torch.equal(first[name], second[name])}
    recipe = recipe_from({"data": "", "model": "own_parts:normed", "train": "last:1", "device": "cpu"})
    _, _, rows, _ = rows_of(recipe)
    still = [name for name in first if name.split(".")[0] in {"0", "1"}]
    assert [bool(row.trains) for row in rows] == [False, True, True]
    assert moved.isdisjoint(still) and moved


def test_a_run_as_source_has_its_model_and_rates(fit: Fit, photos: Path) -> None:
    run = fit(photos)
    _, settled, rows, head = rows_of(recipe_from({"data": "", "source": str(run.path), "head": "random"}))
    assert settled.head_multiplier == 10.0  # there is a source, and a random output layer learns faster
    assert (len(rows), head) == (3, "9")


def test_no_weights_are_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("weights were asked for")

    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", refuse)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", refuse)
    _, settled, rows, head = rows_of(recipe_from({"data": "", "model": "mobilenet_v2", "head": "random"}), 5)
    assert settled.head_multiplier == 10.0  # as in the run, which will start from the library's weights
    assert (len(rows), rows[-1].size, head) == (20, 5 * 1281, "classifier.1")


def test_a_reader_that_leaves_is_no_error(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def leave(*cells: object) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    monkeypatch.setattr("hone.commands.groups.show", leave)
    assert groups("own_parts:normed") == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "MODEL must be given"),
        (["resnt18"], "did you mean resnet18"),
        (["own_parts:normed", "--train", "last:7"], "count at most the 2 rows before the head"),
        (["own_parts:normed", "--train", "encoder.*"], "encoder.*"),
        (["own_parts:normed", "--layer-decay", "2"], "layer_decay must be"),
        (["own_parts:normed", "--data", "x"], "option '--data' is not known"),
    ],
)
def test_bad_input_is_one_line(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert groups(*words) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_a_later_stage(capsys: pytest.CaptureFixture[str]) -> None:
    words = ["groups", "own_parts:normed", "--train", "head; 100: last:1; 300: all"]
    shown = []
    for update in ("0", "99", "100", "300"):
        assert cli.main([*words, "--at", update]) == 0
        shown.append(next(line for line in capsys.readouterr().out.splitlines() if line.startswith("trains")))
    trained = [int(line.split(": ")[-1].split()[0].replace(",", "")) for line in shown]
    assert "at update 100" in shown[2]
    assert trained[0] == trained[1] < trained[2] < trained[3]
