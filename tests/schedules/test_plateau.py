"""Readings: which count, which don't, and that all that was learned is saved (torch's parity is in test_parity)."""

from __future__ import annotations

import copy
import json
import math
from typing import Any

import pytest

from hone.schedules import ReduceLROnPlateau


def plateau(**options: Any) -> Any:
    return ReduceLROnPlateau(**{"patience": 1, "factor": 0.5, **options}).bind(40, 5, 0.1)


def read(bound: Any, *values: float) -> list[bool]:
    return [bound.read(value, update) for update, value in enumerate(values, start=1)]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_reading_that_is_not_finite_is_not_a_bad_one(value: float, mode: str) -> None:
    """Torch counts NaN as one more bad epoch, and takes an infinite best for ever."""
    bound = plateau(mode=mode)
    assert read(bound, 1.0, value, 1.0, value, value) == [False] * 5
    state = bound.state_dict()
    assert (state["best"], state["bad_readings"], state["not_finite"]) == (1.0, 1, 3)
    assert bound.read(1.0, 6)


def test_a_first_reading_that_is_not_finite_leaves_no_best() -> None:
    bound = plateau()
    read(bound, math.nan, 3.0)
    assert bound.state_dict()["best"] == 3.0


def test_one_reading_counts_once_at_each_update() -> None:
    bound = plateau(patience=0)
    assert not bound.read(1.0, 1)
    assert bound.read(2.0, 2) and not bound.read(2.0, 2) and not bound.read(3.0, 2)
    assert bound(2) == {"lr": 0.5}
    with pytest.raises(ValueError, match="update must not lie before the last reading's"):
        bound.read(1.0, 1)


def test_past_values_stay_as_they_were() -> None:
    bound = plateau(patience=0)
    read(bound, 1.0, 1.0, 1.0)
    assert [bound(update)["lr"] for update in range(5)] == [1.0, 1.0, 0.5, 0.25, 0.25]


def test_no_cut_below_the_floor_nor_smaller_than_eps() -> None:
    floor = plateau(patience=0, min_lr=0.04)
    assert read(floor, 1.0, 1.0, 1.0, 1.0) == [False, True, True, False]
    assert floor(9)["lr"] == pytest.approx(0.4)
    assert read(plateau(patience=0, factor=0.9, eps=0.02), 1.0, 1.0) == [False, False]


@pytest.mark.parametrize("stop", range(12))
def test_the_state_is_complete_at_every_reading(stop: int) -> None:
    values = [3.0, 2.0, 2.1, 2.2, 2.3, 1.0, 1.1, math.nan, 1.2, 1.3, 1.4, 1.5]
    whole = plateau(cooldown=1)
    for update, value in enumerate(values[:stop], start=1):
        whole.read(value, update)
    saved = json.loads(json.dumps(whole.state_dict()))
    kept = copy.deepcopy(saved)
    resumed = plateau(cooldown=1)
    resumed.load_state_dict(saved)
    for update, value in enumerate(values[stop:], start=stop + 1):
        assert whole.read(value, update) == resumed.read(value, update)
    assert [whole(update) for update in range(14)] == [resumed(update) for update in range(14)]
    assert saved == kept, "loading changed the caller's dict"


def test_a_state_that_lacks_something_is_refused() -> None:
    """timm's plateau loses its count of bad readings on the way."""
    state = plateau().state_dict()
    del state["bad_readings"]
    with pytest.raises(ValueError, match="state must have the keys"):
        plateau().load_state_dict(state)
