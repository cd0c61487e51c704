"""One schedule after another, or several at once."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise
from typing import Any

from hone.checks import integer, invalid, one_of

from .bound import Bound, Curve, Horizon, Interval, Schedule, Values, bind_part, bound_to, is_lr, name_of, with_readers
from .own import as_schedule
from .parts import Part, Warmup
from .steps import ordered_steps


@dataclass(frozen=True)
class Joined(Schedule):
    """Schedules one after another, each bound to its own stretch of the run as if that were all; ``a >> b`` makes one.

    One part may have no length and gets what the others leave. Of a value that only some parts drive (momentum) the
    others keep what the part before left, or what the part after begins with.

    Args:
        parts: two or more schedules; all but one have a length.

    Raises:
        ValueError: two parts have no length, or the lengths don't fill the run exactly.

    Example:
        >>> from hone.schedules import CosineAnnealingLR, ExponentialLR, warmup
        >>> last = ExponentialLR(gamma=0.5, interval="update").lasting(share=0.25)
        >>> schedule = warmup(2, start_factor=0) >> CosineAnnealingLR() >> last
        >>> bound = schedule.bind(total_updates=8, updates_per_epoch=8, base_lr=0.1)
        >>> [round(bound(update)["lr"], 2) for update in range(8)]
        [0.0, 0.5, 1.0, 0.85, 0.5, 0.15, 1.0, 0.5]
    """

    parts: tuple[Any, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", tuple(as_schedule(part) for part in self.parts))
        open_parts = [part for part in self.parts if not isinstance(part, (Part, Warmup))]
        if len(open_parts) > 1:
            names = ", ".join(type(part).__name__ for part in open_parts)
            raise ValueError(
                f"of joined schedules only one may have no length, got {names}; say .lasting(updates=..., epochs=..., "
                "or share=...)"
            )

    def curve(self, run: Horizon) -> Curve:
        schedules = [part.schedule if isinstance(part, Part) else part for part in self.parts]
        return join_curves(schedules, self._ends(run)[:-1], run)

    def _ends(self, run: Horizon) -> list[int]:
        """The update before which each part ends; lengths are added before they are rounded, so thirds make a whole."""
        lengths = [part.length(run) if isinstance(part, (Part, Warmup)) else None for part in self.parts]
        said = sum(length for length in lengths if length is not None)
        left = run.total_updates - said
        if None in lengths and left < 1:
            raise invalid("the parts' lengths", f"leave part of the run's {run.total_updates} updates", round(said))
        if None not in lengths and abs(left) > 1e-6 * run.total_updates:
            hint = "leave one length out and that part gets the rest"
            raise invalid("the parts' lengths", f"add up to the run's {run.total_updates} updates", round(said), hint)
        ends = [round(end) for end in accumulate(left if length is None else length for length in lengths)]
        if any(end <= start for start, end in pairwise([0, *ends])):
            raise invalid("each part", f"last at least one of the run's {run.total_updates} updates", ends)
        return ends


@dataclass(frozen=True)
class SequentialLR(Schedule):
    """Schedules one after another, each counting from its own beginning, as torch spells it.

    ``f(t) = schedules[i](t - milestones[i - 1])`` for ``milestones[i - 1] <= t < milestones[i]``

    Args:
        schedulers: one or more schedules.
        milestones: the steps at which the second and later ones begin: one fewer, increasing, at least 1.
        interval: what the milestones count, "update" or "epoch".

    Raises:
        ValueError: the counts don't fit, the milestones are out of order, or the last one lies past the run.

    Example:
        >>> from hone.schedules import ConstantLR, ExponentialLR
        >>> parts = [ConstantLR(factor=0.5, total_iters=9), ExponentialLR(gamma=0.5, interval="update")]
        >>> bound = SequentialLR(parts, milestones=[2]).bind(total_updates=5, updates_per_epoch=5, base_lr=0.1)
        >>> [bound(update)["lr"] for update in range(5)]
        [0.5, 0.5, 1.0, 0.5, 0.25]

    Reference:
        ``torch.optim.lr_scheduler.SequentialLR``.
    """

    schedulers: Sequence[Any]
    milestones: Sequence[int]
    interval: Interval = "update"

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedulers", tuple(as_schedule(part) for part in self.schedulers))
        object.__setattr__(self, "milestones", ordered_steps("milestones", self.milestones))
        if len(self.milestones) != len(self.schedulers) - 1:
            raise invalid("milestones", f"be one fewer than the {len(self.schedulers)} schedulers", self.milestones)
        if any(later <= earlier for earlier, later in pairwise([0, *self.milestones])):
            raise invalid("milestones", "increase from at least 1", list(self.milestones))
        one_of("interval", self.interval, ("update", "epoch"))

    def bind(self, total_updates: int, updates_per_epoch: int | None, base_lr: float) -> Bound:
        """As every schedule's; only the milestones count in ``interval``, each part counts in its own."""
        run = Horizon(total_updates, updates_per_epoch, base_lr)
        starts = [milestone * run.updates_in(self.interval) for milestone in self.milestones]
        if starts and starts[-1] >= total_updates:
            raise invalid("milestones", f"lie within the run's {total_updates} updates", starts)
        return bound_to(self, run, join_curves(self.schedulers, starts, run))


