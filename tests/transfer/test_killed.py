"""Killed with SIGKILL inside every stage of gradual unfreezing, an architecture goes on as if nothing had happened.

The killed process trains, writes a checkpoint after each update, and dies in the middle of the update that it was told
to die in. Another one goes on from what it left on the disk, with nothing else in hand. All are forks of one clean
process that has loaded the libraries and done nothing yet.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Iterator
from multiprocessing.context import BaseContext
from pathlib import Path

import pytest
import torch
from torch import Tensor

from hone.training import Checkpoint, LoopState, list_checkpoints, read_checkpoint, save_checkpoint, updates
from hone.transfer import FreezePlan, apply_freeze, parameter_groups

from .architectures import ARCHITECTURES, built

PLAN = FreezePlan("head", stages={2: "last:1", 4: "all"})
TOTAL = 6
#: In the middle of the second update of each stage, its checkpoint not yet written.
KILLED_IN = (1, 3, 5)
#: Left out: their checkpoints are large, and their kinds of layers are in the others.
NAMES = sorted(ARCHITECTURES.keys() - {"resnet18", "mobilenet_v2"})


class DyingLoss:
    """Squared distance to 1; the process ends without a word at its nth call."""

    def __init__(self, call: int | None) -> None:
        self.call, self.calls = call, 0

    def __call__(self, logits: Tensor, target: Tensor) -> Tensor:
        if self.calls == self.call:
            os.kill(os.getpid(), signal.SIGKILL)
        self.calls += 1
        return (logits - target).square().mean()


def train(name: str, folder: Path, killed_in: int | None) -> None:
    """Begin, or go on from the newest checkpoint; leave ``end.pt`` at the end."""
    torch.set_num_threads(1)
    model, inputs = built(name)
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=1e-2, weight_decay=0.1))
    state = LoopState()
    if found := list_checkpoints(folder):
        checkpoint = read_checkpoint(found[-1])
        checkpoint.restore(model, optimizer)
        state = LoopState(checkpoint.state["update"], checkpoint.state["attempt"])
    criterion = DyingLoss(None if killed_in is None else killed_in - state.update)

    def batches(attempt: int) -> Iterator[tuple[Tensor, float]]:
        while True:
            noise = torch.randn(inputs.shape, generator=torch.Generator().manual_seed(attempt))
            yield inputs + noise, 1.0
            attempt += 1

    steps = updates(model, criterion, optimizer, batches, total_updates=TOTAL, plan=PLAN, seed=3, state=state)
    for _ in steps:
        counted = {"update": state.update, "attempt": state.attempt}
        save_checkpoint(folder, state.update, Checkpoint.of(model, optimizer, counted))
    torch.save(model.state_dict(), folder / "end.pt")


@pytest.fixture(scope="module")
def clean() -> Iterator[BaseContext]:
    """Forks of a process that has the libraries loaded, able to import this module."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["timm", "torchvision", "monai.networks.nets", "segmentation_models_pytorch", "hone"]
    )
    root = str(Path(__file__).parents[2])
    sys.path.insert(0, root)
    yield context
    sys.path.remove(root)


def in_a_fork(clean: BaseContext, name: str, folder: Path, killed_in: int | None) -> int:
    process = clean.Process(target=train, args=(name, folder, killed_in))  # type: ignore[attr-defined]
    process.start()
    process.join()
    code: int = process.exitcode
    return code


@pytest.mark.parametrize("name", NAMES)
def test_killed_in_every_stage_equals_never_killed(clean: BaseContext, name: str, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_a_fork(clean, name, whole, None) == 0
    for update in KILLED_IN:
        assert in_a_fork(clean, name, killed, update) == -signal.SIGKILL
        assert len(list_checkpoints(killed)) > 0 and not (killed / "end.pt").exists()
    assert in_a_fork(clean, name, killed, None) == 0
    end, expected = (torch.load(folder / "end.pt", weights_only=True) for folder in (killed, whole))
    assert all(torch.equal(end[key], expected[key]) for key in expected)
    source, _ = built(name)
    source.train()
    trained = apply_freeze(source, PLAN, TOTAL)
    assert any(not torch.equal(expected[key], source.state_dict()[key]) for key in trained)


def test_a_checkpoint_that_was_left_out_is_seen(clean: BaseContext, tmp_path: Path) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert in_a_fork(clean, "simple", whole, None) == 0
    assert in_a_fork(clean, "simple", killed, 3) == -signal.SIGKILL
    newest = list_checkpoints(killed)[-1]
    checkpoint = read_checkpoint(newest)
    checkpoint.state["attempt"] += 1  # another sample, another dropout
    save_checkpoint(killed, checkpoint.state["update"], checkpoint)
    assert in_a_fork(clean, "simple", killed, None) == 0
    end, expected = (torch.load(folder / "end.pt", weights_only=True) for folder in (killed, whole))
    assert not all(torch.equal(end[key], expected[key]) for key in expected)
