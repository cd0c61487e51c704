"""Every schedule against torch's own class, stepped the ordinary way, on random parameters."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler as theirs

from hone import schedules as ours

SETS = settings(
    max_examples=200, deadline=None, derandomize=True, database=None, suppress_health_check=[HealthCheck.too_slow]
)
TOLERANCE = 1e-12  # relative
RESIDUE = 1e-15  # of the base rate: where the true rate is 0 torch's running product may leave this

whole, few = st.integers(1, 12), st.integers(1, 5)
rate = st.floats(1e-5, 1.0)
share = st.floats(0.01, 1.0)
momentum = st.floats(0.0, 0.99)
Made = tuple[Any, Callable[[Any], Any]]


def drawn(ours_class: Any, theirs_class: Any, fixed: dict[str, Any] | None = None, **options: Any) -> Any:
    """Both schedulers, made with the same random arguments; ``fixed`` is what only ours needs."""
    return st.fixed_dictionaries(options).map(
        lambda kwargs: (ours_class(**kwargs, **(fixed or {})), partial(theirs_class, **kwargs))
    )


def functions() -> Any:
    return st.floats(0.5, 1.2).map(lambda base: lambda step: base**step)


def cosine() -> Any:
    # A floor, so at or below every base rate: above it torch's recursion rounds by the floor (4.6e-12 seen); the closed
    # form is the oracle for any of them below.
    floor = st.just(0.0) | st.floats(1e-9, 1e-5)
    return drawn(ours.CosineAnnealingLR, theirs.CosineAnnealingLR, T_max=st.integers(30, 60), eta_min=floor)


def one_cycle() -> Any:
    def made(options: dict[str, Any], peak: float, total: int) -> Made:
        if options["three_phase"]:
            options = {**options, "pct_start": options["pct_start"] / 2}
        # torch divides by zero where a phase has no length
        if abs(options["pct_start"] * total - 1) < 1e-9:
            options = {**options, "pct_start": 0.0}
        kwargs = {**options, "max_lr": peak, "total_steps": total}
        return ours.OneCycleLR(**kwargs), partial(theirs.OneCycleLR, **kwargs)

    options = st.fixed_dictionaries(
        {
            "pct_start": st.floats(0.0, 1.0),
            "anneal_strategy": st.sampled_from(["cos", "linear"]),
            "three_phase": st.booleans(),
            "base_momentum": momentum,
            "max_momentum": momentum,
            "div_factor": st.floats(1.0, 100.0),
            "final_div_factor": st.floats(1.0, 1e5),
        }
    )
    return st.builds(made, options, rate, st.integers(30, 50))


def cyclic() -> Any:
    def made(options: dict[str, Any], low: float, high: float, own: bool, scale_mode: str) -> Made:
        kwargs = {**options, "base_lr": min(low, high), "max_lr": max(low, high)}
        if own:
            kwargs |= {"scale_fn": lambda x: 1 / (1 + 0.1 * x), "scale_mode": scale_mode}
        return ours.CyclicLR(**kwargs), partial(theirs.CyclicLR, **kwargs)

    options = st.fixed_dictionaries(
        {
            "step_size_up": whole,
            "step_size_down": st.none() | whole,
            "mode": st.sampled_from(["triangular", "triangular2", "exp_range"]),
            "gamma": st.floats(0.8, 1.05),
            "base_momentum": momentum,
            "max_momentum": momentum,
        }
    )
    return st.builds(made, options, rate, rate, st.booleans(), st.sampled_from(["cycle", "iterations"]))


def sequential() -> Any:
    def made(factor: float, gamma: float, first: int, second: int, T_max: int) -> Made:
        mine = [
            ours.LinearLR(start_factor=factor, total_iters=first),
            ours.CosineAnnealingLR(T_max=T_max),
            ours.ExponentialLR(gamma, interval="update"),
        ]

        def torchs(optimizer: Any) -> Any:
            parts = [
                theirs.LinearLR(optimizer, start_factor=factor, total_iters=first),
                theirs.CosineAnnealingLR(optimizer, T_max=T_max),
                theirs.ExponentialLR(optimizer, gamma=gamma),
            ]
            return theirs.SequentialLR(optimizer, parts, milestones=[first, first + second])

        return ours.SequentialLR(mine, milestones=[first, first + second]), torchs

    return st.builds(made, share, st.floats(0.5, 1.0), whole, whole, st.integers(12, 30))


def chained() -> Any:
    def made(factor: float, iters: int, gamma: float, step_size: int) -> Made:
        mine = [
            ours.ConstantLR(factor, iters),
            ours.ExponentialLR(gamma, interval="update"),
            ours.StepLR(step_size, 0.5, interval="update"),
        ]

        def torchs(optimizer: Any) -> Any:
            parts = [
                theirs.ConstantLR(optimizer, factor, iters),
                theirs.ExponentialLR(optimizer, gamma),
                theirs.StepLR(optimizer, step_size, 0.5),
            ]
            return theirs.ChainedScheduler(parts, optimizer)

        return ours.ChainedScheduler(mine), torchs

    return st.builds(made, share, whole, st.floats(0.5, 1.1), few)


EACH_UPDATE = {"interval": "update"}
milestones = st.lists(st.integers(0, 30), max_size=5).map(sorted)
FAMILIES: dict[str, Any] = {
    "ConstantLR": drawn(ours.ConstantLR, theirs.ConstantLR, factor=share, total_iters=whole),
    "StepLR": drawn(ours.StepLR, theirs.StepLR, EACH_UPDATE, step_size=whole, gamma=st.floats(0.01, 1.5)),
    "MultiStepLR": drawn(
        ours.MultiStepLR, theirs.MultiStepLR, EACH_UPDATE, milestones=milestones, gamma=st.floats(0.01, 1.5)
    ),
    "LinearLR": drawn(
        ours.LinearLR, theirs.LinearLR, start_factor=share, end_factor=st.just(0.0) | share, total_iters=whole
    ),
    "ExponentialLR": drawn(ours.ExponentialLR, theirs.ExponentialLR, EACH_UPDATE, gamma=st.floats(0.5, 1.1)),
    "PolynomialLR": drawn(
        ours.PolynomialLR, theirs.PolynomialLR, total_iters=st.integers(1, 40), power=st.floats(0.1, 4.0)
    ),
    "CosineAnnealingLR": cosine(),
    "CosineAnnealingWarmRestarts": drawn(
        ours.CosineAnnealingWarmRestarts,
        theirs.CosineAnnealingWarmRestarts,
        EACH_UPDATE,
        T_0=whole,
        T_mult=st.integers(1, 4),
        eta_min=rate,
    ),
    "LambdaLR": drawn(ours.LambdaLR, theirs.LambdaLR, lr_lambda=functions()),
    "MultiplicativeLR": drawn(ours.MultiplicativeLR, theirs.MultiplicativeLR, EACH_UPDATE, lr_lambda=functions()),
    "CyclicLR": cyclic(),
    "OneCycleLR": one_cycle(),
    "SequentialLR": sequential(),
    "ChainedScheduler": chained(),
}


def stepped(make: Callable[[Any], Any], updates: int, base_lr: float) -> list[tuple[float, float]]:
    """Torch's rate and momentum at each update of an ordinary loop."""
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base_lr, momentum=0.5)
    scheduler, rows = make(optimizer), []
    for _ in range(updates):
        rows.append((optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]))
        optimizer.step()
        scheduler.step()
    return rows


