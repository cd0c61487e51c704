"""The examples of docs/video.md run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest


def test_the_examples_of_the_documentation_run() -> None:
    pytest.importorskip("av")
    page = Path(__file__).resolve().parents[2] / "docs" / "video.md"
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted > 20 and found.failed == 0
