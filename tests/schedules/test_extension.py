"""Another horizon on resume: each choice's values, what is refused, and the error that shows them all."""

from __future__ import annotations

import json
from typing import Any

import pytest

from hone.schedules import (
    Bound,
    CosineAnnealingLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
    bind_schedule,
    extend,
    extension_choices,
    horizon_changed,
    warmup,
)


def lrs(bound: Any, start: int, end: int) -> list[float]:
    return [bound(update)["lr"] for update in range(start, end)]


def planned(schedule: Any, total: int = 10) -> Bound:
    return bind_schedule(schedule, total, 5, 0.1)


def test_continue_holds_the_end_or_goes_on_by_its_rule() -> None:
    cosine = extend(planned(CosineAnnealingLR(eta_min=0.01)), "continue", update=10, total_updates=20)
    assert lrs(cosine, 10, 20) == [pytest.approx(0.1)] * 10
    steps = extend(planned(StepLR(1, 0.5)), "continue", update=10, total_updates=20)
    assert lrs(steps, 5, 20) == [0.5] * 5 + [0.25] * 5 + [0.125] * 5
    cycle = extend(planned(OneCycleLR()), "continue", update=10, total_updates=20)
    assert set(lrs(cycle, 9, 20)) == {cycle(9)["lr"]}


def test_stretch_is_the_longer_run_and_restart_a_new_one() -> None:
    schedule = warmup(2) >> CosineAnnealingLR()
    stretched = extend(planned(schedule), "stretch", update=6, total_updates=20)
    assert lrs(stretched, 0, 6) == lrs(planned(schedule), 0, 6)
    assert lrs(stretched, 6, 20) == lrs(planned(schedule, 20), 6, 20)
    restarted = extend(planned(schedule), "restart", update=6, total_updates=20)
    assert lrs(restarted, 0, 6) == lrs(planned(schedule), 0, 6)
    assert lrs(restarted, 6, 20) == lrs(planned(schedule, 14), 0, 14)


def test_a_run_can_be_made_shorter_and_changed_twice() -> None:
    shorter = extend(planned(CosineAnnealingLR(), 20), "stretch", update=5, total_updates=10)
    assert lrs(shorter, 5, 10) == lrs(planned(CosineAnnealingLR()), 5, 10)
    twice = extend(shorter, "restart", update=8, total_updates=30)
    assert lrs(twice, 0, 8) == lrs(shorter, 0, 8)
    assert lrs(twice, 8, 30) == lrs(planned(CosineAnnealingLR(), 22), 0, 22)
    assert twice.run.total_updates == 30 and shorter.run.total_updates == 10


def test_the_same_integers_rebuild_it() -> None:
    history = [("stretch", 5, 12), ("restart", 9, 30), ("continue", 20, 40)]

    def rebuilt() -> Bound:
        bound = planned(warmup(2) >> CosineAnnealingLR())
        for choice, update, total in json.loads(json.dumps(history)):
            bound = extend(bound, choice, update=update, total_updates=total)
        return bound

    assert lrs(rebuilt(), 0, 40) == lrs(rebuilt(), 0, 40)


def test_readings_go_on_where_the_curve_does() -> None:
    before: Any = planned(ReduceLROnPlateau(patience=0, factor=0.5))
    for update, reading in ((2, 1.0), (4, 2.0), (6, 0.9)):
        before.read(reading, update)
    for choice, factor in (("continue", 0.5), ("stretch", 0.5), ("restart", 1.0)):
        after: Any = extend(before, choice, update=7, total_updates=20)
        assert lrs(after, 0, 7) == [1.0] * 4 + [0.5] * 3 and after(7)["lr"] == factor
    assert not after.read(5.0, 8) and after.read(6.0, 10)  # restarted: the first reading is the best so far
    assert lrs(after, 8, 12) == [1.0, 1.0, 0.5, 0.5]
    assert before(11)["lr"] == 0.5 and before.state_dict()["best"] == 0.9
    again: Any = extend(planned(before.schedule), "restart", update=7, total_updates=20)
    again.load_state_dict(after.state_dict())
    assert lrs(again, 7, 20) == lrs(after, 7, 20)


def test_a_length_of_its_own_that_is_too_short_is_refused_before_the_run() -> None:
    bound = planned(OneCycleLR(total_steps=12))
    for choice in ("continue", "stretch"):
        with pytest.raises(ValueError, match="total_steps must be at least"):
            extend(bound, choice, update=10, total_updates=20)
    assert extension_choices(bound, update=10, total_updates=20)["continue"].startswith("impossible (total_steps must")
    extend(bound, "restart", update=10, total_updates=20)


def test_without_a_choice_the_error_shows_each_ones_next_values() -> None:
    error = horizon_changed(planned(CosineAnnealingLR()), update=10, total_updates=20)
    assert isinstance(error, ValueError)
    assert str(error) == (
        "on_extend must be continue, stretch or restart where a run planned for 10 updates becomes one of 20, got "
        "None; the next rates, from update 10: continue 0, 0, 0 ... 0; stretch 0.05, 0.0422, 0.0345 ... 0.000616; "
        "restart 0.1, 0.0976, 0.0905 ... 0.00245"
    )


def test_groups_of_their_own_are_shown_by_name() -> None:
    bound = planned({"head": CosineAnnealingLR(), "*": StepLR(1, 0.5)})
    assert extension_choices(bound, update=10, total_updates=12)["continue"] == "head:0 *:0.025, head:0 *:0.025"


@pytest.mark.parametrize(
    ("choice", "update", "total", "message"),
    [
        ("strech", 10, 20, "on_extend 'strech' is not known; did you mean stretch"),
        ("stretch", 10, 10, "total_updates must be a whole number at least 11, got 10"),
        ("stretch", -1, 10, "update must be a whole number at least 0, got -1"),
        ("restart", 8, 10, "warm-up must be shorter than the run of 2 updates, got 2"),
    ],
)
def test_what_can_not_be_extended_is_refused(choice: Any, update: int, total: int, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        extend(planned(warmup(2) >> CosineAnnealingLR()), choice, update=update, total_updates=total)
    assert message in str(caught.value)
