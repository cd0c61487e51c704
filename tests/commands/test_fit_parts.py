"""``hone fit``: every loss, schedule, optimizer and precision, by the command line."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from hone import cli
from hone.recipe import Run
from hone.training import read_record

Fit = Callable[..., Run]


def rates(run: Run) -> list[float]:
    """The base group's rate in each train line."""
    return [max(line["lr"].values()) for line in read_record(run.path) if line["kind"] == "train"]


@pytest.mark.parametrize(
    "words",
    [
        ("--loss.label_smoothing", "0.1", "--class-weights", "auto"),
        ("--loss", "FocalLoss", "--loss.gamma", "3"),
        ("--loss", "MultiMarginLoss", "--class-weights", "auto"),
        ("--loss", "own_parts:margin_loss", "--loss.margin", "0.5"),
        ("--loss", "own_parts:ScaledLoss", "--loss.factor", "2"),
        ("--augment", "strong", "--class-weights", "auto"),
        ("--sampler", "balanced", "--augment", "none"),
    ],
    ids=" ".join,
)
def test_losses_and_samplers(fit: Fit, photos: Path, words: tuple[str, ...]) -> None:
    run = fit(photos, *words)
    assert run.result.updates == 6 and math.isfinite(run.result.final["loss"])


def test_a_scaled_loss_is_scaled(fit: Fit, photos: Path) -> None:
    """The argument arrives: at rate 0 twice the loss is twice the number."""
    one, two = (
        fit(photos, "--loss", "own_parts:ScaledLoss", "--loss.factor", factor, "--lr", "1e-12", "--updates", "1")
        for factor in ("1", "2")
    )
    assert two.result.final["loss"] == pytest.approx(2 * one.result.final["loss"], rel=1e-6)


def test_the_last_word_on_the_loss_is_the_one_that_training_saw(fit: Fit, photos: Path) -> None:
    """Class weights included, whether the outputs are at hand or the best weights are read again."""
    run = fit(photos, "--class-weights", "auto")
    best = next(line for line in reversed(read_record(run.path)) if line["kind"] == "eval" and line["best"])
    assert run.result.final["loss"] == pytest.approx(best["metrics"]["loss"], rel=1e-6)
    whole = run.result.final
    (run.path / "result.json").unlink()
    assert cli.main(["fit", "--resume", str(run.path)]) == 0
    assert run.result.final == whole


def test_class_weights_weigh_by_the_inverse_of_the_count() -> None:
    from hone.data import Examples
    from hone.recipe.kinds.photos import class_weights

    examples = Examples([""] * 8, torch.tensor([0] * 5 + [1] * 2 + [2]), ["a", "b", "c"])
    assert class_weights(examples).tolist() == pytest.approx([8 / 15, 8 / 6, 8 / 3])


def torch_one_cycle() -> list[float]:
    """Torch's own factors of six updates from 0.03, on a base rate of 0.01."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.01, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=3e-2, total_steps=6)
    factors: list[float] = []
    for _ in range(6):
        factors.append(optimizer.param_groups[0]["lr"] / 0.01)
        if len(factors) < 6:
            optimizer.step()
            scheduler.step()
    return factors


# Schedules: the ten classics of torch, and one's own


#: ``--schedule`` -> the factor on the rate at each of six updates, three an epoch.
SCHEDULES: dict[str, list[float]] = {
    "LambdaLR --schedule.lr_lambda own_parts:half --schedule.interval update": [0.5**k for k in range(6)],
    "MultiplicativeLR --schedule.lr_lambda own_parts:nine_tenths": [1, 1, 1, 0.9, 0.9, 0.9],
    "StepLR --schedule.step_size 1 --schedule.gamma 0.5": [1, 1, 1, 0.5, 0.5, 0.5],
    "MultiStepLR --schedule.milestones [1] --schedule.gamma 0.5": [1, 1, 1, 0.5, 0.5, 0.5],
    "ExponentialLR --schedule.gamma 0.5": [1, 1, 1, 0.5, 0.5, 0.5],
    "CosineAnnealingLR": [(1 + math.cos(math.pi * k / 6)) / 2 for k in range(6)],
    "ReduceLROnPlateau --schedule.patience 3": [1] * 6,
    "CyclicLR --schedule.base_lr 0.01 --schedule.max_lr 0.03 --schedule.step_size_up 2": [1, 2, 3, 2, 1, 2],
    "OneCycleLR --schedule.max_lr 3e-2": torch_one_cycle(),
    "CosineAnnealingWarmRestarts --schedule.T_0 1": [1] * 6,
    "CosineAnnealingWarmRestarts --schedule.T_0 2 --schedule.interval update": [1, 0.5, 1, 0.5, 1, 0.5],
    "own_parts:half": [0.5**k for k in range(6)],
    "own_parts:Halving --schedule.every 2": [1, 1, 0.5, 0.5, 0.25, 0.25],
}


@pytest.mark.parametrize("words", SCHEDULES)
def test_schedules(fit: Fit, photos: Path, words: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hone.recipe.run._TELL_EVERY", 1)
    sgd = ("--optimizer", "SGD", "--optimizer.momentum", "0.9", "--lr", "0.01", "--head-multiplier", "1")
    run = fit(photos, "--schedule", *words.split(), *sgd)
    assert rates(run) == pytest.approx([0.01 * factor for factor in SCHEDULES[words]], rel=1e-9)


def test_a_warmup_goes_before_any_schedule(fit: Fit, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hone.recipe.run._TELL_EVERY", 1)
    for words in (
        ("StepLR", "--schedule.step_size", "9"),
        ("own_parts:Halving", "--schedule.every", "9"),
        ("ReduceLROnPlateau",),
    ):
        run = fit(photos, "--schedule", *words, "--warmup", "3", "--lr", "0.01")
        assert rates(run)[0] < rates(run)[1] < rates(run)[3] == rates(run)[5]


def test_a_plateau_follows_the_metric_upwards(fit: Fit, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Accuracy that grows is no plateau; accuracy that stays is one."""
    monkeypatch.setattr("hone.recipe.run._TELL_EVERY", 1)
    words = (
        "--schedule",
        "ReduceLROnPlateau",
        "--schedule.patience",
        "0",
        "--schedule.factor",
        "0.5",
        "--eval-every",
        "2",
    )
    run = fit(photos, *words, "--lr", "1e-7")
    assert run.recipe.schedule.options["mode"] == "max"
    assert rates(run)[0] == rates(run)[3] == 2 * rates(run)[4]


# Optimizers and precision


@pytest.mark.parametrize(
    "name", ["Adadelta", "Adafactor", "Adagrad", "Adam", "Adamax", "ASGD", "NAdam", "RAdam", "RMSprop", "Rprop", "SGD"]
)
def test_optimizers(fit: Fit, photos: Path, name: str) -> None:
    run = fit(photos, "--optimizer", name, "--updates", "3")
    assert run.result.updates == 3 and run.recipe.optimizer.name == name


def test_other_optimizers_take_their_librarys_own_rate(fit: Fit, photos: Path) -> None:
    assert fit(photos, "--optimizer", "Adadelta", "--updates", "1").recipe.lr == 1.0


def test_half_precision_on_the_cpu(fit: Fit, photos: Path) -> None:
    run = fit(photos, "--model", "own_parts:linear", "--precision", "fp16", "--updates", "12")
    assert run.result.precision == "fp16" and run.result.updates == 12
    assert run.result.attempts == 12 + run.result.skipped
