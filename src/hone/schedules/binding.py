"""Bind whatever stands in a schedule's place, and see its curve before the run."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hone.checks import invalid

from .bound import Bound, Horizon, ReadingBound, bind_part, name_of
from .groups import pattern_of, split_by_pattern
from .own import as_schedule


def bind_schedule(schedule: Any, total_updates: int, updates_per_epoch: int | None, base_lr: float) -> Bound:
    """Bind a schedule, a plain function, a torch scheduler class or a table to a run.

    Args:
        schedule: a schedule (anything with ``bind``); a function from update to factor; a class, partial or function
            of ``optimizer`` that makes a torch ``LRScheduler``; ``(update, rate)`` points; a mapping from group names
            to any of these.
        total_updates: optimizer updates in the run, at least 1.
        updates_per_epoch: optimizer updates in an epoch, at least 1; None where nothing counts epochs.
        base_lr: the run's learning rate, above 0.

    Returns:
        ``bound(update) -> {"lr": factor, ...}``; with ``read``, ``state_dict`` and ``load_state_dict`` too where it
        learns from readings.

    Raises:
        TypeError: nothing that could be a schedule.
        ValueError: the schedule doesn't suit this run.

    Example:
        >>> bind_schedule(lambda update: 1 / (1 + update), 10, 10, base_lr=0.1)(3)
        {'lr': 0.25}
    """
    return bind_part(as_schedule(schedule), Horizon(total_updates, updates_per_epoch, base_lr))


def preview(schedule: Any, *, base_lr: float, total_updates: int, updates_per_epoch: int | None) -> list[float]:
    """The rate of every update of a run, exactly as training will use it for a group at the base rate.

    A schedule that learns from readings is shown as it runs if no reading ever triggers it (``learns`` tells which).

    Args:
        schedule: whatever ``bind_schedule`` takes, but not one curve for each group (``curves`` shows those).
        base_lr: the run's learning rate, above 0.
        total_updates: optimizer updates in the run, at least 1.
        updates_per_epoch: optimizer updates in an epoch, at least 1; None where nothing counts epochs.

    Returns:
        ``total_updates`` rates.

    Raises:
        ValueError: the schedule doesn't suit this run, or has a curve for each group.

    Example:
        >>> from hone.schedules import LinearLR
        >>> preview(LinearLR(0.5, total_iters=2), base_lr=1.0, total_updates=4, updates_per_epoch=4)
        [0.5, 0.75, 1.0, 1.0]
    """
    bound = bind_schedule(schedule, total_updates, updates_per_epoch, base_lr)
    if "lr" not in bound(0):
        raise invalid("schedule", "have one curve for all groups", sorted(bound(0)), "curves() shows each group's")
    return [base_lr * bound(update)["lr"] for update in range(total_updates)]


def curves(bound: Any, base_lrs: Mapping[str, float], *, total_updates: int, key: str = "lr") -> dict[str, list[float]]:
    """Every group's curve over the run, ready to be drawn.

    Args:
        bound: a bound schedule.
        base_lrs: each group's name and its own base rate.
        total_updates: how many updates to show, at least 1.
        key: what to show, "lr" or another number that the schedule drives.

    Returns:
        For each name ``total_updates`` values; a group for which ``key`` is not driven is left out.

    Example:
        >>> from hone.schedules import LinearLR
        >>> bound = bind_schedule(LinearLR(0.5, total_iters=2), 3, 3, base_lr=0.1)
        >>> curves(bound, {"head": 1.0, "trunk": 0.5}, total_updates=3)
        {'head': [0.5, 0.75, 1.0], 'trunk': [0.25, 0.375, 0.5]}
    """
    shown: dict[str, list[float]] = {}
    for update in range(total_updates):
        by_pattern = split_by_pattern(bound(update))
        for name, base in base_lrs.items():
            own = {} if set(by_pattern) == {""} else by_pattern[pattern_of(name, by_pattern)]
            values = {**by_pattern.get("", {}), **own}
            if key in values:
                shown.setdefault(name, []).append(values[key] * base if key == "lr" else values[key])
    return shown


def driven(bound: Any) -> list[str]:
    """The numbers that a bound schedule drives, the rate first: ``["lr", "momentum"]``."""
    return list(dict.fromkeys(name_of(key) for key in bound(0)))


def learns(bound: Any) -> bool:
    """Whether a bound schedule learns from readings, so that a preview shows it as if none ever triggered."""
    return isinstance(bound, ReadingBound) or hasattr(bound, "read")
