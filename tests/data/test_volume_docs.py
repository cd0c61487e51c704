"""The examples of docs/volumes.md run."""

from __future__ import annotations

import doctest
from pathlib import Path


def test_the_examples_of_the_documentation_run() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "volumes.md"
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.NORMALIZE_WHITESPACE)
    assert found.attempted >= 12 and found.failed == 0
