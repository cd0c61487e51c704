"""Another horizon on resume: the run goes on longer or ends sooner, and the user says what the schedule makes of it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Literal, get_args

from hone.checks import integer, invalid, one_of

from .bound import Bound, ReadingBound, Values, bind_part, bound_to, is_lr

OnExtend = Literal["continue", "stretch", "restart"]


def extend(bound: Bound, on_extend: OnExtend, *, update: int, total_updates: int) -> Bound:
    """The bound schedule of a run that was planned for ``bound.run.total_updates`` and gets another length.

    - "continue": the curve as it was planned; past its end it stays where it ended (a cosine at its floor) or goes on
      by its own rule (steps, an exponential).
    - "stretch": the curve as if the new length had been planned from the start; the rate may jump at ``update``.
    - "restart": a new run of what is left begins at ``update``, warm-up included; a plateau forgets its readings.

    What lies before ``update`` stays what it was. All three are functions of integers, so a checkpoint keeps
    ``(on_extend, update, total_updates)`` and ``extend`` is called again on each resume, in the same order, on a
    freshly bound schedule; readings are loaded afterwards.

    Args:
        bound: what ``bind_schedule`` (or an earlier ``extend``) returned, with its readings loaded.
        on_extend: "continue", "stretch" or "restart".
        update: updates completed at the resume, at least 0.
        total_updates: the new length of the whole run, above ``update``.

    Returns:
        The schedule bound to the new length; ``bound`` is left as it is.

    Raises:
        ValueError: the choice is unknown, nothing is left to run, or the schedule doesn't suit the new length.

    Example:
        >>> from hone.schedules import CosineAnnealingLR, bind_schedule
        >>> planned = bind_schedule(CosineAnnealingLR(), 4, 4, base_lr=0.1)
        >>> for choice in ("continue", "stretch", "restart"):
        ...     longer = extend(planned, choice, update=4, total_updates=8)
        ...     print(choice, [round(longer(update)["lr"], 2) for update in range(8)])
        continue [1.0, 0.85, 0.5, 0.15, 0.0, 0.0, 0.0, 0.0]
        stretch [1.0, 0.85, 0.5, 0.15, 0.5, 0.31, 0.15, 0.04]
        restart [1.0, 0.85, 0.5, 0.15, 1.0, 0.85, 0.5, 0.15]
    """
    one_of("on_extend", on_extend, get_args(OnExtend))
    integer("update", update, at_least=0)
    integer("total_updates", total_updates, at_least=update + 1)
    run = replace(bound.run, total_updates=total_updates)
    if on_extend == "continue":
        return bound_to(bound.schedule, run, bound.values)
    if on_extend == "stretch":
        after = bind_part(bound.schedule, run)
        if isinstance(bound, ReadingBound) and isinstance(after, ReadingBound):
            after.load_state_dict(bound.state_dict())
        return bound_to(bound.schedule, run, spliced(bound, after, update, 0))
    after = bind_part(bound.schedule, run.part(total_updates - update))
    return bound_to(bound.schedule, run, spliced(bound, after, update, update))


class Spliced:
    """One bound schedule up to an update, another from it on, which counts from ``start``."""

    def __init__(self, before: Bound, after: Bound, update: int, start: int) -> None:
        self.before = before
        self.after = after
        self.update = update
        self.start = start

    def __call__(self, update: int) -> Values:
        return self.before(update) if update < self.update else self.after(update - self.start)


class LearningSpliced(Spliced):
    """The same where the second schedule learns from readings; its state is the whole state."""

    after: ReadingBound

    def read(self, value: float, update: int) -> bool:
        return self.after.read(value, update - self.start)

    def state_dict(self) -> dict[str, Any]:
        return self.after.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.after.load_state_dict(state)


def spliced(before: Bound, after: Bound, update: int, start: int) -> Spliced:
    """``before`` up to ``update``, then ``after`` counting from ``start``."""
    kind = LearningSpliced if isinstance(after, ReadingBound) else Spliced
    return kind(before, after, update, start)


def extension_choices(bound: Bound, *, update: int, total_updates: int) -> dict[OnExtend, str]:
    """What each choice would make of the next three updates and of the last one: rates, or why it can't be.

    Args:
        bound: the schedule as it was planned.
        update: updates completed at the resume, at least 0.
        total_updates: the new length of the whole run, above ``update``.

    Returns:
        For each choice its rates at ``update``, the two after it, and the last.

    Example:
        >>> from hone.schedules import CosineAnnealingLR, bind_schedule
        >>> planned = bind_schedule(CosineAnnealingLR(), 4, 4, base_lr=0.1)
        >>> extension_choices(planned, update=4, total_updates=8)["stretch"]
        '0.05, 0.0309, 0.0146 ... 0.00381'
    """
    shown: dict[OnExtend, str] = {}
    for choice in get_args(OnExtend):
        try:
            longer = extend(bound, choice, update=update, total_updates=total_updates)
        except ValueError as error:
            shown[choice] = f"impossible ({error})"
            continue
        following = range(update, min(update + 3, total_updates))
        rates = ", ".join(_rates(longer, place) for place in following)
        shown[choice] = rates + (f" ... {_rates(longer, total_updates - 1)}" if total_updates > update + 3 else "")
    return shown


def _rates(bound: Bound, update: int) -> str:
    """The rate at an update as it is read; one for each pattern where groups have their own."""
    shown = [(key, bound.run.base_lr * value) for key, value in bound(update).items() if is_lr(key)]
    return " ".join(f"{rate:.3g}" if key == "lr" else f"{key.removesuffix('/lr')}:{rate:.3g}" for key, rate in shown)


def horizon_changed(bound: Bound, *, update: int, total_updates: int) -> ValueError:
    """The error for a resume with another horizon and no choice: it shows each choice's next values.

    Args:
        bound: the schedule as it was planned.
        update: updates completed at the resume, at least 0.
        total_updates: the new length of the whole run, above ``update``.

    Returns:
        A ``ValueError`` to raise.

    Example:
        >>> from hone.schedules import CosineAnnealingLR, bind_schedule
        >>> planned = bind_schedule(CosineAnnealingLR(), 4, 4, base_lr=0.1)
        >>> print(horizon_changed(planned, update=4, total_updates=6))
        on_extend must be continue, stretch or restart where a run planned for 4 updates becomes one of 6, got None; the
        next rates, from update 4: continue 0, 0; stretch 0.025, 0.0067; restart 0.1, 0.05
    """
    rule = (
        f"be continue, stretch or restart where a run planned for {bound.run.total_updates} updates becomes one of "
        f"{total_updates}"
    )
    choices = extension_choices(bound, update=update, total_updates=total_updates)
    listed = "; ".join(f"{choice} {rates}" for choice, rates in choices.items())
    return invalid("on_extend", rule, None, f"the next rates, from update {update}: {listed}")
