"""``hone doctor``: a module made to overflow is found on real batches, and the advice holds in a run."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from hone import cli
from hone.commands.doctor import examine
from hone.recipe import Run, recipe_from
from hone.recipe.build import build_job
from hone.training import World

Fit = Callable[..., Run]
OPTIONS = ["--image-size", "32", "--batch-size", "8", "--device", "cpu"]

SICK_PARTS = '''
import torch
from torch import nn


class Detour(nn.Module):
    """Exact in float32; inf in fp16."""
    def forward(self, x):
        return x * 1e7 / 1e7


def network(detours=1):
    # A convolution behind each detour: its output is half precision again.
    middle = [part for _ in range(detours) for part in (Detour(), nn.Conv2d(8, 8, 1))]
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), *middle, nn.AdaptiveAvgPool2d(2), nn.Flatten(),
                         nn.Linear(32, 10))


class Infinite(nn.Module):
    def forward(self, logits, target):
        return nn.functional.cross_entropy(logits.float(), target) / 0.0
'''


@pytest.fixture(autouse=True)
def _sick_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "parts").mkdir()
    (tmp_path / "parts" / "sick_parts.py").write_text(SICK_PARTS)
    monkeypatch.syspath_prepend(str(tmp_path / "parts"))


def doctor(*words: str | Path) -> int:
    return cli.main(["doctor", *map(str, words)])


def test_a_sound_model(photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "doctor.json"
    picture = tmp_path / "doctor.png"
    assert doctor(photos, "--model", "own_parts:normed", *OPTIONS, "--json", file, "--out", picture) == 0
    said = capsys.readouterr().out
    assert "looked at  16 photos in 2 batches" in said
    assert [line.split()[:2] for line in said.splitlines() if line[:4] in ("fp32", "bf16", "fp16")] == [
        ["fp32", "yes"],
        ["bf16", "yes"],
        ["fp16", "yes"],
    ]
    assert "take       --precision bf16" in said
    found = json.loads(file.read_text())
    assert found["recommended"] == "bf16" and len(found["verdicts"]) == 3
    assert {path.name for path in tmp_path.glob("*.png")} == {"doctor-bf16.png", "doctor-fp16.png"}


def test_the_fault_and_its_cure(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "sick_parts:network", "--precision", "fp16", *OPTIONS]
    assert doctor(photos, *words, "--layers") == 0
    said = capsys.readouterr().out
    fp16 = next(line for line in said.splitlines() if line.startswith("fp16"))
    assert fp16.split()[1] == "no" and "overflow in 2, mul (forward)" in fp16
    assert "is safe with --precision fp16 --keep-fp32 2" in said
    assert "take       --precision fp32" in said
    assert "bf16" not in said  # only what was asked about
    assert "in fp16" in said and "2 " in said


def test_the_advice_holds_in_a_run(fit: Fit, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    sick = ["--model", "sick_parts:network", "--precision", "fp16"]
    run = fit(photos, *sick, "--keep-fp32", "2")
    assert "fp16 but 2, " in capsys.readouterr().out
    assert run.recipe.keep_fp32 == ("2",)
    assert run.result.skipped == 0
    assert cli.main(["evaluate", str(run.path), str(photos), "--device", "cpu"]) == 0
    measured = float(capsys.readouterr().out.split("loss")[1].split()[0])
    assert measured == pytest.approx(run.result.final["loss"], abs=1e-4)  # evaluated in the same numbers
    assert cli.main(["fit", str(photos), *sick, *OPTIONS, "--updates", "3", "--out", str(run.path.parent / "bad")]) == 2


def test_several_modules_and_none_that_matches(
    fit: Fit, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--model", "sick_parts:network", "--model.detours", "2", "--precision", "fp16"]
    run = fit(photos, *words, "--keep-fp32", "2", "--keep-fp32", "4")
    again = tmp_path / "again"
    assert cli.main(["fit", "--config", str(run.path / "recipe.yaml"), "--out", str(again)]) == 0
    assert Run(again).recipe.keep_fp32 == ("2", "4")
    capsys.readouterr()
    assert cli.main(["fit", str(photos), *words, "--keep-fp32", "norm*", *OPTIONS, "--out", str(tmp_path / "x")]) == 2
    assert "keep_fp32 pattern 'norm*' is not known" in capsys.readouterr().err


def test_modules_are_advised_together_and_only_if_they_cure(photos: Path) -> None:
    values = {"model": {"name": "sick_parts:network", "detours": 2}, "image_size": 32, "batch_size": 8}
    job = build_job(recipe_from({"data": str(photos), "device": "cpu", **values}), World())
    before = {name: value.clone() for name, value in job.model.state_dict().items()}
    batches = [batch for _, batch in zip(range(2), job.train.batches(0), strict=False)]
    diagnosis = examine(job, batches, ["bf16", "fp16"])
    assert diagnosis["fp16"].keep_fp32 == ("2", "4")
    assert diagnosis["bf16"].safe
    after = job.model.state_dict()
    assert all(torch.equal(after[name], value) for name, value in before.items())
    assert all(p.grad is None for p in job.model.parameters())


def test_the_worst_batch_counts(photos: Path) -> None:
    """One harmless batch, one that overflows: the format is not safe."""
    values = {"model": "sick_parts:network", "image_size": 32, "batch_size": 8, "device": "cpu"}
    job = build_job(recipe_from({"data": str(photos), **values}), World())
    inputs, target = next(job.train.batches(0))
    faint = inputs * 1e-6
    with torch.no_grad():
        job.model[0].bias.zero_()
    assert examine(job, [(faint, target)], ["fp16"])["fp16"].safe
    for batches in ([(faint, target), (inputs, target)], [(inputs, target), (faint, target)]):
        assert not examine(job, batches, ["fp16"])["fp16"].safe


def test_float32_itself_is_not_finite(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert doctor(photos, "--model", "own_parts:plain", "--loss", "sick_parts:Infinite", *OPTIONS) == 0
    said = capsys.readouterr().out
    assert "take       no format yet" in said
    assert "in float32 too" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "data must be given"),
        (["PHOTOS", "--batches", "0"], "batches must be a whole number at least 1, got 0"),
        (["PHOTOS", "--model", "sick_parts:absent"], "'absent' is not known"),
    ],
)
def test_bad_input_is_one_line(
    photos: Path, words: list[str], message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert doctor(*[str(photos) if word == "PHOTOS" else word for word in words], *OPTIONS) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1
