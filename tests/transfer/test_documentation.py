"""The documentation's examples run."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

GUIDE = Path(__file__).resolve().parents[2] / "docs" / "transfer.md"


def test_examples_of_the_guide() -> None:
    pytest.importorskip("peft")
    result = doctest.testfile(str(GUIDE), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 20 and result.failed == 0


def test_examples_of_the_guide_to_strategies() -> None:
    result = doctest.testfile(str(GUIDE.with_name("strategy.md")), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert result.attempted > 10 and result.failed == 0
