"""Warm-up, parts and their lengths, what a part leaves to the next."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from hone.schedules import (
    BiTHyperRuleLR,
    CosineAnnealingLR,
    CyclicLR,
    ExponentialLR,
    Joined,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    ReduceLROnPlateau,
    SequentialLR,
    bind_schedule,
    preview,
    warmup,
)

HALF = LambdaLR(lambda update: 0.5)


def factors(schedule: Any, total: int, updates_per_epoch: int | None = 5) -> list[float]:
    return preview(schedule, base_lr=1.0, total_updates=total, updates_per_epoch=updates_per_epoch)


def test_warm_up_then_cosine_as_torch_joins_them() -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    parts = [
        theirs.LinearLR(optimizer, start_factor=0.01, total_iters=5),
        theirs.CosineAnnealingLR(optimizer, T_max=15, eta_min=0.1),
    ]
    torchs, rates = theirs.SequentialLR(optimizer, parts, milestones=[5]), []
    for _ in range(20):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        torchs.step()
    mine = factors(warmup(5) >> CosineAnnealingLR(eta_min=0.1), 20)
    assert all(math.isclose(a, b, rel_tol=1e-12) for a, b in zip(mine, rates, strict=True))


def test_warm_up_leads_to_where_the_next_begins_with_its_momentum() -> None:
    cycle = OneCycleLR(div_factor=4.0, max_momentum=0.9)
    bound = bind_schedule(warmup(4, start_factor=0.0) >> cycle, 14, None, 1.0)
    assert [bound(update)["lr"] for update in range(5)] == [0.0, 0.0625, 0.125, 0.1875, 0.25]
    assert {bound(update)["momentum"] for update in range(5)} == {0.9}
    alone = cycle.bind(10, None, 1.0)
    assert [bound(update) for update in range(4, 14)] == [alone(update) for update in range(10)]


@pytest.mark.parametrize(
    "lengths", [{"updates": 4}, {"epochs": 2}, {"epochs": 0.8, "updates_per_epoch": 5}, {"share": 0.2}]
)
def test_lengths_in_updates_epochs_and_share(lengths: dict[str, Any]) -> None:
    per_epoch = lengths.pop("updates_per_epoch", 2)
    joined = HALF.lasting(**lengths) >> LambdaLR(lambda update: 1.0 + update)
    assert factors(joined, 20, per_epoch) == [0.5] * 4 + [float(1 + update) for update in range(16)]


def test_the_open_part_may_stand_anywhere() -> None:
    joined = warmup(2, start_factor=0.5) >> LambdaLR(lambda update: 1.0) >> LinearLR(0.5, 0.0, 4).lasting(share=0.4)
    assert factors(joined, 10) == [0.5, 0.75, 1.0, 1.0, 1.0, 1.0, 0.5, 0.375, 0.25, 0.125]


@pytest.mark.parametrize("total", [10, 11, 100, 101])
def test_three_thirds_are_a_whole(total: int) -> None:
    parts = [LambdaLR(lambda update, place=place: float(place)).lasting(share=1 / 3) for place in range(3)]
    seen = factors(parts[0] >> parts[1] >> parts[2], total)
    assert sorted(seen) == seen and all(abs(seen.count(float(place)) - total / 3) <= 1 for place in range(3))


def test_a_warm_up_keeps_its_own_length_between_milestones() -> None:
    joined = SequentialLR([warmup(2, start_factor=0), HALF], [4])
    assert factors(joined, 6) == [0.0, 0.25, 0.5, 0.5, 0.5, 0.5]


def test_a_rule_with_a_length_of_its_own_is_still_an_open_part() -> None:
    rule = BiTHyperRuleLR(2_000)
    assert factors(warmup(3) >> rule, 503)[3:] == factors(rule, 500)


def test_joining_is_flat_and_takes_functions() -> None:
    joined = warmup(2) >> (HALF.lasting(updates=3) >> (lambda update: 0.1))
    assert isinstance(joined, Joined) and len(joined.parts) == 3
    assert factors(joined, 8)[-6:] == [0.5, 0.5, 0.5, 0.1, 0.1, 0.1]
    before = (lambda update: 0.1) >> HALF.lasting(updates=3)
    assert factors(before, 5) == [0.1, 0.1, 0.5, 0.5, 0.5]


def test_what_a_part_does_not_drive_stays_as_the_last_one_left_it() -> None:
    """Or as the first one that drives it begins; so a resume in any part knows it without having been in another."""
    cycle = CyclicLR(0.1, 1.0, step_size_up=2, base_momentum=0.8, max_momentum=0.9)
    bound = bind_schedule(HALF.lasting(updates=2) >> cycle.lasting(updates=3) >> ExponentialLR(0.9), 8, 4, 1.0)
    momenta = [round(bound(update)["momentum"], 3) for update in range(8)]
    assert momenta == [0.9, 0.9, 0.9, 0.85, 0.8, 0.8, 0.8, 0.8]


def test_each_part_counts_in_its_own_interval() -> None:
    joined = SequentialLR([ExponentialLR(0.5), ExponentialLR(0.5, interval="update")], [2], interval="epoch")
    assert factors(joined, 9, 3) == [1.0, 1.0, 1.0, 0.5, 0.5, 0.5, 1.0, 0.5, 0.25]


def test_a_plateau_after_a_warm_up_reads_only_when_it_is_its_turn() -> None:
    bound: Any = bind_schedule(warmup(4, start_factor=0) >> ReduceLROnPlateau(patience=0, factor=0.5), 12, None, 1.0)
    assert [bound.read(value, update) for value, update in ((1.0, 1), (2.0, 3))] == [False, False]
    assert not bound.read(1.0, 5) and bound.read(1.0, 7)
    assert [bound(update)["lr"] for update in range(9)] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.5]
    again: Any = bind_schedule(bound.schedule, 12, None, 1.0)
    again.load_state_dict(bound.state_dict())
    assert again(8) == {"lr": 0.5} and again.state_dict() == bound.state_dict()


@pytest.mark.parametrize(
    ("schedule", "message"),
    [
        (lambda: warmup(20) >> CosineAnnealingLR(), "warm-up must be shorter than the run of 20 updates, got 20"),
        (lambda: warmup(20), "warm-up must be shorter than the run of 20 updates, got 20"),
        (lambda: warmup(epochs=9) >> HALF, "warm-up must be shorter than the run of 20 updates, got 45"),
        (lambda: warmup(), "the warm-up's length must be given as one of updates, epochs or share"),
        (lambda: warmup(3, share=0.1), "the warm-up's length must be given as one of"),
        (lambda: warmup(share=1.5), "share must be a finite number above 0 and at most 1, got 1.5"),
        (lambda: warmup(0), "updates must be a whole number at least 1, got 0"),
        (lambda: warmup(2, start_factor=-1), "start_factor must be a finite number at least 0"),
        (lambda: HALF >> HALF, "only one may have no length, got LambdaLR, LambdaLR"),
        (lambda: HALF.lasting(updates=3) >> HALF.lasting(updates=4), "add up to the run's 20 updates, got 7"),
        (lambda: HALF.lasting(updates=4), "a part by itself must last the run's 20 updates, got 4; join it"),
        (lambda: HALF.lasting(updates=20) >> HALF, "leave part of the run's 20 updates, got 20"),
        (lambda: HALF.lasting(share=0.001) >> HALF, "each part must last at least one"),
        (lambda: SequentialLR([HALF, HALF], [20]), "milestones must lie within the run's 20 updates"),
        (lambda: SequentialLR([HALF, HALF], []), "milestones must be one fewer than the 2 schedulers"),
        (lambda: SequentialLR([HALF, HALF, HALF], [5, 5]), "milestones must increase from at least 1"),
        (lambda: SequentialLR([HALF, HALF, HALF], [5, 4]), "milestones must be in increasing order, got [5, 4]"),
    ],
)
def test_parts_that_do_not_fit_are_refused_before_the_run(schedule: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        bind_schedule(schedule(), 20, 5, 0.1)
    assert message in str(caught.value)
