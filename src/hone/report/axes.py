"""Where a value lies on a picture: ranges, ticks, thinning of long curves."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

#: How far an axis reaches beyond values that are all the same.
_FLAT = 0.5


def span(values: Iterable[float], *, pad: float = 0.0) -> tuple[float, float]:
    """Smallest and largest finite value, ``pad`` of the distance added on both sides; never of zero length.

    Example:
        >>> span([1.0, float("nan"), 3.0])
        (1.0, 3.0)
        >>> span([])
        (0.0, 1.0)
    """
    finite = [value for value in values if math.isfinite(value)]
    if not finite:
        return 0.0, 1.0
    low, high = min(finite), max(finite)
    if low == high:
        room = abs(low) * _FLAT or _FLAT
        return low - room, high + room
    return low - pad * (high - low), high + pad * (high - low)


def ticks(low: float, high: float, about: int = 5) -> list[float]:
    """Round numbers inside [low, high], about ``about`` of them, 1, 2 or 5 times a power of ten apart.

    Example:
        >>> ticks(0.0, 1.0)
        [0.0, 0.2, 0.4, 0.6, 0.8, 1.0]
    """
    rough = (high - low) / max(about, 1)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(multiple * power for multiple in (1, 2, 5, 10) if rough <= multiple * power * 1.0000001)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    digits = max(0, -math.floor(math.log10(step)))
    return [round(i * step, digits) for i in range(first, last + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """Powers of ten inside [low, high], thinned to at most six; round numbers where there are fewer than two.

    Example:
        >>> log_ticks(1e-5, 1e-3)
        [1e-05, 0.0001, 0.001]
    """
    first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
    if last - first < 1:
        return [tick for tick in ticks(low, high, 4) if tick > 0]
    every = -(-(last - first + 1) // 6)
    return [float(f"1e{power}") for power in range(first, last + 1, every)]


@dataclass(frozen=True)
class Frame:
    """The rectangle that values are drawn into: maps a value to a place, y upwards.

    Args:
        left, top, right, bottom: the rectangle in picture units, y downwards.
        x: range of the horizontal values.
        y: range of the vertical values.
        log: whether the vertical axis is logarithmic.
    """

    left: float
    top: float
    right: float
    bottom: float
    x: tuple[float, float]
    y: tuple[float, float]
    log: bool = False

    def place(self, x: float, y: float) -> tuple[float, float]:
        """The place of a value in picture units.

        Example:
            >>> Frame(0, 0, 100, 50, x=(0, 10), y=(0, 1)).place(5, 1)
            (50.0, 0.0)
        """
        low, high, value = (*self.y, y) if not self.log else (*map(math.log10, self.y), math.log10(y))
        across = (x - self.x[0]) / (self.x[1] - self.x[0])
        up = (value - low) / (high - low)
        return self.left + across * (self.right - self.left), self.bottom - up * (self.bottom - self.top)

    def shows(self, y: float) -> bool:
        """Whether a value can be drawn at all."""
        return math.isfinite(y) and (not self.log or y > 0)


def thin(x: Sequence[float], y: Sequence[float], buckets: int) -> tuple[list[float], list[float]]:
    """Keep of a long curve what its picture needs: of each bucket the first, lowest, highest and last point.

    A curve of at most ``4 * buckets`` points is kept whole. Peaks and jumps survive, as plain averaging would not let
    them.

    Example:
        >>> x, y = thin(range(100), [0.0] * 50 + [9.0] + [0.0] * 49, buckets=5)
        >>> len(x) < 25, max(y)
        (True, 9.0)
    """
    n = len(x)
    if n <= 4 * buckets:
        return list(x), list(y)
    kept: set[int] = set()
    for b in range(buckets):
        here = range(b * n // buckets, (b + 1) * n // buckets)
        finite = [i for i in here if math.isfinite(y[i])]
        kept |= {here[0], here[-1]}
        if finite:
            kept |= {min(finite, key=lambda i: y[i]), max(finite, key=lambda i: y[i])}
    order = sorted(kept)
    return [x[i] for i in order], [y[i] for i in order]


def smooth(y: Sequence[float], width: int) -> list[float]:
    """The mean of the ``width`` values around each place, fewer at the ends; values that are not finite are left out.

    Example:
        >>> smooth([0.0, 3.0, 0.0, 3.0, 0.0], 3)
        [1.5, 1.0, 2.0, 1.0, 1.5]
    """
    half, sums, counts = width // 2, [0.0], [0]
    for value in y:
        good = math.isfinite(value)
        sums.append(sums[-1] + (value if good else 0.0))
        counts.append(counts[-1] + good)
    means = []
    for i in range(len(y)):
        low, high = max(0, i - half), min(len(y), i + half + 1)
        found = counts[high] - counts[low]
        means.append((sums[high] - sums[low]) / found if found else math.nan)
    return means