@dataclass(frozen=True)
class ChainedScheduler(Schedule):
    """Several schedules at once: their factors are multiplied.

    ``f(u) = schedulers[0](u) * schedulers[1](u) * ...``; of other values the last schedule that drives one has its way.

    Where each of them is a pure factor this is torch's value. With an ``eta_min`` torch's own depends on the order of
    its in-place edits and is no product of anything; here it is the product.

    Args:
        schedulers: one or more schedules.

    Raises:
        ValueError: there is none.

    Example:
        >>> from hone.schedules import ConstantLR, ExponentialLR
        >>> parts = [ConstantLR(factor=0.5, total_iters=1), ExponentialLR(gamma=0.5, interval="update")]
        >>> bound = ChainedScheduler(parts).bind(total_updates=3, updates_per_epoch=3, base_lr=0.1)
        >>> [bound(update)["lr"] for update in range(3)]
        [0.5, 0.5, 0.25]

    Reference:
        ``torch.optim.lr_scheduler.ChainedScheduler``.
    """

    schedulers: Sequence[Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedulers", tuple(as_schedule(part) for part in self.schedulers))
        integer("the number of schedulers", len(self.schedulers), at_least=1)

    def curve(self, run: Horizon) -> Curve:
        parts = [bind_part(part, run) for part in self.schedulers]
        by_group = sorted(key for part in parts for key in part(0) if name_of(key) != key)
        if by_group:  # which factors of different patterns belong together can't be told from their names
            raise invalid("chained schedules", "be the same for all groups", by_group, "chain inside PerGroup instead")

        def values(update: int) -> Values:
            made: Values = {}
            for part in parts:
                for key, value in part(update).items():
                    made[key] = made.get(key, 1.0) * value if is_lr(key) else value
            return made

        return with_readers(values, [(0, None, part) for part in parts])


def join(before: Any, after: Any) -> Joined:
    """``before >> after``, one flat row of parts."""
    before, after = as_schedule(before), as_schedule(after)
    left = before.parts if isinstance(before, Joined) else (before,)
    return Joined((*left, *(after.parts if isinstance(after, Joined) else (after,))))


def join_curves(parts: Sequence[Any], starts: Sequence[int], run: Horizon) -> Curve:
    """One curve from parts, each bound to its own stretch; all but the first begin at the updates ``starts``."""
    begins, ends = [0, *starts], [*starts, run.total_updates]
    stretches: list[Any] = []
    for part, begin, end in reversed(list(zip(parts, begins, ends, strict=True))):
        if isinstance(part, Warmup):  # it leads to where the next one begins, so the next one is bound first
            first = stretches[0](0) if stretches else {"lr": 1.0}
            updates = min(end - begin, max(1, round(part.length(run))))
            stretches.insert(0, part.towards(updates, first))
        else:
            stretches.insert(0, bind_part(part, run.part(end - begin)))
    held = _held(stretches, begins, ends)

    def values(update: int) -> Values:
        place = bisect_right(starts, update)
        made: Values = stretches[place](update - begins[place])
        return {**held[place], **made}

    return with_readers(values, list(zip(begins, [*starts, None], stretches, strict=True)))


def _held(stretches: Sequence[Curve], begins: Sequence[int], ends: Sequence[int]) -> list[Values]:
    """For each part what only others drive: as the one before left it, else as the next one begins."""
    firsts = [stretch(0) for stretch in stretches]
    lasts = [stretch(end - begin - 1) for stretch, begin, end in zip(stretches, begins, ends, strict=True)]
    held: list[Values] = [{} for _ in stretches]
    places = range(len(stretches))
    for order, known_from in ((places, lasts), (reversed(places), firsts)):
        known: Values = {}
        for place in order:
            own = {**firsts[place], **held[place]}
            names = {name_of(key) for key in own}
            held[place] |= {key: value for key, value in known.items() if name_of(key) not in names}
            known |= {**held[place], **known_from[place]}
    return held
