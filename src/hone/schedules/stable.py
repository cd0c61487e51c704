"""Warm up, hold, cool down: the plateau in the middle can be left at any time, so the run's length may stay open."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from hone.checks import integer, invalid, number

from .bound import Curve, Horizon, Schedule
from .functions import callable_field


def linear_cooldown(progress: float) -> float:
    """``1 - p``: from 1 to 0 in a straight line.

    Example:
        >>> linear_cooldown(0.25)
        0.75
    """
    return 1.0 - progress


def cosine_cooldown(progress: float) -> float:
    """``(1 + cos(pi * p)) / 2``: from 1 to 0 along half a cosine.

    Example:
        >>> round(cosine_cooldown(0.5), 6)
        0.5
    """
    return (1.0 + math.cos(math.pi * progress)) / 2.0


def sqrt_cooldown(progress: float) -> float:
    """``1 - sqrt(p)``: from 1 to 0, fast at first.

    Example:
        >>> sqrt_cooldown(0.25)
        0.5

    Reference:
        Hägele et al. 2024, "Scaling laws and compute-optimal training beyond fixed training durations"
        (arXiv:2405.18392), equation 2: the best of the cooldowns compared.
    """
    return 1.0 - math.sqrt(progress)


@dataclass(frozen=True)
class WarmupStableDecayLR(Schedule):
    """The rate climbs, holds, and cools down at the end of the run.

    ``f(u) = s + (1 - s) * u / W`` below ``W``; 1 up to ``N - D``; then ``e + (1 - e) * cooldown((u - (N - D)) / D)``,
    for warm-up ``W``, decay ``D``, run ``N`` updates, ``s = start_factor``, ``e = final_factor``

    Args:
        warmup_share: the warm-up as a share of the run, from 0, below 1; or
        warmup_updates: the warm-up in updates, at least 0.
        decay_share: the decay as a share of the run, from 0 to 1; or
        decay_updates: the decay in updates, at least 0.
        cooldown: from progress (0 to 1) to what is left (1 to 0): ``sqrt_cooldown``, ``linear_cooldown``,
            ``cosine_cooldown`` or one's own.
        start_factor: where the warm-up begins, from 0 to 1.
        final_factor: where the decay ends, from 0 to 1.

    Raises:
        ValueError: an argument is out of its range, or warm-up and decay are longer than the run.

    Example:
        >>> schedule = WarmupStableDecayLR(warmup_updates=2, decay_updates=4, start_factor=0)
        >>> bound = schedule.bind(total_updates=10, updates_per_epoch=10, base_lr=0.1)
        >>> [round(bound(update)["lr"], 2) for update in range(11)]
        [0.0, 0.5, 1.0, 1.0, 1.0, 1.0, 1.0, 0.5, 0.29, 0.13, 0.0]

    Reference:
        Hu et al. 2024, MiniCPM (arXiv:2404.06395), section 4.2; Zhai et al. 2022 (arXiv:2106.04560), section 3.5.
    """

    warmup_share: float = 0.05
    decay_share: float = 0.2
    warmup_updates: int | None = None
    decay_updates: int | None = None
    cooldown: Callable[[float], float] = sqrt_cooldown
    start_factor: float = 0.01
    final_factor: float = 0.0

    def __post_init__(self) -> None:
        number("warmup_share", self.warmup_share, at_least=0, below=1)
        number("decay_share", self.decay_share, at_least=0, at_most=1)
        for name in ("warmup_updates", "decay_updates"):
            if getattr(self, name) is not None:
                integer(name, getattr(self, name), at_least=0)
        callable_field("cooldown", self.cooldown)
        number("start_factor", self.start_factor, at_least=0, at_most=1)
        number("final_factor", self.final_factor, at_least=0, at_most=1)

    def curve(self, run: Horizon) -> Curve:
        total = run.total_updates
        warm = round(self.warmup_share * total) if self.warmup_updates is None else self.warmup_updates
        decay = round(self.decay_share * total) if self.decay_updates is None else self.decay_updates
        if warm + decay > total or warm == total:
            raise invalid("warm-up and decay", f"fit into the run of {total} updates", (warm, decay))

        def values(update: int) -> dict[str, float]:
            if update < warm:
                return {"lr": self.start_factor + (1 - self.start_factor) * update / warm}
            if update < total - decay or not decay:
                return {"lr": 1.0}
            left = float(self.cooldown(min(1.0, (update - (total - decay)) / decay)))
            return {"lr": self.final_factor + (1 - self.final_factor) * left}

        return values