def bound_rows(schedule: Any, updates: int, base_lr: float) -> list[tuple[float, float]]:
    bound = ours.bind_schedule(schedule, updates, 7, base_lr)
    return [(base_lr * bound(update)["lr"], bound(update).get("momentum", 0.5)) for update in range(updates)]


def worst(mine: list[tuple[float, float]], torchs: list[tuple[float, float]], base_lr: float) -> float:
    """The largest relative difference of any value at any update."""
    found = 0.0
    for (rate_a, momentum_a), (rate_b, momentum_b) in zip(mine, torchs, strict=True):
        if rate_a == 0.0 and abs(rate_b) <= RESIDUE * base_lr:
            rate_b = 0.0
        for a, b in ((rate_a, rate_b), (momentum_a, momentum_b)):
            found = max(found, abs(a - b) / max(abs(a), abs(b), 1e-300))
    return found


@pytest.mark.parametrize("family", FAMILIES)
def test_equal_to_torch_at_every_update(family: str) -> None:
    @SETS
    @given(made=FAMILIES[family], base_lr=rate)
    def parity(made: Made, base_lr: float) -> None:
        mine, torchs = made
        updates = 30
        difference = worst(bound_rows(mine, updates, base_lr), stepped(torchs, updates, base_lr), base_lr)
        assert difference <= TOLERANCE, f"{mine} at base rate {base_lr}: {difference}"

    parity()


@pytest.mark.parametrize("family", FAMILIES)
def test_a_schedule_one_update_late_is_seen(family: str) -> None:
    """The deliberately wrong variant: at least one parameter set in ten must tell it apart."""
    seen = []

    @settings(SETS, max_examples=20)
    @given(made=FAMILIES[family], base_lr=rate)
    def late(made: Made, base_lr: float) -> None:
        mine, torchs = made
        rows = bound_rows(mine, 30, base_lr)
        seen.append(worst([rows[0], *rows[:-1]], stepped(torchs, 30, base_lr), base_lr) > TOLERANCE)

    late()
    assert sum(seen) >= 2


