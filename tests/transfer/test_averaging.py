"""Averages against torch's own, and against sums written out in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

from hone.transfer import FreezePlan, apply_freeze
from hone.transfer.averaging import (
    AverageState,
    Averaging,
    Ema,
    Swa,
    best_on_line,
    greedy_soup,
    interpolate,
    reestimate_norms,
)


def network(dtype: torch.dtype = torch.float64) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.ReLU(), nn.Linear(4, 2)).to(dtype)


def walk(updates: int = 12, dtype: torch.dtype = torch.float64) -> list[dict[str, Tensor]]:
    """The weights after 0, 1, 2, ... updates."""
    model = network(dtype)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    states = [copy.deepcopy(model.state_dict())]
    for _ in range(updates):
        optimizer.zero_grad()
        model(torch.randn(8, 3, dtype=dtype)).square().mean().backward()
        optimizer.step()
        states.append(copy.deepcopy(model.state_dict()))
    return states


def averaged(averaging: Averaging, states: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    model = network(next(iter(states[0].values())).dtype)
    model.load_state_dict(states[0])
    average = AverageState(model)
    for update, state in enumerate(states[1:], 1):
        model.load_state_dict(state)
        average.take(model, averaging.share(update))
    return average.weights()


def floats(state: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}


def close(first: dict[str, Tensor], second: dict[str, Tensor], tolerance: float = 1e-12) -> bool:
    return all(torch.allclose(first[name], second[name], rtol=tolerance, atol=tolerance) for name in floats(first))


@pytest.mark.parametrize("warmup", [False, True])
def test_ema_is_its_sum_written_out(warmup: bool) -> None:
    states, decay = walk(), 0.5
    rates = [min(decay, (1 + u) / (10 + u)) if warmup else decay for u in range(len(states))]
    expected = {}
    for name in floats(states[0]):
        weights = [(1 - rates[u]) * torch.tensor(rates[u + 1 :], dtype=torch.float64).prod() for u in range(1, 13)]
        rest = torch.tensor(rates[1:], dtype=torch.float64).prod()
        expected[name] = rest * states[0][name] + sum(w * states[u][name] for u, w in enumerate(weights, 1))
    assert close(expected, averaged(Ema(decay, warmup=warmup), states))
    assert not close(expected, averaged(Ema(decay - 0.1, warmup=warmup), states))
    assert int(averaged(Ema(decay), states)["1.num_batches_tracked"]) == 12


def test_ema_is_torchs() -> None:
    states, model = walk(dtype=torch.float32), network(torch.float32)
    model.load_state_dict(states[0])
    theirs = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9), use_buffers=True)
    theirs.update_parameters(model)
    for state in states[1:]:
        model.load_state_dict(state)
        theirs.update_parameters(model)
    found = averaged(Ema(0.9, warmup=False), states)
    assert all(torch.equal(found[name], tensor) for name, tensor in floats(theirs.module.state_dict()).items())


@pytest.mark.parametrize(("start", "every"), [(1, 1), (4, 2), (12, 1)])
def test_swa_is_the_mean(start: int, every: int) -> None:
    states = walk()
    counted = states[start::every]
    expected = {name: torch.stack([state[name] for state in counted]).mean(0) for name in floats(states[0])}
    assert close(expected, averaged(Swa(start, every), states))
    assert not close(expected, averaged(Swa(start - 1, every), states))


def test_a_saved_average_goes_on() -> None:
    states = walk()
    whole = averaged(Ema(0.8), states)
    model = network()
    average = AverageState(model)
    average.load(averaged(Ema(0.8), states[:6]))
    for update, state in enumerate(states[6:], 6):
        model.load_state_dict(state)
        average.take(model, Ema(0.8).share(update))
    assert all(torch.equal(tensor, whole[name]) for name, tensor in average.weights().items())


def test_norms_get_the_statistics_of_their_own_weights() -> None:
    inputs = torch.randn(40, 3, dtype=torch.float64)
    model = network().train()
    assert reestimate_norms(model, [(part, None) for part in inputs.split(8)])
    hidden = model[0](inputs)  # type: ignore[operator]
    norm: nn.BatchNorm1d = model[1]  # type: ignore[index,assignment]
    assert torch.allclose(norm.running_mean, hidden.mean(0))  # type: ignore[arg-type]
    other = network()
    update_bn(list(inputs.split(8)), other)
    assert torch.equal(other[1].running_var, norm.running_var)  # type: ignore[index,arg-type]
    assert model.training


def test_frozen_norms_keep_theirs() -> None:
    model = nn.Sequential(
        nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Linear(3, 2)
    ).train()
    apply_freeze(model, FreezePlan("last:1"))
    frozen, moving = model[1], model[3]
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    assert reestimate_norms(model, [torch.randn(8, 3)])
    assert not frozen.training and moving.training
    assert torch.equal(frozen.running_mean, before["1.running_mean"])  # type: ignore[arg-type]
    assert not torch.equal(moving.running_mean, before["3.running_mean"])  # type: ignore[arg-type]
    apply_freeze(model.train(), FreezePlan("all", norm="frozen"))
    assert not reestimate_norms(model, [torch.randn(8, 3)])


def test_the_line_is_the_line() -> None:
    first, second = walk(0)[0], walk(12)[12]
    for share in (0.0, 0.3, 1.0):
        expected = {name: (1 - share) * first[name] + share * second[name] for name in floats(first)}
        assert close(expected, interpolate(first, second, share))
    with pytest.raises(ValueError, match=r"weights must have the same names, got '3\.bias'"):
        interpolate(first, {name: tensor for name, tensor in second.items() if name != "3.bias"}, 0.5)


def point(x: float) -> dict[str, Tensor]:
    return {"w": torch.tensor(x, dtype=torch.float64)}


def near(place: float):  # type: ignore[no-untyped-def]
    return lambda weights: -abs(float(weights["w"]) - place)


@pytest.mark.parametrize(("best", "share"), [(0.0, 0.0), (0.26, 0.25), (0.7, 0.75), (1.0, 1.0), (9.0, 1.0)])
def test_a_point_on_the_line_is_kept_only_where_it_is_better(best: float, share: float) -> None:
    score = near(best)
    ends = (score(point(0.0)), score(point(1.0)))
    kept = best_on_line(point(0.0), point(1.0), score, ends=ends)
    assert kept.shares == (1 - share, share)
    assert kept.value >= max(ends)


def test_a_soup_takes_what_helps_from_the_best_on() -> None:
    score = near(0.4)
    places = [9.0, 1.0, 0.0]
    kept = greedy_soup([point(x) for x in places], [score(point(x)) for x in places], score)
    assert kept.shares == (0.0, 0.5, 0.5) and float(kept.weights["w"]) == 0.5
    alone = greedy_soup([point(0.4), point(3.0)], [0.0, -2.6], score)
    assert alone.shares == (1.0, 0.0) and alone.value == 0.0
    with pytest.raises(ValueError, match="ingredients must be at least one"):
        greedy_soup([], [], score)


def test_shares_out_of_range_are_refused() -> None:
    with pytest.raises(ValueError, match="decay must be a finite number at least 0 and below 1, got 1"):
        Ema(1.0)
    with pytest.raises(ValueError, match="every must be a whole number at least 1, got 0"):
        Swa(3, every=0)
