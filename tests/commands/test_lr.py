"""``hone lr``: the curve drawn is the one that training follows; ``--find`` finds what a known loss allows."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hone import cli
from hone.commands.lr import merged, never_trained
from hone.commands.range_test import RangeTest, has_blown_up, range_test, rising, smooth, smooth_both
from hone.recipe import Run, recipe_from
from hone.recipe.build import build_job
from hone.training import World, read_record
from hone.transfer import FreezePlan

Fit = Callable[..., Run]
SMALL = ["--model", "own_parts:normed", "--image-size", "32", "--batch-size", "8", "--device", "cpu"]


def lr(*words: str | Path) -> int:
    return cli.main(["lr", *map(str, words)])


def parts_of(photos: Path, **options: object) -> object:
    values = {"model": "own_parts:normed", "image_size": 32, "batch_size": 8, "device": "cpu", "lr": 1e-3}
    return build_job(recipe_from({"data": str(photos), **values, **options}), World())


# The curve


@pytest.mark.parametrize(
    "words",
    [
        ["--updates", "20"],
        ["--updates", "20", "--schedule", "OneCycleLR", "--lr", "1e-2"],
        ["--updates", "20", "--schedule", "StepLR", "--schedule.step_size", "2", "--layer-decay", "0.5"],
        ["--updates", "20", "--head-multiplier", "10", "--warmup", "3"],
    ],
)
def test_the_curve_is_what_training_records(fit: Fit, photos: Path, tmp_path: Path, words: list[str]) -> None:
    file = tmp_path / "rates.json"
    assert lr(photos, *SMALL, *words, "--json", file) == 0
    curves = json.loads(file.read_text())
    lines = [line for line in read_record(fit(photos, *words).path) if line["kind"] == "train"]
    assert lines
    for line in lines:
        for name, rate in line["lr"].items():
            drawn = curves.get(name, curves.get(name.removesuffix(" no decay")))
            assert rate == pytest.approx(drawn[line["update"] - 1], rel=1e-12)


def test_what_is_drawn_and_said(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    picture = tmp_path / "rates.svg"
    words = ["--updates", "20", "--train", "head", "--schedule", "OneCycleLR"]
    assert lr(photos, *SMALL, *words, "--out", picture) == 0
    said = capsys.readouterr().out
    assert "length     20 updates, 3 an epoch" in said
    assert "frozen     2 of 4 groups of parameters, in the whole run: not drawn" in said
    assert "━ head" in said and "━ trunk" not in said
    assert "momentum   0.95 at the start, 0.85 to 0.95" in said
    assert "\x1b" not in said
    assert "<svg" in picture.read_text()


def test_what_a_later_stage_trains_is_drawn(photos: Path) -> None:
    job = parts_of(photos, train="head")
    assert never_trained(job) == {"trunk", "trunk no decay"}
    job.plan = FreezePlan("head", stages={4: "norm"})
    assert never_trained(job) == {"trunk"}
    job.plan = FreezePlan("head", stages={4: "all"})
    assert never_trained(job) == set()


def test_without_data_the_length_is_stated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "rates.json"
    words = ["--updates", "12", "--updates-per-epoch", "4", "--schedule", "StepLR", "--schedule.step_size", "1"]
    assert lr(*SMALL, *words, "--lr", "1", "--json", file) == 0
    assert json.loads(file.read_text()) == {"lr": pytest.approx([1.0] * 4 + [0.1] * 4 + [0.01] * 4)}
    assert lr(*SMALL) == 2
    assert "DATA or --updates must be given" in capsys.readouterr().err


def test_a_plateau_is_drawn_as_if_it_never_triggered(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert lr(photos, *SMALL, "--updates", "6", "--schedule", "ReduceLROnPlateau") == 0
    assert "as if no reading ever triggered" in capsys.readouterr().out


def test_groups_are_merged_only_where_nothing_differs() -> None:
    drawn = {"trunk": [0.1], "trunk no decay": [0.2], "head": [1.0], "head no decay": [1.0]}
    assert list(merged(drawn)) == ["trunk", "trunk no decay", "head"]
    assert list(merged({"trunk no decay": [0.2]})) == ["trunk no decay"]


# The range test


def test_rates_and_average_by_hand() -> None:
    assert rising(1e-4, 1.0, 5) == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0])
    # The weights of the average, written out: 1, past, past^2, ..., normalised.
    losses = [3.0, 1.0, 4.0, 1.0]
    weights = [[0.9**age for age in range(k, -1, -1)] for k in range(4)]
    by_hand = [sum(w * x for w, x in zip(row, losses, strict=False)) / sum(row) for row in weights]
    assert smooth(losses) == pytest.approx(by_hand)
    assert smooth_both([1.0, 9.0], ceiling=3.0, near=0.5) == pytest.approx([(1 + 1.5) / 1.5, (0.5 + 3) / 1.5])


def test_the_average_that_is_shown_does_not_lag() -> None:
    """A fall in the middle is seen in the middle; the average of the past alone, the wrong variant, sees it later."""
    losses = [2.0 - 1.5 / (1 + math.exp(-(k - 30))) for k in range(61)]
    rates = rising(1e-6, 1.0, 61)
    late = RangeTest(rates, losses, smooth(losses), diverged=False)
    assert RangeTest(rates, losses, smooth_both(losses), diverged=False).steepest == pytest.approx(1e-3)
    assert late.steepest > 1.2e-3


def test_suggestions_on_a_curve_that_is_known() -> None:
    rates = rising(1e-6, 1.0, 61)  # ten rates a decade
    # Flat, a fall around 1e-3 (a logistic in the logarithm), its end at 1e-2, then a rise.
    at = [math.log10(rate) for rate in rates]
    losses = [2.0 - 1.5 / (1 + math.exp(-8 * (x + 3))) + max(0.0, x + 2) for x in at]
    test = RangeTest(rates, losses, losses, diverged=True)
    assert test.steepest == pytest.approx(1e-3, rel=0.01)
    assert test.tenth_of_lowest == pytest.approx(1e-3, rel=0.6)
    assert test.suggestion == test.steepest
    # The loss falls fastest right before it blows up: that is no rate to train at.
    cliff = [2.0] * 40 + [1.0] + [9.0] * 20
    sudden = RangeTest(rates, cliff, cliff, diverged=True)
    assert sudden.steepest > rates[sudden.lowest] / 3
    assert sudden.suggestion == sudden.tenth_of_lowest == rates[40] / 10
    assert RangeTest(rates, at, at, diverged=False).fell is False  # it only ever rises


def test_loss_is_paired_with_the_rate_that_led_to_it(photos: Path) -> None:
    """One weight, loss = weight, gradient 1, plain SGD: after k updates the loss is minus the sum of k rates."""

    class Slope(nn.Module):
        def forward(self, logits: Tensor, target: Tensor) -> Tensor:
            return logits.mean()

    class Weight(nn.Sequential):
        def forward(self, inputs: Tensor) -> Tensor:
            return self[0](inputs.new_ones(len(inputs), 1))

    job = parts_of(photos, optimizer="SGD", max_norm=0.0, weight_decay=0.0, precision="fp32")
    job.target = type(job.target)(**{**vars(job.target), "model": Weight(nn.Linear(1, 1, bias=False))})
    torch.nn.init.zeros_(job.model[0].weight)
    job.plan = FreezePlan("all")
    job.criterion = Slope()
    job.optimizer = torch.optim.SGD(job.model.parameters(), lr=1e-3)
    test = range_test(job, lowest=1e-3, highest=1.0, steps=7)
    total, sums = 0.0, []
    for rate in rising(1e-3, 1.0, 7):
        total -= rate
        sums.append(total)
    assert test.losses == pytest.approx(sums, rel=1e-5)
    assert test.rates == pytest.approx(rising(1e-3, 1.0, 7))
    # The wrong pairing, of a rate with the loss before its own update, is caught.
    assert test.losses != pytest.approx([0.0, *sums[:-1]], rel=1e-5)


def test_stops_when_the_loss_blows_up(photos: Path) -> None:
    test = range_test(parts_of(photos, optimizer="SGD", max_norm=0.0), lowest=1e-3, highest=1e6, steps=40)
    assert test.diverged
    assert len(test.rates) == len(test.losses) < 40
    assert all(map(math.isfinite, test.losses))
    assert has_blown_up([1.0, 0.5, 2.1]) and not has_blown_up([1.0, 0.5, 1.9])


@pytest.mark.parametrize("options", [{"precision": "bf16"}, {"precision": "fp16"}, {"accumulate": 2}])
def test_every_precision_and_frozen_parts(photos: Path, options: dict[str, object]) -> None:
    job = parts_of(photos, train="head", **options)
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    test = range_test(job, lowest=1e-4, highest=1e-1, steps=6)
    assert len(test.losses) == 6
    changed = {name for name, value in job.model.state_dict().items() if not torch.equal(value, before[name])}
    head = {name for name in before if name.startswith("9.")}
    assert changed == head  # the frozen trunk, its batch statistics included, is bit for bit as it was


def test_find_says_what_it_suggests(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    file, picture = tmp_path / "find.json", tmp_path / "find.png"
    words = ["--find", "--steps", "40", "--lr", "1e-3", "--json", file, "--out", picture]
    assert lr(photos, *SMALL, *words) == 0
    said = capsys.readouterr().out
    found = json.loads(file.read_text())
    assert f"suggested  --lr {found['suggestion']:.1e}" in said
    assert found["suggestion"] in (found["steepest"], found["tenth_of_lowest"])
    assert picture.stat().st_size > 1000
    assert not Path("runs").exists()  # nothing but what was asked for is written


def test_find_leaves_a_run_as_it_was(fit: Fit, photos: Path) -> None:
    run = fit(photos)
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert lr(photos, *SMALL[2:], "--from", run.path, "--find", "--steps", "6") == 0
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--find"], "DATA must be given"),
        (["PHOTOS", "--find", "--lowest", "1", "--highest", "0.1"], "highest must be a finite number above 1, got 0.1"),
        (["PHOTOS", "--find", "--steps", "1"], "steps must be a whole number at least 2, got 1"),
        (["PHOTOS", "--out", "rates.gif"], "path must end in one of .png, .svg, .pdf"),
        (["PHOTOS", "--finde"], "option '--finde' is not known; did you mean --find"),
    ],
)
def test_bad_input_is_one_line(
    photos: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert lr(*SMALL, *[str(photos) if word == "PHOTOS" else word for word in words]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
