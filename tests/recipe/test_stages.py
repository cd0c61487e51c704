"""Gradual unfreezing through the recipe: stopped and resumed inside each stage, it is the uninterrupted run."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import Dataset

import hone
from hone.recipe.training_plan import parse_plan


class Noise(Dataset[tuple[Tensor, int]]):
    """Random images of two classes."""

    classes = ("a", "b")

    def __len__(self) -> int:
        return 32

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return torch.randn(3, 8, 8, generator=torch.Generator().manual_seed(row)), row % 2


def network() -> nn.Module:
    torch.manual_seed(0)

    def block(inputs: int) -> nn.Sequential:
        return nn.Sequential(nn.Conv2d(inputs, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Dropout(0.3))

    return nn.Sequential(block(3), block(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2))


class StopAt(nn.Module):
    """A loss that asks the process to stop at its nth call in training."""

    def __init__(self, call: int | None) -> None:
        super().__init__()
        self.call, self.calls = call, 0

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        if logits.requires_grad:
            self.calls += 1
            if self.calls == self.call:
                signal.raise_signal(signal.SIGTERM)
        return nn.functional.cross_entropy(logits, target)


def options(out: Path, stop: int | None) -> dict[str, object]:
    return {
        "model": network(),
        "loss": StopAt(stop),
        "train": "head; 3: last:1; 6: all",
        "updates": 9,
        "eval_every": 4,
        "batch_size": 8,
        "lr": 0.05,
        "norm": "follow",
        "head": "random",
        "out": str(out),
        "quiet": True,
    }


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> hone.Run:
    run: hone.Run = hone.finetune(Noise(), val=Noise(), **options(tmp_path_factory.mktemp("whole") / "run", None))
    return run


@pytest.mark.parametrize("stop", [2, 3, 5, 6, 8])
def test_stopped_inside_a_stage_and_resumed(whole: hone.Run, tmp_path: Path, stop: int) -> None:
    first = hone.finetune(Noise(), val=Noise(), **options(tmp_path / "run", stop))
    assert first.result.interrupted
    assert first.result.updates == stop
    resumed = hone.finetune(Noise(), val=Noise(), resume=first.path, model=network(), loss=StopAt(None), quiet=True)
    assert resumed.result.updates == 9
    left, right = load_file(whole.last), load_file(resumed.last)
    assert [name for name in left if not torch.equal(left[name], right[name])] == []


def test_each_stage_moves_what_it_names_only(tmp_path: Path) -> None:
    before = {name: value.clone() for name, value in network().state_dict().items()}
    run = hone.finetune(Noise(), val=Noise(), **options(tmp_path / "run", 5))  # stopped in the second stage
    after = load_file(sorted(run.checkpoints.glob("*/model.safetensors"))[-1])
    moved = {name.split(".")[0] for name, value in after.items() if not torch.equal(value, before[name])}
    assert moved == {"1", "4"}


@pytest.mark.parametrize("text", ["head; all", "head; x: all", "head; 1.5: all", "head;"])
def test_a_stage_without_its_update(text: str) -> None:
    with pytest.raises(ValueError, match="train must have stages as UPDATE: PATTERNS"):
        parse_plan(text)


def test_a_stage_that_matches_nothing_is_said_before_the_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="decoder"):
        hone.finetune(Noise(), val=Noise(), **{**options(tmp_path / "run", None), "train": "head; 5: decoder.*"})
    assert not (tmp_path / "run").exists()
