"""Argument checks: one clear line that says the name, the rule, the value received and, where it helps, what to do."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Sequence


def invalid(name: str, rule: str, value: object, hint: str = "") -> ValueError:
    """The error for a value that breaks a rule.

    Args:
        name: the argument or option, as the user writes it.
        rule: what holds for a good value, read after "must".
        value: what was received.
        hint: what to do about it.

    Returns:
        A ``ValueError`` to raise.

    Example:
        >>> str(invalid("lr", "be positive", -1.0, "try 1e-3"))
        'lr must be positive, got -1.0; try 1e-3'
    """
    return ValueError(f"{name} must {rule}, got {value!r}" + (f"; {hint}" if hint else ""))


def number(
    name: str,
    value: object,
    *,
    above: float | None = None,
    at_least: float | None = None,
    at_most: float | None = None,
    below: float | None = None,
) -> float:
    """Check that ``value`` is a finite number within the bounds, and return it as a float.

    Raises:
        TypeError: it is not a number (bool is not one).
        ValueError: it is not finite or lies outside the bounds.

    Example:
        >>> number("momentum", 0.9, at_least=0, below=1)
        0.9
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise TypeError(f"{name} must be a number, got {value!r} ({type(value).__name__})")
    limits = [("above", above), ("at least", at_least), ("at most", at_most), ("below", below)]
    rule = "be a finite number" + "".join(
        f"{' and' if i else ''} {word} {limit:g}"
        for i, (word, limit) in enumerate((w, x) for w, x in limits if x is not None)
    )
    good = (
        math.isfinite(value)
        and (above is None or value > above)
        and (at_least is None or value >= at_least)
        and (at_most is None or value <= at_most)
        and (below is None or value < below)
    )
    if not good:
        raise invalid(name, rule, value)
    return float(value)


def integer(name: str, value: object, *, at_least: int | None = None, at_most: int | None = None) -> int:
    """Check that ``value`` is a whole number within the bounds, and return it.

    Raises:
        TypeError: it is not an int (bool is not one).
        ValueError: it lies outside the bounds.

    Example:
        >>> integer("batch_size", 32, at_least=1)
        32
    """
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{name} must be a whole number, got {value!r} ({type(value).__name__})")
    if (at_least is not None and value < at_least) or (at_most is not None and value > at_most):
        bounds = [f"at least {at_least}"] * (at_least is not None) + [f"at most {at_most}"] * (at_most is not None)
        raise invalid(name, "be a whole number " + " and ".join(bounds), value)
    return value


def one_of(name: str, value: str, choices: Iterable[str]) -> str:
    """Check that ``value`` is one of ``choices``, and return it.

    Raises:
        ValueError: it is not; the nearest choices are named.

    Example:
        >>> one_of("reduction", "mean", ["none", "mean", "sum"])
        'mean'
    """
    names = list(choices)
    if value not in names:
        raise unknown(name, value, names)
    return value


def unknown(name: str, value: str, choices: Sequence[str]) -> ValueError:
    """The error for a name that is not among ``choices``: the nearest ones, or all where they are few.

    Example:
        >>> str(unknown("schedule", "CosineLR", ["CosineAnnealingLR", "StepLR"]))
        "schedule 'CosineLR' is not known; did you mean CosineAnnealingLR, StepLR?"
    """
    by_lower = {choice.lower(): choice for choice in choices}
    near = [by_lower[match] for match in difflib.get_close_matches(value.lower(), by_lower, n=3, cutoff=0.5)]
    if near:
        return ValueError(f"{name} {value!r} is not known; did you mean {', '.join(near)}?")
    listed = ", ".join(choices[:12]) + (", ..." if len(choices) > 12 else "")
    return ValueError(f"{name} {value!r} is not known; the choices are {listed}")
