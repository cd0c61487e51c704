"""What a schedule is: bound to a run of known length it becomes a pure function of the updates completed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from hone.checks import integer, invalid, number, one_of

if TYPE_CHECKING:
    from .joining import Joined
    from .parts import Part

#: What a schedule's steps count.
Interval = Literal["update", "epoch"]

#: What is set for one update: ``lr`` is a factor of each group's own base rate, every other key a value as it is.
#: ``head/lr`` speaks of the groups whose name matches ``head`` only.
Values = dict[str, float]

Curve = Callable[[int], Values]


@dataclass(frozen=True)
class Horizon:
    """The run as a schedule sees it.

    Args:
        total_updates: optimizer updates in the run, at least 1.
        updates_per_epoch: optimizer updates in an epoch; None where nothing may count epochs.
        base_lr: the run's learning rate, which absolute arguments (``eta_min``, ``max_lr``) are divided by.

    Example:
        >>> Horizon(total_updates=120, updates_per_epoch=50, base_lr=0.1).steps("epoch")
        3
    """

    total_updates: int
    updates_per_epoch: int | None
    base_lr: float

    def __post_init__(self) -> None:
        integer("total_updates", self.total_updates, at_least=1)
        if self.updates_per_epoch is not None:
            integer("updates_per_epoch", self.updates_per_epoch, at_least=1)
        number("base_lr", self.base_lr, above=0)

    def updates_in(self, interval: Interval) -> int:
        """How many updates one step of ``interval`` lasts."""
        if one_of("interval", interval, ("update", "epoch")) == "update":
            return 1
        if self.updates_per_epoch is None:
            raise invalid("updates_per_epoch", "be given where a schedule counts epochs", None, "or interval='update'")
        return self.updates_per_epoch

    def steps(self, interval: Interval) -> int:
        """How many steps of ``interval`` the run has; a part of an epoch at its end counts as one."""
        return -(-self.total_updates // self.updates_in(interval))

    def part(self, updates: int) -> Horizon:
        """A piece of the run that is ``updates`` long."""
        return replace(self, total_updates=updates)


@dataclass(frozen=True)
class Bound:
    """A schedule bound to a run: ``bound(update)`` gives what is set before the update that follows ``update`` others.

    It keeps the schedule and the run it was bound to, so that the run can be made longer (``extend``).
    """

    schedule: Any
    run: Horizon
    values: Curve

    def __call__(self, update: int) -> Values:
        """The values at ``update`` (updates completed), from any place, without those before it."""
        if update < 0:
            raise invalid("update", "be at least 0", update)
        return self.values(update)


@dataclass(frozen=True)
class ReadingBound(Bound):
    """A bound schedule that also learns from readings (a plateau, or anything that contains one)."""

    def read(self, value: float, update: int) -> bool:
        """Take in what an evaluation measured after ``update`` updates; True where that changed a rate."""
        changed: bool = self.values.read(value, update)  # type: ignore[attr-defined]
        return changed

    def state_dict(self) -> dict[str, Any]:
        """What was learned from readings so far: JSON can hold it."""
        state: dict[str, Any] = self.values.state_dict()  # type: ignore[attr-defined]
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved ``state_dict()``, which is left as it is."""
        self.values.load_state_dict(state)  # type: ignore[attr-defined]


def bound_to(schedule: Any, run: Horizon, values: Curve) -> Bound:
    """The bound schedule of ``values``: one that can be read where they learn from readings.

    Raises:
        ValueError: the first or the last value of the run is not finite, or a factor is negative.
    """
    for update in (0, run.total_updates - 1):
        try:
            check_values(values(update), update)
        except OverflowError:
            raise invalid(f"the value at update {update}", "be finite", "one too large for a float") from None
    return (ReadingBound if hasattr(values, "read") else Bound)(schedule, run, values)


def check_values(values: Values, update: int) -> None:
    """Raises where a value is not finite, or a rate's factor negative."""
    for key, value in values.items():
        number(f"{key} at update {update}", value, at_least=0 if is_lr(key) else None)