@SETS
@given(
    mode=st.sampled_from(["min", "max"]),
    threshold_mode=st.sampled_from(["rel", "abs"]),
    factor=st.floats(0.05, 0.95),
    patience=st.integers(0, 3),
    threshold=st.floats(0.0, 0.2),
    cooldown=st.integers(0, 3),
    min_lr=st.just(0.0) | st.floats(1e-4, 1e-2),
    readings=st.lists(st.floats(-2.0, 2.0), min_size=20, max_size=30),
    base_lr=st.floats(1e-3, 1.0),
)
def test_plateau_equals_torch_at_every_reading(readings: list[float], base_lr: float, **options: Any) -> None:
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base_lr)
    torchs: Any = theirs.ReduceLROnPlateau(optimizer, **options)
    bound: Any = ours.ReduceLROnPlateau(**options).bind(len(readings) + 1, 5, base_lr)
    for update, reading in enumerate(readings, start=1):
        torchs.step(reading)
        bound.read(reading, update)
        rate_now, wanted = base_lr * bound(update)["lr"], optimizer.param_groups[0]["lr"]
        assert math.isclose(rate_now, wanted, rel_tol=TOLERANCE), (update, rate_now, wanted)


@SETS
@given(T_max=st.integers(1, 12), eta_min=rate, base_lr=rate)
def test_a_short_cosine_is_periodic_by_the_closed_form(T_max: int, eta_min: float, base_lr: float) -> None:
    """Torch's own recursion drifts past ``T_max`` (1.6e-12 has been seen), so its closed form is the oracle there."""
    bound = ours.CosineAnnealingLR(T_max=T_max, eta_min=eta_min).bind(40, 5, base_lr)
    for update in range(40):
        wanted = eta_min + (base_lr - eta_min) * (1 + math.cos(math.pi * update / T_max)) / 2
        assert math.isclose(base_lr * bound(update)["lr"], wanted, rel_tol=TOLERANCE)
        if update >= 2 * T_max:
            assert math.isclose(bound(update)["lr"], bound(update - 2 * T_max)["lr"], rel_tol=1e-9)


def test_a_chain_with_a_floor_is_the_product() -> None:
    """Torch edits the rate in place by each scheduler in turn, so a floor is counted once more at each step.

    Two cosines down to half the base rate are both at half after ``T_max`` steps: the product is a quarter. Torch ends
    elsewhere, and elsewhere again where a constant factor is written before or after the cosine.
    """
    floor = ours.CosineAnnealingLR(T_max=10, eta_min=0.5)
    bound = ours.ChainedScheduler([floor, floor]).bind(10, 5, base_lr=1.0)
    assert math.isclose(bound(10)["lr"], 0.25, rel_tol=1e-12)

    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0)
    parts = [theirs.CosineAnnealingLR(optimizer, T_max=10, eta_min=0.5) for _ in range(2)]
    chain = theirs.ChainedScheduler(parts, optimizer)
    for _ in range(10):
        optimizer.step()
        chain.step()
    assert not math.isclose(optimizer.param_groups[0]["lr"], 0.25, rel_tol=1e-3)


def test_a_line_to_zero_ends_at_zero() -> None:
    """Torch's running product leaves a rounding residue where the line ends at 0; here it is 0."""
    assert ours.LinearLR(start_factor=0.9, end_factor=0.0, total_iters=7).bind(20, 5, 0.1)(7)["lr"] == 0.0


def test_a_constant_of_zero_ends() -> None:
    """Torch divides by the factor to undo it, which fails at 0; here the base rate comes back."""
    bound = ours.ConstantLR(factor=0.0, total_iters=2).bind(4, 4, 0.1)
    assert [bound(update)["lr"] for update in range(4)] == [0.0, 0.0, 1.0, 1.0]
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    scheduler = theirs.ConstantLR(optimizer, factor=0.0, total_iters=1)
    optimizer.step()
    with pytest.raises(ZeroDivisionError):
        scheduler.step()


def test_torchs_defaults_are_ours() -> None:
    """Arguments have torch's names, order and defaults, but for those that follow the run."""
    follow_the_run = {"T_max", "total_steps", "max_lr", "total_iters of PolynomialLR"}
    for name in theirs.__all__:
        if name == "LRScheduler":
            continue
        wanted = dict(inspect.signature(getattr(theirs, name)).parameters)
        wanted.pop("optimizer", None)
        wanted.pop("last_epoch", None)
        got = dict(inspect.signature(getattr(ours, name)).parameters)
        assert list(got)[: len(wanted)] == list(wanted), name
        for key, parameter in wanted.items():
            if key not in follow_the_run and f"{key} of {name}" not in follow_the_run:
                assert got[key].default == parameter.default, (name, key)
