"""Shared by all tests: one thread a process (two processes run side by side), and where the real data lies."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch

torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def _cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Decoded photos and measured plans go to a folder that is deleted, not to the user's cache."""
    os.environ["HONE_CACHE"] = str(tmp_path_factory.mktemp("cache"))


SHARED = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real photos, masks, volumes and weights; a test that needs it skips where it is not."""
    if not SHARED.is_dir():
        pytest.skip(f"real data is not here ({SHARED})")
    return SHARED
