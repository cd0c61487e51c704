"""One climb and one long descent over the whole run."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from hone.checks import integer, invalid, number, one_of

from .bound import Curve, Horizon, Interval, Schedule
from .cyclic import momentum_bounds


@dataclass(frozen=True)
class OneCycleLR(Schedule):
    """The rate climbs to ``max_lr``, then anneals far below where it began; momentum goes the other way.

    ``max_lr / div_factor -> max_lr -> max_lr / div_factor / final_div_factor``, along half a cosine or a line

    Every group keeps its ratio to the base rate: one at a tenth of it peaks at a tenth of ``max_lr``.

    Args:
        max_lr: the peak, a rate, above 0; the run's base rate where it is None.
        total_steps: steps of the cycle; ``epochs * steps_per_epoch`` where they are given, else the whole run.
        epochs: with ``steps_per_epoch``, another way to say ``total_steps``.
        steps_per_epoch: see ``epochs``.
        pct_start: share of the steps that climb, from 0 to 1 (at most 0.5 with ``three_phase``).
        anneal_strategy: "cos" or "linear".
        cycle_momentum: drive momentum (``betas[0]`` where the optimizer has betas) too.
        base_momentum: momentum at the peak, from 0, below 1.
        max_momentum: momentum at both ends, from 0, below 1.
        div_factor: how far below the peak it begins, above 0.
        final_div_factor: how far below its beginning it ends, above 0.
        three_phase: come down to the beginning as fast as it climbed, and only then anneal.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: an argument is out of its range, or the run is longer than ``total_steps``.

    Example:
        >>> bound = OneCycleLR(cycle_momentum=False).bind(total_updates=100, updates_per_epoch=10, base_lr=1e-2)
        >>> [round(bound(update)["lr"], 4) for update in (0, 29, 99)]
        [0.04, 1.0, 0.0]

    Reference:
        ``torch.optim.lr_scheduler.OneCycleLR``; Smith & Topin 2018, Super-convergence (arXiv:1708.07120).
    """

    max_lr: float | None = None
    total_steps: int | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = None
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    cycle_momentum: bool = True
    base_momentum: float = 0.85
    max_momentum: float = 0.95
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False
    interval: Interval = "update"

    def __post_init__(self) -> None:
        if self.max_lr is not None:
            number("max_lr", self.max_lr, above=0)
        for name in ("total_steps", "epochs", "steps_per_epoch"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name), at_least=1)
        if (self.epochs is None) != (self.steps_per_epoch is None):
            raise invalid("epochs and steps_per_epoch", "be given together", (self.epochs, self.steps_per_epoch))
        number("pct_start", self.pct_start, at_least=0, at_most=0.5 if self.three_phase else 1)
        one_of("anneal_strategy", self.anneal_strategy, ("cos", "linear"))
        momentum_bounds(self.base_momentum, self.max_momentum)
        number("div_factor", self.div_factor, above=0)
        number("final_div_factor", self.final_div_factor, above=0)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        given, steps = self._given_steps(), run.steps(self.interval)
        if given is not None and given < steps:
            raise invalid("total_steps", f"be at least the run's {steps} {self.interval}s", given, "or leave it out")
        total = given or steps
        peak = run.base_lr if self.max_lr is None else self.max_lr
        first = peak / self.div_factor
        phases = self._phases(total, first, peak, first / self.final_div_factor)

        def values(step: int) -> dict[str, float]:
            if given is not None and step > given:
                raise invalid("total_steps", f"be at least the steps taken ({step})", given, "or leave it out")
            # Rates until here, in torch's literal form: a line that ends far below its start rounds by its start.
            made = self._at(min(step, total - 1), phases)
            return {**made, "lr": made["lr"] / run.base_lr}

        return values

    def _given_steps(self) -> int | None:
        if self.total_steps is None and self.epochs is not None and self.steps_per_epoch is not None:
            return self.epochs * self.steps_per_epoch
        return self.total_steps

    def _phases(self, total: int, first: float, peak: float, last: float) -> list[tuple[float, ...]]:
        """For each phase its last step, the rates and the momenta that it leads from and to."""
        low, high, turn = self.base_momentum, self.max_momentum, float(self.pct_start * total) - 1
        climb, end = (turn, first, peak, high, low), float(total - 1)
        if not self.three_phase:
            return [climb, (end, peak, last, low, high)]
        back = float(2 * self.pct_start * total) - 2
        return [climb, (back, peak, first, low, high), (end, first, last, high, high)]

    def _at(self, step: int, phases: list[tuple[float, ...]]) -> dict[str, float]:
        begin = 0.0
        for end, lr, lr_then, momentum, momentum_then in phases:
            if step <= end or end == phases[-1][0]:
                # A phase without length is over as it begins; torch divides by zero there.
                progress = (step - begin) / (end - begin) if end != begin else 1.0
                made = {"lr": self._between(lr, lr_then, progress)}
                if self.cycle_momentum:
                    made["momentum"] = self._between(momentum, momentum_then, progress)
                return made
            begin = end
        raise invalid("step", "lie within the cycle", step)

    def _between(self, start: float, end: float, progress: float) -> float:
        if self.anneal_strategy == "linear":
            return (end - start) * progress + start
        return end + (start - end) / 2.0 * (math.cos(math.pi * progress) + 1)
