"""Several values and several groups: who is driven by what, and writing the values into an optimizer."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from torch import Tensor
from torch.optim import Optimizer

from hone.checks import invalid, number

from .bound import Curve, Horizon, Schedule, Values, bind_part, name_of, with_readers
from .own import TableLR, as_schedule


@dataclass(frozen=True)
class Drive(Schedule):
    """A schedule for the rate and others for any other number of an optimizer's groups; ``drive(...)`` makes one.

    Args:
        schedule: drives the rate (and whatever else it drives by itself).
        others: for each further number its own schedule: a table of ``(update, value)`` points, or a base value and
            anything that may stand in a schedule's place.

    Raises:
        ValueError: a name is "lr", or holds a slash.

    Example:
        >>> from hone.schedules import CosineAnnealingLR
        >>> decay = (0.04, CosineAnnealingLR(eta_min=0.4))  # from 0.04 up to 0.4, as DINO has it
        >>> bound = drive(CosineAnnealingLR(), weight_decay=decay, momentum=[(0, 0.8), (10, 0.9)]).bind(10, 10, 0.1)
        >>> {key: round(value, 3) for key, value in bound(5).items()}
        {'lr': 0.5, 'weight_decay': 0.22, 'momentum': 0.85}
    """

    schedule: Any
    others: tuple[tuple[str, float, Any], ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "schedule", as_schedule(self.schedule))
        for name, base, _ in self.others:
            if name_of(name) != name or name in ("lr", "params", "name", "initial_lr"):
                raise invalid("the number to drive", "be one of a group's other than its rate", name)
            number(f"{name}'s base value", base, above=0)

    def curve(self, run: Horizon) -> Curve:
        rate = bind_part(self.schedule, run)
        others = [
            (name, base, bind_part(as_schedule(schedule), Horizon(run.total_updates, run.updates_per_epoch, base)))
            for name, base, schedule in self.others
        ]

        def values(update: int) -> Values:
            return {**rate(update), **{name: base * part(update)["lr"] for name, base, part in others}}

        return with_readers(values, [(0, None, rate), *((0, None, part) for _, _, part in others)])


def drive(schedule: Any, **others: Any) -> Drive:
    """Drive the rate by ``schedule`` and other numbers of the groups by their own; see `Drive`.

    Args:
        schedule: anything that may stand in a schedule's place.
        others: ``weight_decay=(0.04, CosineAnnealingLR(eta_min=0.4))`` (base value, schedule), or a table of
            ``(update, value)`` points.

    Raises:
        TypeError: one of the others is neither.

    Example:
        >>> from hone.schedules import CosineAnnealingLR
        >>> drive(CosineAnnealingLR(), weight_decay=[(0, 0.1), (50, 0.01)]).bind(100, 10, 0.1)(50)["weight_decay"]
        0.01
    """
    rows = []
    for name, given in others.items():
        if isinstance(given, TableLR):
            rows.append((name, 1.0, given))
        elif isinstance(given, Sequence) and len(given) == 2 and isinstance(given[0], (int, float)):
            rows.append((name, float(given[0]), as_schedule(given[1])))
        elif isinstance(given, (Sequence, Mapping)) and not isinstance(given, str):
            rows.append((name, 1.0, as_schedule(given)))
        else:
            raise TypeError(f"{name} must be a (base value, schedule) pair or a table of points, got {given!r}")
    return Drive(schedule, tuple(rows))


@dataclass(frozen=True)
class PerGroup(Schedule):
    """Different groups by different schedules, by the groups' names.

    The bound schedule's keys are ``pattern/lr``, ``pattern/momentum``, and so on; ``assign`` gives each group the
    values of the first pattern that its ``group["name"]`` matches, and refuses a group that matches none as well as a
    pattern that no group matches.

    Args:
        schedules: from a name or a glob pattern to anything that may stand in a schedule's place; ``"*"`` is the
            rest.

    Raises:
        ValueError: there is none, or a pattern holds a slash.

    Example:
        >>> from hone.schedules import ConstantLR, CosineAnnealingLR
        >>> schedule = PerGroup({"head": CosineAnnealingLR(), "*": ConstantLR(factor=0.5, total_iters=5)})
        >>> schedule.bind(total_updates=10, updates_per_epoch=10, base_lr=0.1)(0)
        {'head/lr': 1.0, '*/lr': 0.5}
    """

    schedules: Mapping[str, Any]

    def __post_init__(self) -> None:
        if not self.schedules:
            raise invalid("schedules", "name at least one group", self.schedules)
        for pattern in self.schedules:
            if "/" in pattern:
                raise invalid("a group's pattern", "hold no slash", pattern)
        made = {pattern: as_schedule(schedule) for pattern, schedule in self.schedules.items()}
        object.__setattr__(self, "schedules", made)

    def curve(self, run: Horizon) -> Curve:
        parts = {pattern: bind_part(schedule, run) for pattern, schedule in self.schedules.items()}

        def values(update: int) -> Values:
            return {f"{pattern}/{key}": value for pattern, part in parts.items() for key, value in part(update).items()}

        return with_readers(values, [(0, None, part) for part in parts.values()])


def assign(optimizer: Optimizer, values: Mapping[str, float]) -> None:
    """Write what a bound schedule returned into all groups of an optimizer.

    ``group["lr"] = group["initial_lr"] * values["lr"]``; every other key replaces ``group[key]``, "momentum" is
    ``betas[0]`` where the group has betas. A group added mid-run simply takes part: where it has no ``initial_lr`` its
    rate becomes that. A tensor is filled in place, so a compiled or captured optimizer step goes on without a rebuild.

    Args:
        optimizer: any torch optimizer.
        values: what ``bound(update)`` returned.

    Raises:
        ValueError: a group has no such number or matches none of the patterns, or a pattern matches no group.

    Example:
        >>> import torch
        >>> optimizer = torch.optim.SGD([torch.zeros(2, requires_grad=True)], lr=0.5)
        >>> assign(optimizer, {"lr": 0.5, "momentum": 0.9})
        >>> optimizer.param_groups[0]["lr"], optimizer.param_groups[0]["momentum"]
        (0.25, 0.9)
    """
    if any("/" in key for key in values):
        assign_by_pattern(optimizer.param_groups, split_by_pattern(values))
    else:
        assign_groups(optimizer.param_groups, values)


def assign_by_pattern(groups: Sequence[dict[str, Any]], by_pattern: Mapping[str, Values]) -> None:
    """Write into each group the values for all groups and those of its own pattern."""
    unmatched = set(by_pattern) - {"", "*"}
    for group in groups:
        pattern = pattern_of(str(group.get("name", "")), by_pattern)
        unmatched.discard(pattern)
        assign_groups((group,), {**by_pattern.get("", {}), **by_pattern[pattern]})
    if unmatched:
        names = [group.get("name") for group in groups]
        raise invalid("each pattern", f"match a group, of which there are {names}", sorted(unmatched))


def assign_groups(groups: Sequence[dict[str, Any]], values: Mapping[str, float]) -> None:
    """Write the same values into each of ``groups``."""
    for key, value in values.items():
        if key == "lr":
            set_rates(groups, value)
        elif key == "momentum":
            set_momentum(groups, value)
        else:
            set_number(groups, key, value)


# With a thousand groups these loops are the cost of a schedule: one look at a class is much cheaper than isinstance,
# and a try costs nothing until it fails.
def set_rates(groups: Sequence[dict[str, Any]], factor: float) -> None:
    """Each group's rate becomes its base rate times ``factor``."""
    for group in groups:
        try:
            base = group["initial_lr"]
        except KeyError:
            base = group["initial_lr"] = float(group["lr"])
        if group["lr"].__class__ is float:
            group["lr"] = base * factor
        else:  # a tensor, whose base torch may have left as one too; or an integer that the user gave
            base = group["initial_lr"] = float(base)
            replace_number(group, "lr", base * factor)


