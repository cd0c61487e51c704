"""Half a cosine down, once or again and again."""

from __future__ import annotations

import math
from dataclasses import dataclass

from hone.checks import integer, number, one_of

from .bound import Curve, Horizon, Interval, Schedule


@dataclass(frozen=True)
class CosineAnnealingLR(Schedule):
    """The rate falls from the base rate to ``eta_min`` along half a cosine.

    ``f(t) = m + (1 - m) * (1 + cos(pi * t / T_max)) / 2`` with ``m = eta_min / base_lr``

    Past ``T_max`` it stays at the floor; only a ``T_max`` shorter than the run makes it periodic, as torch's is.

    Args:
        T_max: steps down to the floor, at least 1; the whole run where it is None.
        eta_min: the floor, a rate, at least 0.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> bound = CosineAnnealingLR().bind(total_updates=120, updates_per_epoch=12, base_lr=1e-3)
        >>> [round(bound(update)["lr"], 6) for update in (0, 60, 120, 500)]
        [1.0, 0.5, 0.0, 0.0]

    Reference:
        ``torch.optim.lr_scheduler.CosineAnnealingLR``; Loshchilov & Hutter 2017, SGDR (arXiv:1608.03983), equation 5.
    """

    T_max: int | None = None
    eta_min: float = 0.0
    interval: Interval = "update"

    def __post_init__(self) -> None:
        if self.T_max is not None:
            integer("T_max", self.T_max, at_least=1)
        number("eta_min", self.eta_min, at_least=0)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        steps = run.steps(self.interval)
        period = self.T_max or steps
        last = period if period >= steps else math.inf
        return lambda step: {"lr": anneal(run.base_lr, self.eta_min, min(step, last) / period)}


@dataclass(frozen=True)
class CosineAnnealingWarmRestarts(Schedule):
    """Half a cosine down, then back to the base rate and down again, each time over a longer stretch.

    ``f(t) = m + (1 - m) * (1 + cos(pi * T_cur / T_i)) / 2`` with ``m = eta_min / base_lr``, ``T_i = T_0 * T_mult ** i``

    Args:
        T_0: steps of the first descent, at least 1.
        T_mult: how much longer each next one is, a whole number, at least 1.
        eta_min: the floor, a rate, at least 0.
        interval: what the steps count, "epoch" or "update".

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> bound = CosineAnnealingWarmRestarts(T_0=2, T_mult=2, interval="update").bind(8, 8, 0.1)
        >>> [round(bound(update)["lr"], 3) for update in range(7)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]

    Reference:
        ``torch.optim.lr_scheduler.CosineAnnealingWarmRestarts``; Loshchilov & Hutter 2017, SGDR (arXiv:1608.03983).
    """

    T_0: int
    T_mult: int = 1
    eta_min: float = 0.0
    interval: Interval = "epoch"

    def __post_init__(self) -> None:
        integer("T_0", self.T_0, at_least=1)
        integer("T_mult", self.T_mult, at_least=1)
        number("eta_min", self.eta_min, at_least=0)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        def values(step: int) -> dict[str, float]:
            length = self.T_0
            if self.T_mult == 1:
                step %= length
            while step >= length:  # whole numbers: a logarithm would put some restarts one step off
                step -= length
                length *= self.T_mult
            return {"lr": anneal(run.base_lr, self.eta_min, step / length)}

        return values


def anneal(base_lr: float, eta_min: float, progress: float) -> float:
    """The factor, from 1 at progress 0 to ``eta_min / base_lr`` at 1; rates inside, in torch's own literal form."""
    return (eta_min + (base_lr - eta_min) * (1 + math.cos(math.pi * progress)) / 2) / base_lr
