"""``--train`` as a person writes it: what trains, and from which update on something else does."""

from __future__ import annotations

from hone import checks
from hone.transfer import FreezePlan


def parse_plan(text: str, norm: str = "follow") -> FreezePlan:
    """A freeze plan from patterns with commas between them, and stages with semicolons.

    Args:
        text: ``"head"``, ``"layer4.*, head"``, or for gradual unfreezing ``"head; 100: last:2; 300: all"``: from update
            100 on the last two layers before the head train too, from 300 on everything.
        norm: see :class:`hone.transfer.FreezePlan`.

    Raises:
        ValueError: a stage does not begin with its update.

    Example:
        >>> parse_plan("head; 100: last:2; 300: all")
        FreezePlan('head', stages={100: ('last:2',), 300: ('all',)})
    """
    first, *later = text.split(";")
    stages: dict[int, tuple[str, ...]] = {}
    for part in later:
        update, colon, patterns = part.partition(":")
        if not (colon and update.strip().isdecimal()):
            raise checks.invalid("train", "have stages as UPDATE: PATTERNS", part.strip(), "such as 'head; 100: all'")
        stages[int(update)] = _patterns(patterns)
    return FreezePlan(*_patterns(first), stages=stages, norm=norm)


def _patterns(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(","))