def set_momentum(groups: Sequence[dict[str, Any]], value: float) -> None:
    """Each group's momentum, or the first of its betas, becomes ``value``."""
    without_betas = []
    for group in groups:
        betas = group.get("betas")
        if betas is None:
            without_betas.append(group)
        elif betas[0].__class__ is not float and isinstance(betas[0], Tensor):
            betas[0].fill_(value)
        else:
            group["betas"] = (value, *betas[1:])
    set_number(without_betas, "momentum", value, hint="pass cycle_momentum=False")


def set_number(groups: Sequence[dict[str, Any]], key: str, value: float, hint: str = "") -> None:
    """A number of each group becomes ``value``."""
    for group in groups:
        if key not in group:
            raise invalid(f"the driven number {key!r}", "be one of the group's", sorted(set(group) - {"params"}), hint)
        if group[key].__class__ is float:
            group[key] = value
        else:
            replace_number(group, key, value)


def replace_number(group: dict[str, Any], key: str, value: float) -> None:
    """Replace a number by another, a tensor by its new value in place."""
    if isinstance(group[key], Tensor):
        group[key].fill_(value)
    else:
        group[key] = value


def split_by_pattern(values: Mapping[str, float]) -> dict[str, Values]:
    """``{"head/lr": 1.0}`` as ``{"head": {"lr": 1.0}}``; a bare key belongs to ``""``, which is every group."""
    split: dict[str, Values] = {}
    for key, value in values.items():
        pattern, _, name = key.rpartition("/")
        split.setdefault(pattern, {})[name] = value
    return split


def pattern_of(name: str, patterns: Collection[str]) -> str:
    """The first pattern that a group's name matches; ``"*"`` only where no other does."""
    tried = [pattern for pattern in patterns if pattern not in ("", "*")]
    for pattern in tried:
        if name == pattern or (name and fnmatchcase(name, pattern)):
            return pattern
    if "*" in patterns:
        return "*"
    raise invalid("every group's name", f"match one of {', '.join(tried)}", name, "add '*' for the rest")
