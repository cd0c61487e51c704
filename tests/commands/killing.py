"""Runs of the command in a process of their own, killed with SIGKILL once they have written a checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import pytest

from hone.recipe import Run
from hone.training import list_checkpoints


def start(own_folder: Path, words: list[str]) -> subprocess.Popen[str]:
    """``python -m hone WORDS`` in a process of its own."""
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        [sys.executable, "-m", "hone", *words], cwd=own_folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def wait_for_checkpoint(run: Run, process: subprocess.Popen[str], update: int) -> None:
    """Until a checkpoint of at least this update is there."""
    until = time.monotonic() + 90
    while time.monotonic() < until and process.poll() is None:
        if any(int(path.name.rpartition("-")[2]) >= update for path in list_checkpoints(run.checkpoints)):
            return
        time.sleep(0.02)
    pytest.fail(f"no checkpoint of update {update}: {process.communicate() if process.poll() is not None else ''}")


def killed_run(data: Path, words: Sequence[str], out: Path, own_folder: Path) -> Run:
    """Begin ``hone fit DATA WORDS --workers 1``, and kill it after its first checkpoint."""
    run = Run(out)
    process = start(own_folder, ["fit", str(data), *words, "--out", str(out), "--workers", "1"])
    wait_for_checkpoint(run, process, 1)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL and not run.last.exists()
    return run
