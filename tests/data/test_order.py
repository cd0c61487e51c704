"""The sampler: a pure function of the attempt, a permutation an epoch, balanced where that is asked for."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hone.data import Order


def epoch_draws(order: Order, epoch: int) -> np.ndarray:
    first = epoch * order.updates_per_epoch
    return np.concatenate([order(first + step) for step in range(order.updates_per_epoch)])


@settings(max_examples=60, deadline=None)
@given(n=st.integers(1, 60), batch_size=st.integers(1, 17), accumulate=st.integers(1, 4), attempt=st.integers(0, 500))
def test_an_attempt_needs_no_history(n: int, batch_size: int, accumulate: int, attempt: int) -> None:
    walked = Order(n, batch_size=batch_size, accumulate=accumulate, seed=3)
    for earlier in range(max(0, attempt - 7), attempt):
        walked(earlier)
    jumped = Order(n, batch_size=batch_size, accumulate=accumulate, seed=3)
    assert np.array_equal(walked(attempt), jumped(attempt))
    assert jumped(attempt).shape == (batch_size * accumulate,)
    assert jumped.updates_per_epoch == max(1, n // (batch_size * accumulate))


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_no_sample_twice_in_an_epoch(epoch: int) -> None:
    order = Order(50, batch_size=4, accumulate=3, seed=0)
    drawn = epoch_draws(order, epoch)
    assert len(drawn) == 48 == len(set(drawn.tolist()))


def test_the_samples_left_over_are_others_in_each_epoch() -> None:
    order = Order(50, batch_size=12, seed=0)
    left_over = [frozenset(range(50)) - set(epoch_draws(order, epoch).tolist()) for epoch in range(20)]
    assert len(set(left_over)) > 15


def test_a_batch_larger_than_the_data_repeats_evenly() -> None:
    drawn = Order(5, batch_size=13, seed=0)(4)
    assert sorted(np.bincount(drawn, minlength=5).tolist()) == [2, 2, 3, 3, 3]


def test_seeds_and_epochs_differ() -> None:
    orders = [epoch_draws(Order(40, batch_size=40, seed=seed), epoch) for seed in range(3) for epoch in range(3)]
    assert len({tuple(order.tolist()) for order in orders}) == 9


def places_are_uniform(draw: Callable[[int], np.ndarray]) -> bool:
    """Whether 2000 epochs of 10 samples put every sample at every place equally often, within five deviations."""
    counts = np.zeros((10, 10))
    for epoch in range(2000):
        counts[np.arange(10), draw(epoch)] += 1
    # Rows and columns of the table have fixed sums: 81 degrees of freedom.
    chi_square = ((counts - 200) ** 2 / 200).sum()
    return bool(abs(chi_square - 81) < 5 * np.sqrt(2 * 81))


def test_every_sample_at_every_place_equally_often() -> None:
    assert places_are_uniform(Order(10, batch_size=10, seed=5))


def test_the_law_of_places_sees_a_bad_shuffle() -> None:
    def swaps_that_favour(epoch: int) -> np.ndarray:
        # The well-known mistake: each place is swapped with any place, not with one not yet settled.
        generator, row = np.random.default_rng(epoch), np.arange(10)
        for place in range(10):
            other = generator.integers(10)
            row[[place, other]] = row[[other, place]]
        return row

    assert not places_are_uniform(swaps_that_favour)


@pytest.mark.parametrize("epoch", [0, 3])
def test_balanced_draws_classes_equally_and_samples_of_a_class_equally(epoch: int) -> None:
    targets = torch.tensor([0] * 70 + [1] * 20 + [2] * 10)
    order = Order(100, batch_size=10, seed=1, sampler="balanced", targets=targets)
    drawn = epoch_draws(order, epoch)
    by_class = np.bincount(targets.numpy()[drawn], minlength=3)
    assert by_class.max() - by_class.min() <= 1
    for label, size in enumerate((70, 20, 10)):
        rows = np.flatnonzero(targets.numpy() == label)
        times = np.bincount(drawn, minlength=100)[rows]
        assert len(rows) == size and times.max() - times.min() <= 1


def test_balanced_is_no_slip_of_shuffle() -> None:
    targets = torch.tensor([0] * 90 + [1] * 10)
    plain = Order(100, batch_size=100, seed=1)(0)
    assert np.bincount(targets.numpy()[plain]).tolist() == [90, 10]


@pytest.mark.parametrize("world_size", [1, 2, 3, 6])
def test_the_shares_of_all_ranks_are_the_batch(world_size: int) -> None:
    order = Order(40, batch_size=6, accumulate=2, seed=0)
    places = [order.places(micro, rank, world_size) for micro in range(2) for rank in range(world_size)]
    assert np.array_equal(np.concatenate(places), np.arange(12))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"n": 0, "batch_size": 4}, "number of samples"),
        ({"n": 4, "batch_size": 0}, "batch_size"),
        ({"n": 4, "batch_size": 2, "accumulate": 0}, "accumulate"),
        ({"n": 4, "batch_size": 2, "sampler": "balance"}, "did you mean balanced"),
        ({"n": 4, "batch_size": 2, "sampler": "balanced"}, "sampler must be shuffle"),
        ({"n": 4, "batch_size": 2, "sampler": "balanced", "targets": torch.rand(4)}, "sampler must be shuffle"),
    ],
)
def test_bad_arguments(arguments: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Order(**arguments)
