"""A user's own schedule: a function, a table, a torch class; and what binding makes of anything else."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim.lr_scheduler import LinearLR, LRScheduler, OneCycleLR, ReduceLROnPlateau

from hone import schedules as s


class HalvingLR(LRScheduler):
    """A user's own, of the kind that edits the rate in place."""

    def __init__(self, optimizer: Any, every: int = 2) -> None:
        self.every = every
        super().__init__(optimizer)

    def get_lr(self) -> list[Any]:
        halve = self.last_epoch > 0 and self.last_epoch % self.every == 0
        return [group["lr"] * (0.5 if halve else 1.0) for group in self.optimizer.param_groups]


def factors(given: Any, total: int = 6, base_lr: float = 0.1) -> list[float]:
    bound = s.bind_schedule(given, total, 3, base_lr)
    return [bound(update)["lr"] for update in range(total)]


@pytest.mark.parametrize(
    "given",
    [
        HalvingLR,
        partial(HalvingLR, every=2),
        lambda optimizer: HalvingLR(optimizer, every=2),
        s.FromTorch(lambda o: HalvingLR(o)),
    ],
)
def test_a_torch_class_is_a_table(given: Any) -> None:
    assert factors(given) == [1.0, 1.0, 0.5, 0.5, 0.25, 0.25]
    bound = s.bind_schedule(given, 6, 3, 0.1)
    assert bound(100) == {"lr": 0.25}


def test_a_torch_class_stepped_once_an_epoch() -> None:
    assert factors(s.FromTorch(partial(LinearLR, start_factor=0.5, total_iters=1), interval="epoch")) == [
        *(0.5, 0.5, 0.5),
        *(1.0, 1.0, 1.0),
    ]


def test_momentum_is_in_the_table_where_it_moves() -> None:
    bound = s.bind_schedule(partial(OneCycleLR, max_lr=0.1, total_steps=6), 6, 3, 0.1)
    assert bound(0)["momentum"] == 0.95 and set(s.bind_schedule(HalvingLR, 6, 3, 0.1)(0)) == {"lr"}


def test_a_function_gets_the_update() -> None:
    seen = []
    assert factors(lambda update: seen.append(update) or np.float32(0.5)) == [0.5] * 6
    assert set(seen) == set(range(6))
    assert factors(lambda update: torch.tensor(0.25)) == [0.25] * 6


def test_a_table_of_rates() -> None:
    assert factors([(1, 0.1), (3, 0.2)], base_lr=0.1) == [1.0, 1.0, pytest.approx(1.5), 2.0, 2.0, 2.0]
    assert factors({1: 0.1, 3: 0.2}, base_lr=0.1) == factors([(1, 0.1), (3, 0.2)], base_lr=0.1)
    assert factors(s.TableLR([(1, 0.1), (3, 0.2)], straight=False), base_lr=0.1) == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]


def test_anything_with_bind_fits() -> None:
    class Mine:
        def bind(self, total_updates: int, updates_per_epoch: int, base_lr: float) -> Any:
            return lambda update: {"lr": update / total_updates}

    assert factors(Mine()) == [0.0, 1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6]
    assert factors(s.warmup(2, start_factor=1) >> Mine()) == [0.0, 0.0, 0.0, 0.25, 0.5, 0.75]


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ("cosine", TypeError, "schedule must be a schedule, a function, a table or a scheduler class, got 'cosine'"),
        (s.CosineAnnealingLR, TypeError, "schedule must be made first: CosineAnnealingLR(...)"),
        (lambda update: -0.5, ValueError, "<lambda>(0) must be a finite number at least 0, got -0.5"),
        (lambda update: float("nan") if update == 5 else 1.0, ValueError, "<lambda>(5) must be a finite number"),
        (lambda update: None, TypeError, "<lambda>(0) must be a number, got None (NoneType)"),
        (lambda update: "half", TypeError, "<lambda>(0) must be a number, got 'half' (str)"),
        (ReduceLROnPlateau, ValueError, "use hone.schedules.ReduceLROnPlateau"),
        (s.FromTorch(lambda optimizer: optimizer), TypeError, "scheduler must make an LRScheduler"),
        (s.LambdaLR, TypeError, "schedule must be made first"),
        ([], ValueError, "points must hold at least one"),
        ([(0, 0.1), (0, 0.2)], ValueError, "points must have increasing steps, got [0, 0]"),
        ([(0, -0.1)], ValueError, "points[0] value must be a finite number at least 0, got -0.1"),
        ([0.1, 0.2], TypeError, "points[0] must be a (step, value) pair, got 0.1"),
        (s.ExponentialLR(1e9, interval="update"), ValueError, "the value at update 49 must be finite"),
    ],
)
def test_what_can_not_be_a_schedule_is_refused(given: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        s.bind_schedule(given, 50, 3, 0.1)
    assert message in str(caught.value)


def test_a_torch_scheduler_that_is_already_tied_is_refused() -> None:
    tied = LinearLR(torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1))
    with pytest.raises(TypeError, match="must not be tied to an optimizer yet, got a LinearLR"):
        s.bind_schedule(tied, 6, 3, 0.1)
    with pytest.raises(TypeError, match="different groups go by name: PerGroup"):
        s.LambdaLR([lambda step: 1.0, lambda step: 0.5])


def test_multiplicative_calls_its_function_once_a_step() -> None:
    calls: list[int] = []
    bound = s.MultiplicativeLR(lambda step: calls.append(step) or 0.5, interval="update").bind(5, 5, 0.1)
    assert calls == [1, 2, 3, 4]
    assert [bound(update)["lr"] for update in (4, 0, 2)] == [0.0625, 1.0, 0.25] and calls == [1, 2, 3, 4]
