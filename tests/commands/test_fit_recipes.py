"""``hone fit``: what is best, when to stop, and recipes that repeat a run."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import hone
from hone import cli
from hone.recipe import Run
from hone.training import read_record

from .made import differing

Fit = Callable[..., Run]


@pytest.fixture(scope="module")
def base(fit: Fit, photos: Path) -> Run:
    """A run with nothing stated but its size."""
    return fit(photos)


def test_ties_go_to_the_earlier_update_and_patience_counts_them(fit: Fit, photos: Path) -> None:
    run = fit(photos, "--lr", "1e-12", "--updates", "30", "--eval-every", "2", "--patience", "2", "--norm", "frozen")
    assert run.result.best is not None and run.result.best.update == 2 and run.result.updates == 6
    assert not run.result.interrupted


@pytest.mark.parametrize("metric", ["loss", "balanced_accuracy", "f1"])
def test_best_is_by_the_named_metric(fit: Fit, photos: Path, metric: str) -> None:
    run = fit(photos, "--metric", metric, "--eval-every", "1")
    values = [line["metrics"][metric] for line in read_record(run.path) if line["kind"] == "eval"]
    best = min(values) if metric == "loss" else max(values)
    assert run.result.best is not None
    assert (run.result.best.value, run.result.best.update) == (best, 1 + values.index(best))
    assert run.result.final[metric] == best


# Recipes


def test_a_recipe_repeats_the_run_bit_for_bit(fit: Fit, photos: Path) -> None:
    first = fit(
        photos,
        "--augment",
        "strong",
        "--loss.label_smoothing",
        "0.1",
        "--accumulate",
        "2",
        "--batch-size",
        "4",
        "--seed",
        "5",
    )
    second = fit_config(first)
    other = fit_config(first, "--seed", "6")
    assert differing(first.last, second.last) == [] and differing(first.best, second.best) == []
    assert differing(first.last, other.last) != []


def fit_config(first: Run, *words: str) -> Run:
    out = first.path.parent / f"again{len(list(first.path.parent.iterdir()))}"
    assert cli.main(["fit", "--config", str(first.path / "recipe.yaml"), *words, "--out", str(out)]) == 0
    return Run(out)


def test_the_command_line_goes_before_the_recipe(base: Run, fit: Fit) -> None:
    run = fit_config(
        base, "--epochs", "1", "--loss.label_smoothing", "0.2", "--schedule", "StepLR", "--schedule.step_size", "2"
    )
    recipe = run.recipe
    assert run.result.updates == 3
    assert recipe.loss.options == {"label_smoothing": 0.2} and recipe.schedule.options == {"step_size": 2}
    assert (recipe.model, recipe.batch_size, recipe.lr) == (base.recipe.model, base.recipe.batch_size, base.recipe.lr)


def test_from_python_it_is_the_same_job(
    base: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = hone.finetune(
        photos,
        model="own_parts:normed",
        image_size=32,
        batch_size=8,
        updates=6,
        device="cpu",
        out=str(tmp_path / "run"),
        quiet=True,
    )
    assert differing(run.last, base.last) == [] and capsys.readouterr().out == ""


def test_python_hands_over_objects(photos: Path, tmp_path: Path) -> None:
    import own_parts

    from hone.schedules import CosineAnnealingLR, warmup

    shared: dict[str, Any] = {"image_size": 32, "batch_size": 8, "updates": 4, "device": "cpu", "quiet": True}
    run = hone.finetune(
        photos, model=own_parts.normed(), loss=nn.CrossEntropyLoss(label_smoothing=0.1), optimizer=torch.optim.SGD,
        schedule=warmup(1) >> CosineAnnealingLR(), out=str(tmp_path / "a"), **shared,
    )  # fmt: skip
    assert run.result.updates == 4 and run.recipe.weight_decay == 1e-4  # the class is recognised as SGD
    run = hone.finetune(
        photos, model=own_parts.normed, loss=lambda logits, target: nn.functional.cross_entropy(logits, target),
        schedule=lambda update: 1 / (1 + update), out=str(tmp_path / "b"), **shared,
    )  # fmt: skip
    assert run.result.updates == 4
