"""Rates that go up and down between two bounds, momentum the other way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from hone.checks import integer, invalid, number, one_of

from .bound import Curve, Horizon, Interval, Schedule
from .functions import callable_field


@dataclass(frozen=True)
class CyclicLR(Schedule):
    """The rate climbs from ``base_lr`` to ``max_lr`` and comes back, again and again, momentum mirrored.

    ``f(t) = (base_lr + (max_lr - base_lr) * triangle(t) * scale(...)) / the run's base rate``, where ``triangle`` goes
    0 to 1 in ``step_size_up`` steps and back in ``step_size_down``

    Args:
        base_lr: the lower bound, a rate, at least 0.
        max_lr: the upper bound, a rate, at least ``base_lr``; the run's base rate where it is None.
        step_size_up: steps up, at least 1.
        step_size_down: steps down, at least 1; as many as up where it is None.
        mode: "triangular" (no scaling), "triangular2" (halved each cycle) or "exp_range" (``gamma ** t``).
        gamma: for "exp_range", at least 0.
        scale_fn: a scaling of one's own, from the cycle (1 and up) or the step, in place of ``mode``.
        scale_mode: what ``scale_fn`` receives, "cycle" or "iterations".
        cycle_momentum: drive momentum (``betas[0]`` where the optimizer has betas) too.
        base_momentum: the lower bound of momentum, reached at ``max_lr``; from 0, below 1.
        max_momentum: the upper bound of momentum, from 0, below 1.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> bound = CyclicLR(base_lr=0.05, max_lr=0.1, step_size_up=2, cycle_momentum=False).bind(8, 8, base_lr=0.1)
        >>> [round(bound(update)["lr"], 2) for update in range(5)]
        [0.5, 0.75, 1.0, 0.75, 0.5]

    Reference:
        ``torch.optim.lr_scheduler.CyclicLR``; Smith 2017, Cyclical learning rates (arXiv:1506.01186).
    """

    base_lr: float
    max_lr: float | None = None
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = 1.0
    scale_fn: Callable[[float], float] | None = None
    scale_mode: Literal["cycle", "iterations"] = "cycle"
    cycle_momentum: bool = True
    base_momentum: float = 0.8
    max_momentum: float = 0.9
    interval: Interval = "update"

    def __post_init__(self) -> None:
        number("base_lr", self.base_lr, at_least=0)
        if self.max_lr is not None:
            number("max_lr", self.max_lr, at_least=0)
            if self.max_lr < self.base_lr:
                raise invalid("max_lr", f"be at least base_lr ({self.base_lr:g})", self.max_lr)
        integer("step_size_up", self.step_size_up, at_least=1)
        if self.step_size_down is not None:
            integer("step_size_down", self.step_size_down, at_least=1)
        one_of("mode", self.mode, ("triangular", "triangular2", "exp_range"))
        number("gamma", self.gamma, at_least=0)
        if self.scale_fn is not None:
            callable_field("scale_fn", self.scale_fn)
        one_of("scale_mode", self.scale_mode, ("cycle", "iterations"))
        momentum_bounds(self.base_momentum, self.max_momentum)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        top = run.base_lr if self.max_lr is None else self.max_lr
        if top < self.base_lr:
            raise invalid("base_lr", f"be at most the run's base rate ({top:g}), the upper bound here", self.base_lr)
        period = float(self.step_size_up + (self.step_size_down or self.step_size_up))
        turn = self.step_size_up / period

        def values(step: int) -> dict[str, float]:
            cycle = math.floor(1 + step / period)
            within = 1.0 + step / period - cycle
            height = within / turn if within <= turn else (within - 1) / (turn - 1)
            height *= self._scale(cycle, step)
            rate = self.base_lr + (top - self.base_lr) * height
            made = {"lr": number(f"the rate at step {step}", rate, at_least=0) / run.base_lr}
            if self.cycle_momentum:
                made["momentum"] = self.max_momentum - (self.max_momentum - self.base_momentum) * height
            return made

        return values

    def _scale(self, cycle: int, step: int) -> float:
        if self.scale_fn is not None:
            return float(self.scale_fn(cycle if self.scale_mode == "cycle" else step))
        if self.mode == "triangular2":
            return 1 / 2.0 ** (cycle - 1)
        return float(self.gamma**step) if self.mode == "exp_range" else 1.0


def momentum_bounds(base_momentum: float, max_momentum: float) -> None:
    """Raises where the two are no bounds of a momentum."""
    number("base_momentum", base_momentum, at_least=0, below=1)
    number("max_momentum", max_momentum, at_least=0, below=1)
