"""Freed memory stays with the process: page faults, counted in processes of their own."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

STEPS = """
import resource, torch
{first}
def step():
    activations = [torch.ones(3 << 20) for _ in range(8)]  # 12 MiB each
for _ in range(3):
    step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""
KEEP = "from hone.precision import keep_freed_memory; print(keep_freed_memory())"
COMMAND = "from hone.cli import main; main(['compare', 'nowhere'])"

glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="another allocator than glibc's")


def said(first: str, **environment: str) -> list[str]:
    """What ten steps print after a first line."""
    stated = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_", "THP_"))}
    command = [sys.executable, "-c", STEPS.format(first=first)]
    found = subprocess.run(command, env=stated | environment, check=True, capture_output=True, text=True)
    return found.stdout.split()


@glibc
@pytest.mark.parametrize("first", [KEEP, COMMAND])
def test_a_loop_asks_the_system_for_nothing_again(first: str) -> None:
    assert int(said(first)[-1]) < 100


@glibc
@pytest.mark.parametrize("name", ["MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_"])
def test_what_the_environment_states_is_left(name: str) -> None:
    kept, faults = said(KEEP, **{name: "131072"})
    assert kept == "False"
    # Every block from the system and back: 96 MiB in pages of 4 KiB are 24,576 a step.
    assert int(faults) > 100_000 or name == "MALLOC_TRIM_THRESHOLD_"


def test_other_systems_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    from hone.precision import keep_freed_memory

    monkeypatch.setattr(sys, "platform", "darwin")
    assert keep_freed_memory() is False
