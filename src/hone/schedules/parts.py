"""How long a schedule lasts where it is joined to others, and the warm-up before any of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hone.checks import integer, invalid, number

from .bound import Curve, Horizon, Schedule, Values, bind_part, is_lr
from .own import as_schedule


@dataclass(frozen=True)
class Part(Schedule):
    """A schedule and how long it lasts where it is joined to others; ``schedule.lasting(...)`` makes one.

    Args:
        schedule: anything that can be bound.
        updates: its length in updates, at least 1; or
        epochs: its length in epochs, above 0; or
        share: its length as a share of the run, above 0 and at most 1.

    Raises:
        ValueError: not exactly one length is given, or it is out of its range.

    Example:
        >>> from hone.schedules import CosineAnnealingLR
        >>> joined = CosineAnnealingLR().lasting(share=0.5) >> CosineAnnealingLR()
        >>> bound = joined.bind(total_updates=8, updates_per_epoch=8, base_lr=0.1)
        >>> [round(bound(update)["lr"], 2) for update in range(8)]
        [1.0, 0.85, 0.5, 0.15, 1.0, 0.85, 0.5, 0.15]
    """

    schedule: Any
    updates: int | None = None
    epochs: float | None = None
    share: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        check_length(self.updates, self.epochs, self.share)

    def length(self, run: Horizon) -> float:
        """How many updates it lasts in ``run``, before rounding."""
        return length_in(run, self.updates, self.epochs, self.share)

    def curve(self, run: Horizon) -> Curve:
        length = round(self.length(run))
        if length != run.total_updates:
            hint = "join it to what else there is: a >> b"
            raise invalid("a part by itself", f"last the run's {run.total_updates} updates", length, hint)
        return bind_part(self.schedule, run).values


@dataclass(frozen=True)
class Warmup(Schedule):
    """The rate climbs in a line from ``start_factor`` to where the schedule after it begins.

    ``f(u) = (start_factor + (1 - start_factor) * u / length) * next(0)``; without a next one ``next(0)`` is 1. What
    else the next one drives (momentum) has its first value throughout.

    Args:
        updates: its length in updates, at least 1; or
        epochs: its length in epochs, above 0; or
        share: its length as a share of the run, above 0 and below 1.
        start_factor: where the line begins, from 0 to 1.

    Raises:
        ValueError: not exactly one length is given, an argument is out of its range, or it is as long as the run.

    Example:
        >>> from hone.schedules import CosineAnnealingLR
        >>> schedule = warmup(2, start_factor=0.5) >> CosineAnnealingLR()
        >>> bound = schedule.bind(total_updates=6, updates_per_epoch=6, base_lr=0.1)
        >>> [round(bound(update)["lr"], 2) for update in range(6)]
        [0.5, 0.75, 1.0, 0.85, 0.5, 0.15]

    Reference:
        Goyal et al. 2017, "Accurate, large minibatch SGD" (arXiv:1706.02677), section 2.2.
    """

    updates: int | None = None
    epochs: float | None = None
    share: float | None = None
    start_factor: float = 0.01

    def __post_init__(self) -> None:
        check_length(self.updates, self.epochs, self.share, of="warm-up")
        number("start_factor", self.start_factor, at_least=0, at_most=1)

    def length(self, run: Horizon) -> float:
        """How many updates it lasts in ``run``, before rounding."""
        updates = length_in(run, self.updates, self.epochs, self.share)
        if updates >= run.total_updates:
            raise invalid("warm-up", f"be shorter than the run of {run.total_updates} updates", round(updates))
        return updates

    def curve(self, run: Horizon) -> Curve:
        return self.towards(max(1, round(self.length(run))), {"lr": 1.0})

    def towards(self, updates: int, first: Values) -> Curve:
        """The climb to ``first``, the values with which the next schedule begins."""

        def values(update: int) -> Values:
            share = self.start_factor + (1 - self.start_factor) * min(update, updates) / updates
            return {key: value * share if is_lr(key) else value for key, value in first.items()}

        return values


def warmup(
    updates: int | None = None,
    *,
    epochs: float | None = None,
    share: float | None = None,
    start_factor: float = 0.01,
) -> Warmup:
    """A warm-up to put before any schedule: ``warmup(50) >> CosineAnnealingLR()``; see `Warmup`."""
    return Warmup(updates, epochs, share, start_factor)


def check_length(updates: int | None, epochs: float | None, share: float | None, of: str = "part") -> None:
    """Raises where not exactly one length is given, or where it is out of its range."""
    given = [value for value in (updates, epochs, share) if value is not None]
    if len(given) != 1:
        raise invalid(f"the {of}'s length", "be given as one of updates, epochs or share", (updates, epochs, share))
    if updates is not None:
        integer("updates", updates, at_least=1)
    if epochs is not None:
        number("epochs", epochs, above=0)
    if share is not None:
        number("share", share, above=0, at_most=1)


def length_in(run: Horizon, updates: int | None, epochs: float | None, share: float | None) -> float:
    """The length in updates, before rounding."""
    if updates is not None:
        return updates
    if epochs is not None:
        return epochs * run.updates_in("epoch")
    return (share or 0.0) * run.total_updates