def name_of(key: str) -> str:
    """What a key drives, without the groups it speaks of: ``lr`` of ``head/lr``."""
    return key.rpartition("/")[2]


def is_lr(key: str) -> bool:
    """Whether a key's value is a factor of the base rate."""
    return name_of(key) == "lr"


def bind_part(schedule: Any, run: Horizon) -> Bound:
    """Bind anything that has ``bind`` to a run or a piece of one."""
    made = schedule.bind(run.total_updates, run.updates_per_epoch, run.base_lr)
    return made if isinstance(made, Bound) else bound_to(schedule, run, made)


class Readers:
    """A curve made of others, some of which learn: a reading goes to those whose turn it is.

    Args:
        function: the whole curve.
        parts: for each learning part the update at which it starts, the one before which it ends, and the part.
    """

    def __init__(self, function: Curve, parts: Sequence[tuple[int, int | None, Any]]) -> None:
        self.function = function
        self.parts = parts

    def __call__(self, update: int) -> Values:
        return self.function(update)

    def read(self, value: float, update: int) -> bool:
        changed = False
        for start, end, part in self.parts:
            if start <= update and (end is None or update < end):
                changed |= part.read(value, update - start)
        return changed

    def state_dict(self) -> dict[str, Any]:
        return {str(place): part.state_dict() for place, (_, _, part) in enumerate(self.parts)}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if set(state) != {str(place) for place in range(len(self.parts))}:
            raise invalid("state", f"hold {len(self.parts)} parts that learn", sorted(state))
        for place, (_, _, part) in enumerate(self.parts):
            part.load_state_dict(state[str(place)])


def with_readers(function: Curve, parts: Sequence[tuple[int, int | None, Any]]) -> Curve:
    """``function``, able to take readings where one of its ``parts`` is."""
    learning = [part for part in parts if hasattr(part[2], "read")]
    return Readers(function, learning) if learning else function


class Schedule:
    """Anything that can be bound to a run; the schedules here are frozen dataclasses of this kind.

    A schedule of one's own defines ``curve(run)``, which returns a function from step (what ``interval`` counts) to
    ``{"lr": factor}``; ``bind``, ``>>`` and ``lasting`` come with it.

    Example:
        >>> class Halving(Schedule):
        ...     interval = "epoch"
        ...     def curve(self, run):
        ...         return lambda step: {"lr": 0.5**step}
        >>> Halving().bind(total_updates=30, updates_per_epoch=10, base_lr=0.1)(25)
        {'lr': 0.25}
    """

    interval: Interval = "update"

    def curve(self, run: Horizon) -> Curve:
        """The values as a function of the steps that ``interval`` counts; raises where the run doesn't suit."""
        raise TypeError(f"{type(self).__name__} defines no curve(run), which a schedule must")

    def bind(self, total_updates: int, updates_per_epoch: int | None, base_lr: float) -> Bound:
        """Fix the run: a function from updates completed to what is set for the next one.

        Args:
            total_updates: optimizer updates in the run, at least 1.
            updates_per_epoch: optimizer updates in an epoch, at least 1; None where nothing counts epochs.
            base_lr: the run's learning rate, above 0; arguments that are rates are divided by it.

        Returns:
            ``bound(update) -> {"lr": factor, ...}``.

        Raises:
            ValueError: an argument of the schedule doesn't suit this run.
        """
        run = Horizon(total_updates, updates_per_epoch, base_lr)
        curve, updates = self.curve(run), run.updates_in(self.interval)
        return bound_to(self, run, curve if updates == 1 else lambda update: curve(update // updates))

    def lasting(self, updates: int | None = None, *, epochs: float | None = None, share: float | None = None) -> Part:
        """This schedule as a part of a joined one, of a length in updates, epochs or share of the run (0 to 1)."""
        from .parts import Part

        return Part(self, updates=updates, epochs=epochs, share=share)

    def __rshift__(self, after: Any) -> Joined:
        from .joining import join

        return join(self, after)

    def __rrshift__(self, before: Any) -> Joined:
        from .joining import join

        return join(before, self)
