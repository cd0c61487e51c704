"""``hone transfer``: the account of every tensor is what training would copy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from hone import cli
from hone.models import build_model, find_model
from hone.recipe import Run

Fit = Callable[..., Run]


def transfer(*words: str | Path) -> int:
    return cli.main(["transfer", *map(str, words)])


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The weights of ``own_parts:normed``, with one tensor too many."""
    state = build_model(find_model("own_parts:normed"), pretrained=False).state_dict()
    path = tmp_path_factory.mktemp("weights") / "normed.safetensors"
    save_file({**state, "extra.weight": torch.zeros(3)}, path)
    return path


def test_everything_copied_needs_no_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "w.safetensors"
    save_file(build_model(find_model("own_parts:normed"), pretrained=False).state_dict(), path)
    assert transfer("own_parts:normed", path) == 0
    said = capsys.readouterr().out
    assert "14 of 14 tensors copied" in said
    assert said.count("\n") == 3
    assert transfer("own_parts:normed", path, "--all") == 0
    assert sum(line.startswith("copied") for line in capsys.readouterr().out.splitlines()) == 14


def test_new_and_skipped_are_named(weights: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "audit.json"
    assert transfer("own_parts:normed", weights, "--outputs", "3", "--json", file) == 0
    said = capsys.readouterr().out
    assert "12 of 14 tensors copied" in said and "output layer new (64 -> 3)" in said
    table = [line.split() for line in said.splitlines() if line.startswith(("new", "skipped"))]
    named = {(row[0], row[1]) for row in table}
    assert named == {
        ("new", "9.weight"),
        ("new", "9.bias"),
        ("skipped", "9.weight"),
        ("skipped", "9.bias"),
        ("skipped", "extra.weight"),
    }
    rows = json.loads(file.read_text())["tensors"]
    assert len(rows) == 14 + 3


def test_the_same_account_as_training_gives(fit: Fit, photos: Path, weights: Path, tmp_path: Path) -> None:
    file = tmp_path / "audit.json"
    assert transfer("own_parts:normed", weights, "--outputs", "3", "--json", file) == 0
    run = fit(photos, "--weights", str(weights))
    assert json.loads((run.path / "transfer.json").read_text()) == json.loads(file.read_text())


def test_a_resized_tensor_says_how(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    state = build_model(find_model("own_parts:normed"), pretrained=False).state_dict()
    state["0.weight"] = state["0.weight"].mean(1, keepdim=True).contiguous()  # a source of grey photos
    path = tmp_path / "grey.safetensors"
    save_file(state, path)
    assert transfer("own_parts:normed", path) == 0
    said = capsys.readouterr().out
    assert "1 of them resized" in said
    assert any(line.startswith("resized  0.weight") for line in said.splitlines())


def test_what_training_refuses_ends_with_2(
    fit: Fit, photos: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer("own_parts:normed", weights, "--model.width", "4") == 2
    said = capsys.readouterr().out
    assert "shape (8, 3, 3, 3) in the source" in said
    assert "hone fit asks for 80%" in said
    narrow = ["--model", "own_parts:normed", "--model.width", "4", "--image-size", "32", "--device", "cpu"]
    assert cli.main(["fit", str(photos), *narrow, "--weights", str(weights)]) == 2


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["own_parts:normed"], "FILE"),
        (["own_parts:normed", "nowhere.pth"], "there is no checkpoint file nowhere.pth"),
        (["own_parts:absent", "WEIGHTS"], "the name 'absent' is not known"),
        (["own_parts:normed", "WEIGHTS", "--outputs", "0"], "0"),
    ],
)
def test_bad_input_is_one_line(
    weights: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert transfer(*[str(weights) if word == "WEIGHTS" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_weights_of_another_library(shared_data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        transfer("timm:mobilenetv2_100", shared_data / "weights" / "mobilenet_v2_imagenet.pth", "--outputs", "5") == 0
    )
    assert "312 of 314 tensors copied by order and shape" in capsys.readouterr().out
