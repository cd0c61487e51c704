"""``hone plan``: what is measured, what is taken, what is remembered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from hone import cli
from hone.commands import plan as verb
from hone.commands.plan import affordable, plans_for
from hone.precision import Measurement, Plan, PlanTable
from hone.precision.measure import ROUNDS
from hone.recipe import Recipe, Run, recipe_from

CPU = torch.device("cpu")
OPTIONS = ["--model", "own_parts:normed", "--image-size", "32", "--batch-size", "4", "--device", "cpu"]


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Nothing is remembered in the user's own cache."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    return tmp_path / "xdg" / "hone" / "plans.json"


def plan(*words: str | Path) -> int:
    return cli.main(["plan", *map(str, words)])


def test_measures_takes_and_remembers(
    photos: Path, tmp_path: Path, own_cache: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "plan.json"
    stated = ["--precision", "fp32", "--layout", "contiguous", "--batch-sizes", "4"]
    words = [photos, *OPTIONS, *stated, "--seconds", "1", "--checkpointing", "--json", file]
    assert plan(*words) == 0
    said = capsys.readouterr().out
    table = json.loads(file.read_text())
    best = Plan(**table["best"])
    layout = "channels_last" if best.channels_last else "contiguous"
    assert f"take       --precision fp32 --layout {layout} --batch-size {best.batch_size}" in said
    assert said.count("<- taken") == 1
    assert "measuring" in said and "checkpointing" in said and "compile" not in said
    assert own_cache.is_file()
    assert plan(*words) == 0
    said = capsys.readouterr().out
    assert "remembered" in said and "measuring" not in said
    assert json.loads(file.read_text()) == table
    assert plan(*words, "--again") == 0
    assert "measuring" in capsys.readouterr().out
    assert plan(*words[:-1], tmp_path / "other.json", "--train", "head") == 0  # another question
    assert "measuring" in capsys.readouterr().out


def test_what_the_user_stated_is_not_varied() -> None:
    recipe = recipe_from({"data": "", "precision": "bf16", "layout": "channels_last", "batch_size": 8})
    plans = plans_for(recipe, CPU, [4, 8], compiled=False, checkpointing=False)
    assert plans == [
        Plan(kind="bf16", channels_last=True, batch_size=8),
        Plan(kind="bf16", channels_last=True, batch_size=4),
    ]


def test_everything_is_varied_where_it_is_asked_for() -> None:
    plans = plans_for(recipe_from({"data": "", "precision": "fp32"}), CPU, [32, 64], compiled=True, checkpointing=True)
    assert len(set(plans)) == 2 * 2 * 2 * 2
    assert plans[0] == Plan(batch_size=32)
    assert [plan.batch_size for plan in plans] == [32] * 8 + [64] * 8  # the larger batch is what is left out first


@pytest.mark.parametrize("seconds", [0.5, 3.0, 10.0, 1000.0])
def test_the_time_is_kept(seconds: float) -> None:
    plans = plans_for(recipe_from({"data": "", "precision": "fp32"}), CPU, [32, 64], compiled=False, checkpointing=True)
    chosen, steps = affordable(plans, 0.005, seconds)
    assert chosen == plans[: len(chosen)] and 2 <= steps <= 10

    def cost(count: int, steps: int) -> float:
        return ROUNDS * (steps + 1) * 0.005 * sum(plan.batch_size for plan in plans[:count])

    assert cost(len(chosen), steps) <= seconds or (len(chosen), steps) == (2, 2)
    if len(chosen) < len(plans):  # one more would not have fitted
        assert cost(len(chosen) + 1, 2) > seconds


def test_a_plan_that_fails_says_why(capsys: pytest.CaptureFixture[str]) -> None:
    good = Measurement(Plan(batch_size=8), 20.0, 19.0, 21.0, 3 << 20)
    bad = Measurement(Plan(channels_last=True, batch_size=16), 0.0, 0.0, 0.0, None, "out of memory")
    verb._show(PlanTable((good, bad)), 8)
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].split() == ["fp32", "contiguous", "8", "20.0", "19.0–21.0", "3", "<-", "taken"]
    assert lines[2].endswith("out of memory")
    verb._show(PlanTable((good,)), 4)
    assert "another batch than 4 is another training" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data must be given"),
        (["PHOTOS", "--batch-sizes", "8,x"], "batch-sizes must be whole numbers with commas between them, got '8,x'"),
        (["PHOTOS", "--batch-sizes", "0"], "batch-sizes must be a whole number at least 1, got 0"),
        (["PHOTOS", "--seconds", "0"], "seconds must be a finite number above 0"),
    ],
)
def test_bad_input_is_one_line(
    photos: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert plan(*[str(photos) if word == "PHOTOS" else word for word in words], *OPTIONS) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_fit_takes_what_was_measured_and_keeps_what_is_stated(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fit(name: str, *words: str) -> Recipe:
        run = tmp_path / name
        assert cli.main(["fit", str(photos), *OPTIONS, "--updates", "1", "--out", str(run), *words]) == 0
        return Run(run).recipe

    assert fit("before").layout == "channels_last"
    words = ["--layout", "contiguous", "--precision", "fp32", "--batch-sizes", "4", "--checkpointing", "--seconds", "1"]
    assert plan(photos, *OPTIONS, *words) == 0
    after = fit("after")
    taken = "--checkpointing" in capsys.readouterr().out.partition("take")[2]
    assert after.layout == "contiguous" and bool(after.checkpointing) == taken
    assert fit("stated", "--layout", "channels_last", "--no-checkpointing").layout == "channels_last"
    assert fit("other", "--batch-size", "3").layout == "channels_last"


def test_the_largest_batch_that_fits_keeps_the_samples_of_an_update(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory for three samples: of 8, the largest equal parts are 4 micro-batches of 2."""
    from hone.precision import measure

    real = measure.prepared

    def short_of_memory(model: Any, batch: Any, loss: Any, plan: Plan, optimizer: Any) -> Any:
        if plan.batch_size > 3:
            raise torch.OutOfMemoryError("out of memory")
        return real(model, batch, loss, plan, optimizer)

    monkeypatch.setattr(measure, "prepared", short_of_memory)
    words = ["--model", "own_parts:plain", "--image-size", "32", "--updates", "4", "--device", "cpu", "--no-pretrained"]
    words += ["--precision", "fp32"]
    run, whole = tmp_path / "run", tmp_path / "whole"
    assert cli.main(["fit", str(photos), *words, "--batch-size", "8", "--fit-batch", "--out", str(run)]) == 0
    assert cli.main(["fit", str(photos), *words, "--batch-size", "8", "--out", str(whole)]) == 0
    recipe = Run(run).recipe
    assert (recipe.batch_size, recipe.accumulate, recipe.fit_batch) == (2, 4, False)
    ours, expected = Run(run).weights(), Run(whole).weights()
    assert all(torch.allclose(ours[name], expected[name], atol=1e-5) for name in expected)
    assert Run(run).result.updates == Run(whole).result.updates == 4


def test_batch_size_auto_is_the_default_size(photos: Path, tmp_path: Path) -> None:
    words = ["--model", "own_parts:plain", "--image-size", "32", "--updates", "1", "--device", "cpu"]
    assert cli.main(["fit", str(photos), *words, "--batch-size", "auto", "--out", str(tmp_path / "run")]) == 0
    recipe = Run(tmp_path / "run").recipe
    assert (recipe.batch_size, recipe.accumulate) == (32, 1)
    assert cli.main(["fit", str(photos), *words, "--batch-size", "many", "--out", str(tmp_path / "two")]) == 2
