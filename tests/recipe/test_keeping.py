"""Which weights a run keeps: of one moment, an average of many, or the probe."""

from __future__ import annotations

import json

import pytest
import torch

from hone.recipe.keeping import Judged, choose
from hone.recipe.state import BestState, RunState
from hone.training import standard_error


def judged(name: str, value: float, loss: float = 1.0, metric: str = "accuracy") -> Judged:
    return Judged(name, {metric: value}, loss)


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
    start = None if probe is None else judged("probe", probe)
    found = choose([judged("average", average, 0.9)], "accuracy", best=0.9, probe=start, count=100)
    assert (found and found.name) == kept


def test_of_equals_the_smallest_calibrated_loss_is_kept() -> None:
    averages = [judged("a", 0.89, 0.4), judged("b", 0.88, 0.3), judged("c", 0.80, 0.1)]  # c is worse than chance allows
    found = choose(averages, "accuracy", best=0.9, probe=judged("probe", 0.87, 0.35), count=100)
    assert found is averages[1]
    assert choose(averages, "accuracy", best=0.9, probe=judged("probe", 0.87, 0.2), count=100).name == "probe"  # type: ignore[union-attr]


@pytest.mark.parametrize("seed", range(50))
def test_what_is_kept_is_neither_below_the_probe_nor_below_the_best_by_more_than_a_standard_error(seed: int) -> None:
    draw = torch.Generator().manual_seed(seed)
    values, losses = torch.rand(8, generator=draw).tolist(), torch.rand(8, generator=draw).tolist()
    probe, *averages = [judged(str(place), *pair) for place, pair in enumerate(zip(values, losses, strict=True))]
    best = max(values[0], float(torch.rand(1, generator=draw)))  # the probe is an evaluation, too
    top = max(best, *values)
    found = choose(averages, "accuracy", best=best, probe=probe, count=20)
    value = best if found is None else found.metrics["accuracy"]
    assert values[0] <= value and value >= top - standard_error("accuracy", top, 20)
    assert found is None or found.calibrated == min(
        each.calibrated
        for each in (probe, *averages)
        if each.metrics["accuracy"] >= max(values[0], top - standard_error("accuracy", top, 20))
    )


def test_metrics_that_are_no_shares_of_samples_leave_no_doubt() -> None:
    assert standard_error("dice", 0.9, 100) == standard_error("mae", 3.0, 100) == standard_error("loss", 3.0, 100) == 0
    near = [judged("average", 0.899, 0.1, "dice")]
    assert choose(near, "dice", best=0.9, probe=None, count=100) is None
    assert choose(near, "dice", best=0.899, probe=None, count=100) is near[0]
    smaller = [judged("average", 0.8, 9.0, "mae"), judged("worse", 0.9, 0.1, "mae")]
    assert choose(smaller, "mae", best=0.85, probe=None, count=100) is smaller[0]
    assert choose(smaller, "mae", best=0.7, probe=None, count=100) is None


def test_no_number_is_never_kept() -> None:
    nothing = judged("average", float("nan"), 0.0)
    assert choose([nothing], "accuracy", best=0.9, probe=None, count=100) is None
    assert choose([nothing], "accuracy", best=None, probe=None, count=100) is None
    assert choose([nothing], "accuracy", best=0.9, probe=judged("probe", 0.9), count=100).name == "probe"  # type: ignore[union-attr]


def test_the_standard_error_is_that_of_drawn_samples() -> None:
    draws = torch.rand(20_000, 50, generator=torch.Generator().manual_seed(0)) < 0.8
    assert standard_error("accuracy", 0.8, 50) == pytest.approx(float(draws.double().mean(1).std()), rel=0.02)


@pytest.mark.parametrize("probe", [None, judged("linear probe", 0.8, 0.5)])
def test_the_state_survives_a_checkpoint(probe: Judged | None) -> None:
    state = RunState(best=BestState(3, 0.9, 1), seconds=2.0, baselines={"linear probe": 0.8}, probe=probe)
    again = RunState.from_json(json.loads(json.dumps(state.to_json())))
    assert (again.best, again.baselines, again.probe) == (state.best, state.baselines, probe)
