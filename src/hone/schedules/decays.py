"""Rates that fall, or rise, smoothly: linear, exponential, polynomial, inverse square root."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hone.checks import integer, number, one_of

from .bound import Curve, Horizon, Interval, Schedule


@dataclass(frozen=True)
class LinearLR(Schedule):
    """A straight line from one factor to another, then the second one.

    ``f(t) = start_factor + (end_factor - start_factor) * min(t, total_iters) / total_iters``

    Args:
        start_factor: above 0, at most 1.
        end_factor: from 0 to 1.
        total_iters: steps the line lasts, at least 1.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> bound = LinearLR(start_factor=0.5, total_iters=2).bind(4, 4, 0.1)
        >>> [bound(update)["lr"] for update in range(4)]
        [0.5, 0.75, 1.0, 1.0]

    Reference:
        ``torch.optim.lr_scheduler.LinearLR``.
    """

    start_factor: float = 1.0 / 3
    end_factor: float = 1.0
    total_iters: int = 5
    interval: Interval = "update"

    def __post_init__(self) -> None:
        number("start_factor", self.start_factor, above=0, at_most=1)
        number("end_factor", self.end_factor, at_least=0, at_most=1)
        integer("total_iters", self.total_iters, at_least=1)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        start, rise, total = self.start_factor, self.end_factor - self.start_factor, self.total_iters
        # The end is given as it is: rounded, a line to 0 could end just below it.
        return lambda step: {"lr": start + rise * step / total if step < total else self.end_factor}


@dataclass(frozen=True)
class ExponentialLR(Schedule):
    """The rate is multiplied by the same number at each step.

    ``f(t) = gamma ** t``

    Args:
        gamma: at least 0.
        interval: what the steps count, "epoch" or "update".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> ExponentialLR(gamma=0.5).bind(total_updates=60, updates_per_epoch=10, base_lr=0.1)(25)
        {'lr': 0.25}

    Reference:
        ``torch.optim.lr_scheduler.ExponentialLR``.
    """

    gamma: float
    interval: Interval = "epoch"

    def __post_init__(self) -> None:
        number("gamma", self.gamma, at_least=0)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        return lambda step: {"lr": float(self.gamma**step)}


@dataclass(frozen=True)
class PolynomialLR(Schedule):
    """The rate falls to zero along a power of the time that is left.

    ``f(t) = (1 - min(t, total_iters) / total_iters) ** power``

    Args:
        total_iters: steps until zero, at least 1; the whole run where it is None (torch's own default is 5).
        power: at least 0; 1 is a straight line.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> bound = PolynomialLR(power=2).bind(total_updates=4, updates_per_epoch=4, base_lr=0.1)
        >>> [bound(update)["lr"] for update in range(5)]
        [1.0, 0.5625, 0.25, 0.0625, 0.0]

    Reference:
        ``torch.optim.lr_scheduler.PolynomialLR``; the "poly" policy of Chen et al. 2017, DeepLab (arXiv:1606.00915).
    """

    total_iters: int | None = None
    power: float = 1.0
    interval: Interval = "update"

    def __post_init__(self) -> None:
        if self.total_iters is not None:
            integer("total_iters", self.total_iters, at_least=1)
        number("power", self.power, at_least=0)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        total = self.total_iters or run.steps(self.interval)
        return lambda step: {"lr": float((1.0 - min(total, step) / total) ** self.power)}


@dataclass(frozen=True)
class InverseSqrtLR(Schedule):
    """The rate falls with the square root of the time passed, and needs no horizon.

    ``f(t) = sqrt(timescale / (timescale + t))``: ``warmup(w) >> InverseSqrtLR(timescale=w)`` is the Transformer's rule.

    Args:
        timescale: steps after which the rate is ``1 / sqrt(2)``, at least 1; commonly the length of the warm-up.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> InverseSqrtLR(timescale=100).bind(total_updates=1000, updates_per_epoch=100, base_lr=0.1)(300)
        {'lr': 0.5}

    Reference:
        Vaswani et al. 2017, "Attention is all you need" (arXiv:1706.03762), equation 3.
    """

    timescale: int = 10_000
    interval: Interval = "update"

    def __post_init__(self) -> None:
        integer("timescale", self.timescale, at_least=1)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        return lambda step: {"lr": math.sqrt(self.timescale / (self.timescale + step))}
