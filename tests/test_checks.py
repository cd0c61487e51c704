from __future__ import annotations

import math

import pytest

from hone import checks


@pytest.mark.parametrize("value", [0, -1, math.nan, math.inf])
def test_number_out_of_bounds_names_argument_rule_and_value(value: float) -> None:
    with pytest.raises(ValueError, match=r"lr must be a finite number above 0, got"):
        checks.number("lr", value, above=0)


@pytest.mark.parametrize("value", [True, "0.1", None])
def test_number_of_another_type(value: object) -> None:
    with pytest.raises(TypeError, match="lr must be a number"):
        checks.number("lr", value)


def test_integer() -> None:
    assert checks.integer("n", 3, at_least=1, at_most=3) == 3
    with pytest.raises(ValueError, match="n must be a whole number at least 1 and at most 3, got 4"):
        checks.integer("n", 4, at_least=1, at_most=3)
    with pytest.raises(TypeError, match="n must be a whole number"):
        checks.integer("n", 2.0)


def test_unknown_names_the_nearest_else_all() -> None:
    assert "did you mean StepLR" in str(checks.unknown("schedule", "steplr2", ["StepLR", "CosineAnnealingLR"]))
    assert "the choices are a, b" in str(checks.unknown("kind", "zzz", ["a", "b"]))
