"""Numbers as people read them."""

from __future__ import annotations

import math
from collections.abc import Sequence


def short(value: float, digits: int = 3) -> str:
    """A number with few digits: rates as powers of ten, counts with separators, NaN as a dash.

    Example:
        >>> [short(x) for x in (0.875, 1.2e-4, 12345.0, 0.0, float("nan"))]
        ['0.875', '1.2e-4', '12,345', '0', '–']
    """
    if not math.isfinite(value):
        return "–" if math.isnan(value) else ("∞" if value > 0 else "-∞")
    size = abs(value)
    if size != 0 and size < 10.0**-digits:
        return _power(value, digits - 2)
    if size >= 1000 or float(value).is_integer():
        return f"{value:,.0f}"
    whole = len(str(int(size))) if size >= 1 else 0
    return f"{value:.{max(digits - whole, 1)}f}".rstrip("0").rstrip(".")


def tick_texts(values: Sequence[float]) -> list[str]:
    """The numbers of an axis in one notation: powers of ten for all of them where they are small.

    Example:
        >>> tick_texts([0.0, 0.0005, 0.001])
        ['0', '5e-4', '1e-3']
    """
    small = max(map(abs, values), default=1.0) < 0.01
    return [_power(value, 1) if small and value else short(value) for value in values]


def _power(value: float, digits: int) -> str:
    mantissa, exponent = f"{value:.{digits}e}".split("e")
    return f"{mantissa.rstrip('0').rstrip('.') if '.' in mantissa else mantissa}e{int(exponent)}"


def score_text(value: float) -> str:
    """A metric with three decimals, so that columns of them line up.

    Example:
        >>> score_text(0.9)
        '0.900'
    """
    if math.isfinite(value) and abs(value) < 1000:
        return f"{value:.3f}" if value == 0 or abs(value) >= 5e-4 else short(value)
    return short(value)


def count(value: float) -> str:
    """How many, with thousands and millions shortened.

    Example:
        >>> [count(n) for n in (640, 6400, 2_223_872, 25_600_000)]
        ['640', '6.4 k', '2.22 M', '25.6 M']
    """
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= unit:
            return f"{value / unit:.3g} {name}"
    return f"{value:,.0f}"


def duration(seconds: float) -> str:
    """A time span in its two largest units.

    Example:
        >>> [duration(s) for s in (0.42, 61, 3700, 90000)]
        ['0.4 s', '1 min 1 s', '1 h 1 min', '1 d 1 h']
    """
    if seconds < 60:
        return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
    whole = round(seconds)
    for unit, name, below, small in ((86400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= unit:
            rest = whole % unit // below
            return f"{whole // unit} {name}" + (f" {rest} {small}" if rest else "")
    return f"{whole} s"


def plural(n: float, word: str) -> str:
    """A count with its noun.

    Example:
        >>> plural(1, "class"), plural(5, "class"), plural(3, "photo")
        ('1 class', '5 classes', '3 photos')
    """
    ending = "" if n == 1 else ("es" if word.endswith("s") else "s")
    return f"{short(n)} {word}{ending}"
