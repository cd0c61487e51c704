"""The schedules that torch has not, against formulas of their sources; and what each class refuses."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hone import schedules as s

KINDS = [
    kind
    for name in s.__all__
    if isinstance(kind := getattr(s, name), type) and issubclass(kind, s.Schedule) and kind is not s.Schedule
]


def factors(schedule: Any, total: int, base_lr: float = 0.1) -> list[float]:
    return [schedule.bind(total, 5, base_lr)(update)["lr"] for update in range(total)]


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(warm=st.integers(1, 20), width=st.integers(1, 1000))
def test_warm_up_and_inverse_square_root_are_the_transformers_rule(warm: int, width: int) -> None:
    """Vaswani et al., equation 3: ``d ** -0.5 * min(n ** -0.5, n * w ** -1.5)`` for step ``n``, here with peak 1."""
    schedule = s.warmup(warm, start_factor=0.0) >> s.InverseSqrtLR(timescale=warm)
    peak = width**-0.5 * warm**-0.5
    for update, factor in enumerate(factors(schedule, warm + 15)):
        wanted = 0.0 if update == 0 else width**-0.5 * min(update**-0.5, update * warm**-1.5)
        assert math.isclose(factor * peak, wanted, rel_tol=1e-12)


@settings(max_examples=200, deadline=None, derandomize=True, database=None)
@given(
    warm=st.integers(0, 8),
    hold=st.integers(1, 8),
    decay=st.integers(0, 8),
    final=st.floats(0.0, 1.0),
    shape=st.sampled_from(["linear", "cosine", "sqrt"]),
)
def test_warm_up_stable_decay_piece_by_piece(warm: int, hold: int, decay: int, final: float, shape: str) -> None:
    left = {
        "linear": lambda p: 1 - p,
        "cosine": lambda p: math.cos(math.pi * p / 2) ** 2,
        "sqrt": lambda p: 1 - p**0.5,
    }[shape]
    schedule = s.WarmupStableDecayLR(
        warmup_updates=warm,
        decay_updates=decay,
        cooldown=getattr(s, f"{shape}_cooldown"),
        start_factor=0.0,
        final_factor=final,
    )
    climb = [step / warm for step in range(warm)]
    fall = [final + (1 - final) * left(step / decay) for step in range(decay)]
    seen = factors(schedule, warm + hold + decay)
    assert all(math.isclose(a, b, abs_tol=1e-12) for a, b in zip(seen, climb + [1.0] * hold + fall, strict=True))


def bit_rate(step: int, dataset_size: int) -> float:
    """The rule as its authors' code has it, with a base rate of 1."""
    if dataset_size < 20_000:
        supports = [100, 200, 300, 400, 500]
    elif dataset_size < 500_000:
        supports = [500, 3000, 6000, 9000, 10_000]
    else:
        supports = [500, 6000, 12_000, 18_000, 20_000]
    if step < supports[0]:
        return step / supports[0]
    lr = 1.0
    for support in supports[1:]:
        if support < step:
            lr /= 10
    return lr


@pytest.mark.parametrize("dataset_size", [1, 19_999, 20_000, 499_999, 500_000, 10_000_000])
def test_bit_hyperrule_as_published(dataset_size: int) -> None:
    rule = s.BiTHyperRuleLR(dataset_size)
    bound = rule.bind(rule.length, None, 0.003)
    for step in [*range(0, rule.length, 50), *range(1, rule.length, 1000), rule.length - 1]:
        assert math.isclose(bound(step)["lr"], bit_rate(step, dataset_size), rel_tol=1e-12)


def test_bit_hyperrule_keeps_its_proportions() -> None:
    half = s.BiTHyperRuleLR(2_000).bind(250, None, 0.003)
    assert [round(half(update)["lr"], 6) for update in (0, 25, 50, 100, 101, 249)] == [0.0, 0.5, 1.0, 1.0, 0.1, 0.001]


