"""A user's own in a schedule's place: a function, a table of points, a class of torch's ``LRScheduler`` kind."""

from __future__ import annotations

import inspect
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any

from hone.checks import integer, invalid, number, one_of

from .bound import Curve, Horizon, Interval, Schedule, Values
from .functions import LambdaLR, callable_field


@dataclass(frozen=True)
class TableLR(Schedule):
    """The rate runs through given points, in straight lines or in steps, and stays at the last one.

    ``f(t)``: between ``(t_i, v_i)`` and the next point ``v_i + (v_next - v_i) * (t - t_i) / (t_next - t_i)``, divided
    by the base rate; before the first point ``v_0``

    Args:
        points: ``(step, rate)`` pairs in the order of their steps; or a mapping from step to rate.
        straight: straight lines between the points; where False each rate holds until the next point.
        interval: what the steps count, "update" or "epoch".

    Raises:
        ValueError: there are no points, they are out of order, or a rate is negative.

    Example:
        >>> bound = TableLR([(0, 0.1), (4, 0.3)]).bind(total_updates=8, updates_per_epoch=8, base_lr=0.1)
        >>> [round(bound(update)["lr"], 6) for update in (0, 2, 4, 7)]
        [1.0, 2.0, 3.0, 3.0]
    """

    points: Sequence[tuple[int, float]]
    straight: bool = True
    interval: Interval = "update"

    def __post_init__(self) -> None:
        points = self.points.items() if isinstance(self.points, Mapping) else self.points
        object.__setattr__(self, "points", checked_points(points))
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        return lambda step: {"lr": self.value(step) / run.base_lr}

    def value(self, step: int) -> float:
        """The table's own value at a step."""
        after = bisect_right(self.points, step, key=lambda point: point[0])
        if after == 0:
            return self.points[0][1]
        start, value = self.points[after - 1]
        if not self.straight or after == len(self.points):
            return value
        end, goal = self.points[after]
        return value + (goal - value) * (step - start) / (end - start)


def checked_points(points: Iterable[Any]) -> tuple[tuple[int, float], ...]:
    """The points as pairs; raises where they are no table."""
    checked = []
    for place, point in enumerate(points):
        if not isinstance(point, Sequence) or len(point) != 2:
            raise TypeError(f"points[{place}] must be a (step, value) pair, got {point!r}")
        step = integer(f"points[{place}] step", point[0], at_least=0)
        checked.append((step, number(f"points[{place}] value", point[1], at_least=0)))
    if not checked:
        raise invalid("points", "hold at least one (step, value) pair", points)
    if any(later <= earlier for (earlier, _), (later, _) in pairwise(checked)):
        raise invalid("points", "have increasing steps", [step for step, _ in checked])
    return tuple(checked)


@dataclass(frozen=True)
class FromTorch(Schedule):
    """A class of torch's ``LRScheduler`` kind, stepped once through the run on a dummy optimizer into a table.

    The table has one entry a step of the run and is made at binding (about 20 us a step). Momentum is in it where the
    scheduler changes momentum.

    Args:
        scheduler: from an optimizer (one group of SGD with momentum, at the base rate) to its scheduler: a class that
            needs no more, ``functools.partial(Class, option=...)``, or any function of that kind.
        interval: what one ``scheduler.step()`` is, "update" or "epoch".

    Raises:
        TypeError: ``scheduler`` can't be called, or makes no ``LRScheduler``.
        ValueError: it needs readings (a plateau).

    Example:
        >>> from functools import partial
        >>> from torch.optim.lr_scheduler import StepLR
        >>> schedule = FromTorch(partial(StepLR, step_size=2, gamma=0.5))
        >>> bound = schedule.bind(total_updates=4, updates_per_epoch=4, base_lr=0.1)
        >>> [bound(update)["lr"] for update in range(4)]
        [1.0, 1.0, 0.5, 0.5]
    """

    scheduler: Callable[[Any], Any]
    interval: Interval = "update"

    def __post_init__(self) -> None:
        callable_field("scheduler", self.scheduler)
        one_of("interval", self.interval, ("update", "epoch"))

    def curve(self, run: Horizon) -> Curve:
        rows = recorded(self.scheduler, run.steps(self.interval), run.base_lr)
        return lambda step: rows[min(step, len(rows) - 1)]


def recorded(make: Callable[[Any], Any], steps: int, base_lr: float) -> list[Values]:
    """What a torch scheduler sets at each of ``steps`` steps."""
    import torch
    from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

    # No gradient ever, so an optimizer step changes nothing; torch warns where a scheduler steps before it.
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=base_lr, momentum=0.9)
    scheduler = make(optimizer)
    if isinstance(scheduler, ReduceLROnPlateau):
        raise invalid("scheduler", "need no readings", "ReduceLROnPlateau", "use hone.schedules.ReduceLROnPlateau")
    if not isinstance(scheduler, LRScheduler):
        raise TypeError(f"scheduler must make an LRScheduler from an optimizer, got {scheduler!r}")
    group, rows = optimizer.param_groups[0], []
    for step in range(steps):
        if step:
            optimizer.step()
            scheduler.step()
        rows.append({"lr": float(group["lr"]) / base_lr, "momentum": float(group["momentum"])})
    if all(row["momentum"] == 0.9 for row in rows):
        rows = [{"lr": row["lr"]} for row in rows]
    return rows


def as_schedule(given: Any) -> Any:
    """Something that has ``bind``, from whatever may stand in a schedule's place.

    Args:
        given: anything with ``bind``; a function from update to factor; a class (or partial, or a function of one
            argument named ``optimizer``) that makes a torch ``LRScheduler``; a table of ``(update, rate)`` points or a
            mapping of them; a mapping from group names to any of these.

    Raises:
        TypeError: it is none of them.

    Example:
        >>> as_schedule([(0, 0.1), (50, 0.01)])
        TableLR(points=((0, 0.1), (50, 0.01)), straight=True, interval='update')
    """
    if hasattr(given, "bind") and not isinstance(given, type):
        return given
    if isinstance(given, Mapping):
        if given and all(isinstance(key, str) for key in given):
            from .groups import PerGroup

            return PerGroup(given)
        return TableLR(tuple(given.items()))
    if isinstance(given, Sequence) and not isinstance(given, str):
        return TableLR(given)
    if isinstance(given, type) and hasattr(given, "bind"):
        raise TypeError(f"schedule must be made first: {given.__name__}(...), got the class {given.__name__}")
    if callable(given):
        return FromTorch(given) if makes_scheduler(given) else LambdaLR(given)
    if hasattr(given, "optimizer") and hasattr(given, "get_last_lr"):
        name = type(given).__name__
        raise TypeError(
            f"schedule must not be tied to an optimizer yet, got a {name}; give hone.schedules.{name} or the class"
        )
    raise TypeError(f"schedule must be a schedule, a function, a table or a scheduler class, got {given!r}")


def makes_scheduler(given: Callable[..., Any]) -> bool:
    """Whether a callable makes a torch scheduler from an optimizer, as opposed to a factor from an update."""
    target = given.func if isinstance(given, partial) else given
    if isinstance(target, type):
        from torch.optim.lr_scheduler import LRScheduler

        return issubclass(target, LRScheduler)
    try:
        return "optimizer" in inspect.signature(given).parameters
    except (TypeError, ValueError):  # built-in functions have no signature
        return False
