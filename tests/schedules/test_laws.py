"""Every schedule through the shared laws: values, purity, ratio of the groups, resume, extension, readings."""

from __future__ import annotations

import copy
from functools import partial
from typing import Any

import pytest
import torch
from torch.optim import lr_scheduler as theirs

from hone import schedules as s
from hone.testing import check_schedule
from hone.testing.schedules import LAWS

CASES: dict[str, Any] = {
    "ConstantLR": s.ConstantLR(0.25, 5),
    "StepLR": s.StepLR(2, 0.5),
    "MultiStepLR": s.MultiStepLR([1, 3], 0.1),
    "LinearLR": s.LinearLR(0.1, 0.5, 9),
    "ExponentialLR": s.ExponentialLR(0.8),
    "PolynomialLR": s.PolynomialLR(power=0.9),
    "InverseSqrtLR": s.InverseSqrtLR(timescale=5),
    "CosineAnnealingLR": s.CosineAnnealingLR(eta_min=1e-3),
    "CosineAnnealingLR short": s.CosineAnnealingLR(T_max=5),
    "CosineAnnealingWarmRestarts": s.CosineAnnealingWarmRestarts(3, 2, 1e-4, interval="update"),
    "CyclicLR": s.CyclicLR(1e-3, 0.1, 4, 3, mode="triangular2"),
    "OneCycleLR": s.OneCycleLR(),
    "OneCycleLR of a given length": s.OneCycleLR(0.5, total_steps=24, three_phase=True, anneal_strategy="linear"),
    "LambdaLR": s.LambdaLR(lambda update: 1 / (1 + update)),
    "MultiplicativeLR": s.MultiplicativeLR(lambda epoch: 0.9),
    "ReduceLROnPlateau": s.ReduceLROnPlateau(patience=1, cooldown=1, factor=0.5),
    "SequentialLR": s.SequentialLR([s.ConstantLR(0.1, 9), s.ExponentialLR(0.9), s.OneCycleLR()], [4, 9]),
    "ChainedScheduler": s.ChainedScheduler([s.LinearLR(), s.StepLR(1, 0.5)]),
    "warm-up": s.warmup(5) >> s.CosineAnnealingLR(),
    "warm-up before a cycle": s.warmup(epochs=0.5) >> s.OneCycleLR(),
    "warm-up before a plateau": s.warmup(share=0.2) >> s.ReduceLROnPlateau(patience=0, factor=0.5),
    "three parts": s.warmup(3) >> s.CosineAnnealingLR() >> s.LinearLR(0.1, 0.1).lasting(epochs=1),
    "WarmupStableDecayLR": s.WarmupStableDecayLR(),
    "BiTHyperRuleLR": s.BiTHyperRuleLR(2_000),
    "a function": lambda update: 0.5**update,
    "a table": [(0, 0.1), (10, 0.01), (20, 0.05)],
    "a torch class": theirs.LinearLR,
    "a torch class with options": partial(theirs.CyclicLR, base_lr=0.01, max_lr=0.1, step_size_up=4),
    "driving others": s.drive(s.CosineAnnealingLR(), weight_decay=(0.04, s.CosineAnnealingLR(eta_min=0.4))),
    "by group": {"head": s.OneCycleLR(), "*": s.warmup(4) >> s.ReduceLROnPlateau(patience=0)},
}


@pytest.mark.parametrize("name", CASES)
def test_shared_laws(name: str) -> None:
    check_schedule(CASES[name])


def test_every_schedule_is_in_the_table() -> None:
    def kinds(schedule: Any) -> set[type]:
        inner = (*getattr(schedule, "parts", ()), *getattr(schedule, "schedulers", ()))
        if hasattr(schedule, "schedule"):
            inner = (*inner, schedule.schedule)
        return {type(schedule)}.union(*(kinds(part) for part in inner))

    tried = set().union(*(kinds(s.as_schedule(case)) for case in CASES.values()))
    public = {getattr(s, name) for name in s.__all__}
    assert {kind for kind in public if isinstance(kind, type) and issubclass(kind, s.Schedule)} - tried == {s.Schedule}


class Counting(s.Schedule):
    """Counts its calls instead of looking at the update: what a stateful scheduler amounts to."""

    def curve(self, run: s.Horizon) -> Any:
        calls: list[int] = []
        return lambda step: calls.append(step) or {"lr": 1 / len(calls)}


class Negative(s.Schedule):
    """Falls below zero in the middle of the run."""

    def curve(self, run: s.Horizon) -> Any:
        return lambda step: {"lr": -1.0 if step == 7 else 1.0}


class Forgetful(s.Schedule):
    """Learns from readings and saves none of it."""

    def curve(self, run: s.Horizon) -> Any:
        class Learning:
            cut = 1.0

            def __call__(self, update: int) -> dict[str, float]:
                return {"lr": self.cut}

            def read(self, value: float, update: int) -> bool:
                self.cut *= 0.5
                return True

            def state_dict(self) -> dict[str, Any]:
                return {}

            def load_state_dict(self, state: dict[str, Any]) -> None:
                return None

        return Learning()


@pytest.mark.parametrize(
    ("wrong", "law"),
    [(Counting(), "same values each time"), (Negative(), "at least 0"), (Forgetful(), "resuming changes nothing")],
)
def test_a_wrong_schedule_breaks_a_law(wrong: Any, law: str) -> None:
    with pytest.raises(AssertionError, match=law):
        check_schedule(wrong)


def test_the_laws_are_all_run() -> None:
    assert len(LAWS) == 6


def test_load_orders_that_torch_gets_wrong() -> None:
    """Why the resume law is needed: torch's LinearLR built after its optimizer was loaded is wrong from then on."""

    def loop() -> tuple[Any, Any]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        return optimizer, theirs.LinearLR(optimizer, 0.1, total_iters=10)

    optimizer, scheduler = loop()
    for _ in range(4):
        optimizer.step()
        scheduler.step()
    saved = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
    fresh = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
    fresh.load_state_dict(saved[0])
    late = theirs.LinearLR(fresh, 0.1, total_iters=10)
    late.load_state_dict(saved[1])
    for each in ((optimizer, scheduler), (fresh, late)):
        each[0].step()
        each[1].step()
    assert fresh.param_groups[0]["lr"] < 0.2 * optimizer.param_groups[0]["lr"]