def test_the_cosine_stays_at_its_floor_past_the_run() -> None:
    for schedule in (s.CosineAnnealingLR(eta_min=0.01), s.CosineAnnealingLR(T_max=20, eta_min=0.01)):
        bound = schedule.bind(20, 5, 0.1)
        assert [bound(update)["lr"] for update in (20, 21, 30, 1000)] == [pytest.approx(0.1)] * 4
    early = s.CosineAnnealingLR(T_max=40).bind(20, 5, 0.1)
    assert early(20)["lr"] == pytest.approx(0.5)


def test_epochs_and_updates() -> None:
    assert factors(s.StepLR(1, 0.5), 12) == [1.0] * 5 + [0.5] * 5 + [0.25] * 2
    by_epoch = factors(s.CosineAnnealingLR(interval="epoch"), 12)
    assert by_epoch[:5] == [1.0] * 5 and by_epoch[10] == pytest.approx((1 + math.cos(2 * math.pi / 3)) / 2)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_schedule_is_a_frozen_dataclass(kind: Any) -> None:
    assert dataclasses.is_dataclass(kind) and kind.__dataclass_params__.frozen
    assert "Example:" in kind.__doc__ and "Args:" in kind.__doc__ and "Raises:" in kind.__doc__


def test_arguments_become_typed_options() -> None:
    jsonargparse = pytest.importorskip("jsonargparse")
    for kind in KINDS:
        jsonargparse.ArgumentParser(exit_on_error=False).add_class_arguments(kind, "schedule")
    parser = jsonargparse.ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(s.OneCycleLR, "schedule")
    parsed = parser.parse_args(["--schedule.max_lr", "3e-3", "--schedule.anneal_strategy", "linear"])
    assert s.OneCycleLR(**vars(parsed.schedule)) == s.OneCycleLR(max_lr=3e-3, anneal_strategy="linear")


