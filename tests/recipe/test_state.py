"""Which weights a run keeps: of one moment, or an average of many."""

from __future__ import annotations

import pytest
import torch

from hone.recipe.state import BestState
from hone.training import standard_error


def state(value: float, *, is_momentary: bool, loss: float = 1.0) -> BestState:
    """A best evaluation."""
    best = BestState()
    assert best.take("accuracy", value, 10, loss=loss, is_momentary=is_momentary)
    return best


@pytest.mark.parametrize(
    ("momentary", "average", "least", "kept"),
    [
        (True, 0.87, 0.85, True),  # within a standard error of 0.03
        (True, 0.86, 0.85, False),  # beyond it
        (True, 0.87, 0.88, False),  # the probe was better
        (True, 0.87, None, True),  # there was no probe
        (False, 0.87, 0.85, False),  # the best is no weights of one moment
        (False, 0.91, 0.85, True),
    ],
)
def test_in_doubt_an_average_is_kept(momentary: bool, average: float, least: float | None, kept: bool) -> None:
    best = state(0.9, is_momentary=momentary)
    slack = standard_error("accuracy", 0.9, 100) + 1e-9
    assert best.take_average("accuracy", average, 20, loss=2.0, slack=slack, least=least) is kept
    assert (best.value, best.update) == ((average, 20) if kept else (0.9, 10))
    assert not (kept and best.is_momentary)


@pytest.mark.parametrize(("loss", "kept"), [(0.9, True), (1.0, False), (1.1, False)])
@pytest.mark.parametrize("slack", [0.0, 0.03])
def test_of_equals_the_smaller_loss_is_kept(loss: float, kept: bool, slack: float) -> None:
    best = state(0.9, is_momentary=False)
    assert best.take_average("accuracy", 0.9, 20, loss=loss, slack=slack, least=None) is kept


def test_metrics_that_are_no_shares_of_samples_leave_no_doubt() -> None:
    assert standard_error("dice", 0.9, 100) == standard_error("mae", 3.0, 100) == standard_error("loss", 3.0, 100) == 0
    best = state(0.9, is_momentary=True)
    assert not best.take_average("dice", 0.899, 20, loss=0.1, slack=0.0, least=None)
    assert best.take_average("mae", 0.8, 20, loss=0.1, slack=0.0, least=None)


def test_the_standard_error_is_that_of_drawn_samples() -> None:
    draws = torch.rand(20_000, 50, generator=torch.Generator().manual_seed(0)) < 0.8
    assert standard_error("accuracy", 0.8, 50) == pytest.approx(float(draws.double().mean(1).std()), rel=0.02)
