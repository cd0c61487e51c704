"""``hone fit --lora``: adapters train, the plain network is what comes out."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import hone
from hone import cli
from hone.recipe import Run

from .conftest import small_words

pytest.importorskip("peft")
Fit = Callable[..., Run]


@pytest.fixture(scope="module")
def source(own_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    import own_parts  # type: ignore[import-not-found]

    torch.manual_seed(5)
    path = tmp_path_factory.mktemp("source") / "weights.safetensors"
    save_file(own_parts.normed().state_dict(), path)
    return path


def test_the_plain_network_comes_out_changed_by_the_rank_only(fit: Fit, photos: Path, source: Path) -> None:
    import own_parts  # type: ignore[import-not-found]

    run = fit(photos, "--weights", str(source), "--lora", "2", "--lr", "0.01")
    before, after = load_file(source), load_file(run.last)
    model = own_parts.normed()
    model[-1] = nn.Linear(64, 3)
    model.load_state_dict(after, strict=True)
    for name in ("0.weight", "3.weight"):
        change = (after[name] - before[name]).flatten(1)
        values = torch.linalg.svdvals(change)
        assert values[1] > 1e-6 and values[2:].max() < 1e-5 * values[0]
    for name in ("1.weight", "1.bias", "1.running_mean", "1.running_var", "4.running_var"):
        assert torch.equal(after[name], before[name])
    assert run.recipe.train == "head, *.lora_*" and run.result.trained and run.result.frozen
    assert hone.load(run).model(torch.zeros(1, 3, 32, 32)).shape == (1, 3)


def test_an_evaluation_says_what_the_run_said(fit: Fit, photos: Path, source: Path, tmp_path: Path) -> None:
    run = fit(photos, "--weights", str(source), "--lora", "2", "--lora-layers", "0")
    assert cli.main(["evaluate", str(run.path), str(photos), "--json", str(tmp_path / "m.json")]) == 0
    assert run.result.best is not None
    assert json.loads((tmp_path / "m.json").read_text())["accuracy"] == pytest.approx(run.result.best.value)
    assert torch.equal(load_file(run.last)["3.weight"], load_file(source)["3.weight"])


def test_going_on_equals_never_stopping(photos: Path, source: Path, tmp_path: Path) -> None:
    words = ("--weights", str(source), "--lora", "2", "--schedule", "ConstantLR", "--schedule.factor", "1")
    whole, part = tmp_path / "whole", tmp_path / "part"
    assert cli.main(small_words(photos, whole, *words)) == 0
    assert cli.main(small_words(photos, part, *words, "--updates", "3")) == 0
    assert cli.main(["fit", "--resume", str(part), "--updates", "6", "--on-extend", "continue"]) == 0
    assert (whole / "last.safetensors").read_bytes() == (part / "last.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--lora", "0"), "lora must be a whole number at least 1, got 0"),
        (("--lora-layers", "0"), "lora_layers needs the adapters' rank"),
        (("--lora", "2", "--lora-layers", "nothing.*"), "nothing.*"),
    ],
)
def test_what_can_be_wrong(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert cli.main(small_words(photos, tmp_path / "run", *words)) == 2
    assert said in capsys.readouterr().err and not (tmp_path / "run").exists()