BAD: list[tuple[Any, str]] = [
    (lambda: s.ConstantLR(factor=-0.1), "factor must be a finite number at least 0 and at most 1, got -0.1"),
    (lambda: s.ConstantLR(total_iters=0), "total_iters must be a whole number at least 1, got 0"),
    (lambda: s.LinearLR(start_factor=0), "start_factor must be a finite number above 0 and at most 1, got 0"),
    (lambda: s.LinearLR(end_factor=2), "end_factor must be a finite number at least 0 and at most 1, got 2"),
    (lambda: s.LinearLR(total_iters=0), "total_iters must be a whole number at least 1, got 0"),
    (lambda: s.StepLR(0), "step_size must be a whole number at least 1, got 0"),
    (lambda: s.StepLR(1, gamma=-1), "gamma must be a finite number at least 0, got -1"),
    (lambda: s.StepLR(1, interval="step"), "interval 'step' is not known; the choices are update, epoch"),
    (lambda: s.MultiStepLR([5, 3]), "milestones must be in increasing order, got [5, 3]"),
    (lambda: s.MultiStepLR([-1]), "milestones[0] must be a whole number at least 0, got -1"),
    (lambda: s.ExponentialLR(-0.9), "gamma must be a finite number at least 0, got -0.9"),
    (lambda: s.ExponentialLR(float("nan")), "gamma must be a finite number at least 0, got nan"),
    (lambda: s.PolynomialLR(total_iters=0), "total_iters must be a whole number at least 1, got 0"),
    (lambda: s.PolynomialLR(power=-1), "power must be a finite number at least 0, got -1"),
    (lambda: s.InverseSqrtLR(timescale=0), "timescale must be a whole number at least 1, got 0"),
    (lambda: s.CosineAnnealingLR(T_max=0), "T_max must be a whole number at least 1, got 0"),
    (lambda: s.CosineAnnealingLR(eta_min=-1e-3), "eta_min must be a finite number at least 0, got -0.001"),
    (lambda: s.CosineAnnealingWarmRestarts(0), "T_0 must be a whole number at least 1, got 0"),
    (lambda: s.CosineAnnealingWarmRestarts(1, T_mult=0), "T_mult must be a whole number at least 1, got 0"),
    (lambda: s.CyclicLR(0.2, 0.1), "max_lr must be at least base_lr (0.2), got 0.1"),
    (lambda: s.CyclicLR(0.01, mode="saw"), "mode 'saw' is not known; the choices are triangular"),
    (lambda: s.CyclicLR(0.01, step_size_up=0), "step_size_up must be a whole number at least 1, got 0"),
    (lambda: s.CyclicLR(0.01, scale_mode="epoch"), "scale_mode 'epoch' is not known"),
    (lambda: s.CyclicLR(0.01, max_momentum=1.0), "max_momentum must be a finite number at least 0 and below 1"),
    (lambda: s.CyclicLR(0.5).bind(10, 5, 0.1), "base_lr must be at most the run's base rate (0.1)"),
    (lambda: s.OneCycleLR(max_lr=0), "max_lr must be a finite number above 0, got 0"),
    (lambda: s.OneCycleLR(pct_start=1.2), "pct_start must be a finite number at least 0 and at most 1, got 1.2"),
    (lambda: s.OneCycleLR(pct_start=0.6, three_phase=True), "at least 0 and at most 0.5, got 0.6"),
    (lambda: s.OneCycleLR(anneal_strategy="exp"), "anneal_strategy 'exp' is not known"),
    (lambda: s.OneCycleLR(epochs=3), "epochs and steps_per_epoch must be given together, got (3, None)"),
    (lambda: s.OneCycleLR(total_steps=9).bind(10, 5, 0.1), "total_steps must be at least the run's 10 updates, got 9"),
    (lambda: s.OneCycleLR(epochs=3, steps_per_epoch=3).bind(10, 5, 0.1), "must be at least the run's 10 updates"),
    (lambda: s.OneCycleLR(total_steps=10).bind(10, 5, 0.1)(11), "total_steps must be at least the steps taken (11)"),
    (lambda: s.ReduceLROnPlateau(mode="least"), "mode 'least' is not known"),
    (lambda: s.ReduceLROnPlateau(factor=1.0), "factor must be a finite number at least 0 and below 1, got 1.0"),
    (lambda: s.ReduceLROnPlateau(patience=-1), "patience must be a whole number at least 0, got -1"),
    (lambda: s.ReduceLROnPlateau(min_lr=-1), "min_lr must be a finite number at least 0, got -1"),
    (lambda: s.ChainedScheduler([]), "the number of schedulers must be a whole number at least 1, got 0"),
    (lambda: s.ChainedScheduler([s.LinearLR(), {"*": s.LinearLR()}]).bind(9, 5, 0.1), "be the same for all groups"),
    (lambda: s.WarmupStableDecayLR(warmup_updates=8, decay_updates=3).bind(10, 5, 0.1), "fit into the run of 10"),
    (lambda: s.WarmupStableDecayLR(warmup_updates=10, decay_updates=0).bind(10, 5, 0.1), "fit into the run of 10"),
    (lambda: s.BiTHyperRuleLR(0), "dataset_size must be a whole number at least 1, got 0"),
    (lambda: s.CosineAnnealingLR().bind(0, 5, 0.1), "total_updates must be a whole number at least 1, got 0"),
    (lambda: s.CosineAnnealingLR().bind(10, 0, 0.1), "updates_per_epoch must be a whole number at least 1, got 0"),
    (lambda: s.CosineAnnealingLR().bind(10, 5, 0.0), "base_lr must be a finite number above 0, got 0.0"),
    (lambda: s.CosineAnnealingLR().bind(10, 5, 0.1)(-1), "update must be at least 0, got -1"),
]


@pytest.mark.parametrize(("make", "message"), BAD, ids=[message[:40] for _, message in BAD])
def test_bad_input_is_named_before_the_run(make: Any, message: str) -> None:
    with pytest.raises(ValueError) as caught:
        make()
    assert message in str(caught.value)


@pytest.mark.parametrize(
    "make", [lambda: s.StepLR(2.5), lambda: s.StepLR("2"), lambda: s.ExponentialLR("0.9"), lambda: s.LambdaLR(0.5)]
)
def test_wrong_types_are_named(make: Any) -> None:
    with pytest.raises(TypeError, match=r"(step_size|gamma|lr_lambda) must be a"):
        make()
