"""Rates that jump: constant for a while, or cut at given steps."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from hone.checks import integer, invalid, number, one_of

from .bound import Curve, Horizon, Interval, Schedule


@dataclass(frozen=True)
class ConstantLR(Schedule):
    """A smaller rate for the first steps, then the base rate.

    ``f(t) = factor`` for ``t < total_iters``, else 1.

    Args:
        factor: from 0 to 1.
        total_iters: steps that ``factor`` lasts, at least 1.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> bound = ConstantLR(factor=0.5, total_iters=2).bind(4, 4, 0.1)
        >>> [bound(update)["lr"] for update in range(4)]
        [0.5, 0.5, 1.0, 1.0]

    Reference:
        ``torch.optim.lr_scheduler.ConstantLR``; torch itself can't leave ``factor=0``.
    """

    factor: float = 1.0 / 3
    total_iters: int = 5
    interval: Interval = "update"

    def __post_init__(self) -> None:
        number("factor", self.factor, at_least=0, at_most=1)
        integer("total_iters", self.total_iters, at_least=1)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        return lambda step: {"lr": self.factor if step < self.total_iters else 1.0}


@dataclass(frozen=True)
class StepLR(Schedule):
    """The rate is cut every ``step_size`` steps.

    ``f(t) = gamma ** floor(t / step_size)``

    Args:
        step_size: steps between two cuts, at least 1.
        gamma: what the rate is multiplied by, at least 0.
        interval: what the steps count, "epoch" or "update".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> StepLR(step_size=2, gamma=0.5).bind(total_updates=60, updates_per_epoch=10, base_lr=0.1)(45)
        {'lr': 0.25}

    Reference:
        ``torch.optim.lr_scheduler.StepLR``.
    """

    step_size: int
    gamma: float = 0.1
    interval: Interval = "epoch"

    def __post_init__(self) -> None:
        integer("step_size", self.step_size, at_least=1)
        number("gamma", self.gamma, at_least=0)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        return lambda step: {"lr": float(self.gamma ** (step // self.step_size))}


@dataclass(frozen=True)
class MultiStepLR(Schedule):
    """The rate is cut at each milestone.

    ``f(t) = gamma ** (number of milestones <= t)``

    Args:
        milestones: steps at which the rate is cut, in order, each at least 0; one given twice cuts twice.
        gamma: what the rate is multiplied by, at least 0.
        interval: what the steps count, "epoch" or "update".

    Raises:
        ValueError: an argument is out of its range, or the milestones are out of order.

    Example:
        >>> bound = MultiStepLR(milestones=[2, 3], gamma=0.5, interval="update").bind(4, 4, 0.1)
        >>> [bound(update)["lr"] for update in range(4)]
        [1.0, 1.0, 0.5, 0.25]

    Reference:
        ``torch.optim.lr_scheduler.MultiStepLR``.
    """

    milestones: Sequence[int]
    gamma: float = 0.1
    interval: Interval = "epoch"

    def __post_init__(self) -> None:
        object.__setattr__(self, "milestones", ordered_steps("milestones", self.milestones))
        number("gamma", self.gamma, at_least=0)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        return lambda step: {"lr": float(self.gamma ** bisect_right(self.milestones, step))}


def ordered_steps(name: str, steps: Sequence[int]) -> tuple[int, ...]:
    """The steps as a tuple; raises where one is negative or they are out of order."""
    checked = tuple(integer(f"{name}[{place}]", step, at_least=0) for place, step in enumerate(steps))
    if any(later < earlier for earlier, later in pairwise(checked)):
        raise invalid(name, "be in increasing order", list(checked))
    return checked
