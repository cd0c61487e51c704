"""Rates from a function of one's own: the factor itself, or what it is multiplied by at each step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from hone.checks import number, one_of

from .bound import Curve, Horizon, Interval, Schedule

_CHECKED_AT_BINDING = 10_000


@dataclass(frozen=True)
class LambdaLR(Schedule):
    """The factor is what a function of the step returns; a bare function in a schedule's place is this.

    ``f(t) = lr_lambda(t)``

    Args:
        lr_lambda: from step to factor, pure; the factor is finite and at least 0.
        interval: what the steps count, "update" or "epoch".

    Raises:
        TypeError: ``lr_lambda`` can't be called, or returns no number.
        ValueError: it returns a negative or non-finite factor; binding tries the run's steps (10,000 of them at most).

    Example:
        >>> LambdaLR(lambda step: 0.5**step).bind(total_updates=10, updates_per_epoch=10, base_lr=0.1)(2)
        {'lr': 0.25}

    Reference:
        ``torch.optim.lr_scheduler.LambdaLR``.
    """

    lr_lambda: Callable[[int], float]
    interval: Interval = "update"

    def __post_init__(self) -> None:
        callable_field("lr_lambda", self.lr_lambda)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        def values(step: int) -> dict[str, float]:
            return {"lr": factor_at(self.lr_lambda, step)}

        steps = run.steps(self.interval)
        for step in range(0, steps, 1 + steps // _CHECKED_AT_BINDING):
            values(step)
        return values


@dataclass(frozen=True)
class MultiplicativeLR(Schedule):
    """The factor is multiplied at each step by what a function returns.

    ``f(t) = lr_lambda(1) * lr_lambda(2) * ... * lr_lambda(t)``

    There is no shorter way to ``f(t)`` than these ``t`` calls: binding makes them for the whole run (about 0.1 us a
    step for a short function) and keeps one float a step, so that each later ``f(t)`` is a look-up.

    Args:
        lr_lambda: from step (1 and up) to what the rate is multiplied by, pure; finite and at least 0.
        interval: what the steps count, "epoch" or "update".

    Raises:
        TypeError: ``lr_lambda`` can't be called, or returns no number.
        ValueError: it returns a negative or non-finite number.

    Example:
        >>> MultiplicativeLR(lambda epoch: 0.5).bind(total_updates=60, updates_per_epoch=10, base_lr=0.1)(25)
        {'lr': 0.25}

    Reference:
        ``torch.optim.lr_scheduler.MultiplicativeLR``.
    """

    lr_lambda: Callable[[int], float]
    interval: Interval = "epoch"

    def __post_init__(self) -> None:
        callable_field("lr_lambda", self.lr_lambda)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        products = [1.0]

        def values(step: int) -> dict[str, float]:
            for later in range(len(products), step + 1):
                products.append(products[-1] * factor_at(self.lr_lambda, later))
            return {"lr": products[step]}

        values(run.steps(self.interval) - 1)
        return values


def callable_field(name: str, value: object) -> None:
    """Raises where ``value`` is not a function; torch's lists of one function a group are named as what they are."""
    if isinstance(value, (list, tuple)):
        raise TypeError(f"{name} must be one function, got a list; different groups go by name: PerGroup({{...}})")
    if not callable(value):
        raise TypeError(f"{name} must be a function, got {value!r} ({type(value).__name__})")


def factor_at(function: Callable[[int], float], step: int) -> float:
    """What ``function`` returns at ``step``, checked to be a finite factor, at least 0."""
    value = function(step)
    name = f"{getattr(function, '__name__', type(function).__name__)}({step})"
    try:  # 0-d tensors and NumPy numbers are numbers too
        factor = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})") from None
    return number(name, factor, at_least=0)
