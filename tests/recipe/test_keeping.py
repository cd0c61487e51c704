"""Which weights a run keeps: of one moment, an average of many, or the probe."""

from __future__ import annotations

import json
import math

import pytest
import torch

from hone.recipe.keeping import Judged, choose
from hone.recipe.state import BestState, RunState
from hone.training import standard_error


def judged(name: str, value: float, loss: float = 1.0, metric: str = "accuracy", spread: float = 0.0) -> Judged:
    """Losses of four samples, around their mean."""
    return Judged(name, {metric: value}, torch.tensor([loss - spread, loss + spread] * 2, dtype=torch.float64))


def name_of(kept: Judged | None) -> str | None:
    return None if kept is None else kept.name


@pytest.mark.parametrize(
    ("average", "probe", "kept"),
    [
        (0.88, 0.85, "average"),  # within a standard error of 0.03
        (0.86, 0.85, None),  # beyond it
        (0.88, 0.885, "probe"),  # worse than the probe, which is within it
        (0.88, None, "average"),
        (0.91, 0.85, "average"),
        (0.90, 0.85, "average"),
    ],
)
def test_in_doubt_weights_of_one_moment_give_way(average: float, probe: float | None, kept: str | None) -> None:
    settled = [judged("average", average, 0.9)] + ([] if probe is None else [judged("probe", probe)])
    assert name_of(choose(settled, "accuracy", best=0.9, least=probe, count=100)) == kept


def test_of_equals_the_smallest_calibrated_loss_is_kept() -> None:
    settled = [judged("a", 0.89, 0.4), judged("b", 0.88, 0.3), judged("far", 0.80, 0.1), judged("probe", 0.87, 0.35)]
    assert name_of(choose(settled, "accuracy", best=0.9, least=0.87, count=100)) == "b"
    settled[-1] = judged("probe", 0.87, 0.2)
    assert name_of(choose(settled, "accuracy", best=0.9, least=0.87, count=100)) == "probe"


@pytest.mark.parametrize(("spread", "kept"), [(0.1, "b"), (0.3, "a")])
def test_losses_that_samples_do_not_tell_apart_are_equal_and_the_first_is_kept(spread: float, kept: str) -> None:
    # The difference is 0.1 +- spread over four samples: a standard error of half the spread.
    settled = [judged("a", 0.9, 0.4, spread=spread), judged("b", 0.9, 0.3)]
    assert name_of(choose(settled, "accuracy", best=0.9, least=None, count=100)) == kept


@pytest.mark.parametrize("seed", range(50))
def test_what_is_kept_is_neither_below_the_probe_nor_below_the_best_by_more_than_a_standard_error(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values, losses = torch.rand(8, generator=draw).tolist(), torch.rand(8, generator=draw).tolist()
    settled = [judged(str(place), *pair) for place, pair in enumerate(zip(values, losses, strict=True))]
    least = values[-1]
    best = max(least, float(torch.rand(1, generator=draw)))  # the probe is an evaluation, too
    top = max(best, *values)
    bound = max(least, top - standard_error("accuracy", top, 20))
    found = choose(settled, "accuracy", best=best, least=least, count=20)
    assert (best if found is None else found.metrics["accuracy"]) >= bound
    equal = [loss for value, loss in zip(values, losses, strict=True) if value >= bound]
    assert (found is None) == (not equal)
    assert found is None or float(found.losses.mean()) == pytest.approx(min(equal))


def test_metrics_that_are_no_shares_of_samples_leave_no_doubt() -> None:
    assert standard_error("dice", 0.9, 100) == standard_error("mae", 3.0, 100) == standard_error("loss", 3.0, 100) == 0
    near = [judged("average", 0.899, 0.1, "dice")]
    assert choose(near, "dice", best=0.9, least=None, count=100) is None
    assert choose(near, "dice", best=0.899, least=None, count=100) is near[0]
    smaller = [judged("average", 0.8, 9.0, "mae"), judged("worse", 0.9, 0.1, "mae")]
    assert choose(smaller, "mae", best=0.85, least=None, count=100) is smaller[0]
    assert choose(smaller, "mae", best=0.7, least=None, count=100) is None


def test_no_number_is_never_kept() -> None:
    nothing, probe = judged("average", math.nan, 0.0), judged("probe", 0.9)
    assert choose([nothing], "accuracy", best=0.9, least=None, count=100) is None
    assert choose([nothing], "accuracy", best=None, least=None, count=100) is None
    assert choose([nothing, probe], "accuracy", best=0.9, least=0.9, count=100) is probe
    endless = judged("average", 0.9, math.inf)
    assert choose([endless, probe], "accuracy", best=0.9, least=0.9, count=100) is probe


def test_the_standard_error_is_that_of_drawn_samples() -> None:
    draws = torch.rand(20_000, 50, generator=torch.Generator().manual_seed(0)) < 0.8
    assert standard_error("accuracy", 0.8, 50) == pytest.approx(float(draws.double().mean(1).std()), rel=0.02)


def test_the_state_survives_a_checkpoint() -> None:
    state = RunState(best=BestState(3, 0.9, 1), seconds=2.0, baselines={"linear probe": 0.8})
    again = RunState.from_json(json.loads(json.dumps(state.to_json())))
    assert (again.best, again.baselines, again.seconds) == (state.best, state.baselines, 2.0)
