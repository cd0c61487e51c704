"""``torchrun --nproc-per-node 2 -m hone fit``: the run of one process, by two (gloo)."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from hone.recipe import Run
from hone.training import list_checkpoints, read_record

from .conftest import small_words

#: Neither batch norm nor dropout, so that one process and two compute the same; augmentation and mixing are the same
#: anyway, sample by sample. 11 photos validate: an odd number.
WORDS = ("--model", "own_parts:plain", "--augment", "strong", "--accumulate", "2", "--batch-size", "4", "--lr", "0.01")
WORDS += ("--precision", "fp32")


@pytest.fixture(scope="module")
def one(fit: Callable[..., Run], photos: Path) -> Run:
    return fit(photos, *WORDS)


@pytest.fixture(scope="module")
def two(own_folder: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Run, str]:
    """The same by two processes, and what they printed."""
    run = Run(tmp_path_factory.mktemp("two") / "run")
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [*torchrun, "-m", "hone", *small_words(photos, run.path, *WORDS)],
        cwd=own_folder, env=environment, text=True, capture_output=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return run, done.stdout


def test_same_updates_rates_and_losses(one: Run, two: tuple[Run, str]) -> None:
    mine, theirs = ([x for x in read_record(run.path) if x["kind"] == "train"] for run in (one, two[0]))
    assert [line["update"] for line in mine] == [line["update"] for line in theirs]
    assert [line["lr"] for line in mine] == [line["lr"] for line in theirs]
    assert [line["loss"] for line in theirs] == pytest.approx([line["loss"] for line in mine], rel=1e-6)
    assert [line["grad_norm"] for line in theirs] == pytest.approx([line["grad_norm"] for line in mine], rel=1e-4)


def test_same_weights(one: Run, two: tuple[Run, str]) -> None:
    mine, theirs = load_file(one.last), load_file(two[0].last)
    assert mine.keys() == theirs.keys()
    for name in mine:
        torch.testing.assert_close(theirs[name], mine[name], rtol=0, atol=1e-5)


def test_every_validation_photo_counts_once(one: Run, two: tuple[Run, str]) -> None:
    mine, theirs = ([x["metrics"] for x in read_record(run.path) if x["kind"] == "eval"] for run in (one, two[0]))
    assert len(mine) == len(theirs) == 2
    for a, b in zip(mine, theirs, strict=True):
        assert b == pytest.approx(a, rel=1e-5)
    confusion = two[0].result.confusion
    assert confusion is not None and sum(map(sum, confusion)) == 11 and confusion == one.result.confusion


def test_the_first_process_alone_writes_and_speaks(one: Run, two: tuple[Run, str]) -> None:
    run, said = two
    assert said.count("data  ") == said.count("report  ") == 1 and "2, each with 2 of a batch of 4" in said
    names = [path.name for path in run.path.iterdir()]
    assert sum(name.startswith("events.out") for name in names) == 1 and "result.json" in names
    assert not [name for name in names if name.endswith((".draft", ".part"))]
    lines = (run.path / "metrics.jsonl").read_text().splitlines()
    assert len(lines) == len((one.path / "metrics.jsonl").read_text().splitlines())
    assert all(json.loads(line) for line in lines)
    assert [path.name for path in list_checkpoints(run.checkpoints)] == [
        path.name for path in list_checkpoints(one.checkpoints)
    ]
