"""Line charts and scatter plots as inline SVG that takes its colours from the page."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from .axes import Frame, log_ticks, smooth, span, thin, ticks
from .markup import Content, Markup, element, joined
from .wording import short, tick_texts

#: The size that a chart is drawn for; it scales with its column.
WIDTH, HEIGHT = 460, 250
#: The height of a chart whose two axes are alike.
_SQUARE = 400
#: How many colours the page's palette has (``--c1`` ...).
COLOURS = 8
#: Points of all curves of a chart together, so that a page stays small.
_POINTS = 1600
#: How many times the curves' own range a level may lie outside it and still be drawn.
_REACH = 0.5
#: From how many points on a noisy curve is also drawn smoothed.
_NOISY = 40


@dataclass(frozen=True)
class Series:
    """One curve: ``colour`` counts the palette from 1, ``ramp`` in [0, 1] lies between its first two instead.

    ``low`` and ``high`` draw a band around it.
    """

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 1
    dots: bool = False
    faint: bool = False
    ramp: float | None = None
    low: Sequence[float] | None = None
    high: Sequence[float] | None = None


@dataclass(frozen=True)
class Mark:
    """A place on a curve that is pointed at."""

    x: float
    y: float
    text: str
    below: bool = False


def noisy(name: str, x: Sequence[float], y: Sequence[float], colour: int = 1) -> list[Series]:
    """A noisy curve as two: itself, faint, and its running mean over a twentieth of it."""
    if len(x) < _NOISY:
        return [Series(name, x, y, colour)]
    return [Series("", x, y, colour, faint=True), Series(f"{name}, smoothed", x, smooth(y, len(x) // 20), colour)]


def line_chart(
    title: str,
    series: Sequence[Series],
    *,
    x_name: str = "update",
    levels: Mapping[str, float] | None = None,
    mark: Mark | None = None,
    log_y: bool = False,
    from_zero: bool = False,
    note: Content = None,
) -> Markup:
    """Curves over a common axis, with a legend, as an HTML figure.

    Args:
        title: what the curves show.
        series: the curves.
        x_name: what the horizontal axis counts.
        levels: dashed lines at a constant value, by name.
        mark: a point to point at.
        log_y: logarithmic vertical axis; values that are not positive are left out.
        from_zero: the vertical axis starts at zero.
        note: a sentence beneath.

    Example:
        >>> chart = line_chart("Loss", [Series("train", [0, 1], [2.0, 1.0])])
        >>> "<svg" in chart and 'role="img"' in chart
        True
    """
    levels = levels or {}
    frame = _frame(series, levels, mark, log_y, from_zero)
    levels = {name: value for name, value in levels.items() if frame.y[0] <= value <= frame.y[1]}
    lines, names = _levels(frame, levels, series)
    drawn: list[Content] = [_grid(frame, whole=True), lines]
    budget = max(8, _POINTS // (4 * max(len(series), 1)))
    drawn += [_curve(frame, item, budget) for item in series]
    drawn += [names, _marked(frame, mark), _axis_name(frame, x_name)]
    return _figure(title, _spoken(title, series, levels), drawn, _legend(series), note)


def scatter_chart(title: str, x: Sequence[float], y: Sequence[float], *, x_name: str, y_name: str) -> Markup:
    """Pairs as points over the diagonal where both are equal, both axes with the same range."""
    low, high = span([*x, *y], pad=0.03)
    frame = Frame(52, 14, WIDTH - 14, _SQUARE - 36, (low, high), (low, high))
    start, end = frame.place(low, low), frame.place(high, high)
    points = [
        element("circle", cx=f"{across:.1f}", cy=f"{down:.1f}", r=2.6)
        for a, b in zip(x, y, strict=True)
        if frame.shows(a) and frame.shows(b)
        for across, down in [frame.place(a, b)]
    ]
    drawn = [
        _grid(frame),
        element("line", x1=start[0], y1=start[1], x2=end[0], y2=end[1], class_="level"),
        element("g", points, class_="points"),
        _axis_name(frame, x_name),
        element("text", y_name, x=frame.left + 6, y=frame.top + 12, class_="axis"),
    ]
    spoken = f"{title}: {len(x)} points, {x_name} from {short(low)} to {short(high)}"
    return _figure(title, spoken, drawn, None, None, height=_SQUARE)


def _frame(
    series: Sequence[Series], levels: Mapping[str, float], mark: Mark | None, log_y: bool, from_zero: bool
) -> Frame:
    # A band reaches further than its middle.
    values = [v for item in series for part in (item.y, item.low, item.high) if part is not None for v in part]
    if mark is not None and math.isfinite(mark.y):
        values.append(mark.y)  # the best of a run may be an average of weights, which is on no curve
    low, high = span(values)
    # A level far from every curve would flatten them all; it is left to the numbers.
    values += [
        value for value in levels.values() if low - _REACH * (high - low) <= value <= high + _REACH * (high - low)
    ]
    places = [v for item in series for v in item.x]
    first, last = min(places, default=0.0), max(places, default=1.0)
    # A run starts at 0, also where its first line comes a little later, or is its only one.
    x = (0.0, last) if first > 0 and (first == last or first < 0.1 * last) else span(places)
    positive = [value for value in values if value > 0]
    log = log_y and bool(positive)
    if log:
        y = (min(positive) / 1.3, max(v for v in positive if math.isfinite(v)) * 1.3)
    else:
        low, high = span(values, pad=0.07)
        y = (low, high) if not from_zero or min(values, default=0.0) < 0 else (0.0, max(high, 1e-12))
    return Frame(52, 14, WIDTH - 14, HEIGHT - 36, x, y, log)


def _grid(frame: Frame, *, whole: bool = False) -> Markup:
    """Lines and numbers of both axes; ``whole`` keeps the horizontal numbers whole, for there is no half update."""
    lines = []
    up = log_ticks(*frame.y) if frame.log else ticks(*frame.y)
    for tick, text in zip(up, tick_texts(up), strict=True):
        y = frame.place(frame.x[0], tick)[1]
        lines.append(element("line", x1=frame.left, x2=frame.right, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="grid"))
        lines.append(element("text", text, x=frame.left - 8, y=f"{y + 4:.1f}", class_="tick end"))
    for tick in ticks(*frame.x, 6):
        if whole and not float(tick).is_integer():
            continue
        x = frame.place(tick, frame.y[1])[0]
        lines.append(element("text", short(tick), x=f"{x:.1f}", y=frame.bottom + 18, class_="tick mid"))
    return element("g", lines, aria_hidden="true")


def _axis_name(frame: Frame, name: str) -> Markup:
    return element("text", name, x=frame.right, y=frame.bottom + 33, class_="axis end")


def _curve(frame: Frame, item: Series, buckets: int) -> Markup:
    x, y = thin(item.x, item.y, buckets)
    pen, style = _pen(item)
    weight = " faint" if item.faint else " fine" if item.ramp is not None else ""
    parts = [element("path", d=_path(frame, x, y), class_=f"line {pen}{weight}", style=style)]
    if item.low is not None and item.high is not None:
        around = [*zip(item.x, item.high, strict=True), *reversed([*zip(item.x, item.low, strict=True)])]
        parts.insert(0, element("path", d=_path(frame, *zip(*around, strict=True)) + "Z", class_=f"band {pen}"))
    if item.dots or len(x) == 1:
        parts += [_dot(frame, item.name, a, b, pen) for a, b in zip(x, y, strict=True) if frame.shows(b)]
    return joined(parts)


def _pen(item: Series) -> tuple[str, str | None]:
    """The CSS class and style that colour a curve and its entry in the legend."""
    if item.ramp is not None:
        return "ramp", f"--w:{item.ramp:.3f}"
    return f"c{(item.colour - 1) % COLOURS + 1}", None


def _path(frame: Frame, x: Sequence[float], y: Sequence[float]) -> str:
    """The path through the points; it breaks where a value cannot be shown."""
    steps, pen = [], "M"
    for a, b in zip(x, y, strict=True):
        if not frame.shows(b):
            pen = "M"
            continue
        across, down = frame.place(a, b)
        steps.append(f"{pen}{across:.1f} {down:.1f}")
        pen = "L"
    return "".join(steps)


def _dot(frame: Frame, name: str, x: float, y: float, pen: str) -> Markup:
    across, down = frame.place(x, y)
    says = element("title", f"{name} {short(y)} at {short(x)}")
    return element("circle", says, cx=f"{across:.1f}", cy=f"{down:.1f}", r=3, class_=f"dot {pen}")


def _levels(frame: Frame, levels: Mapping[str, float], series: Sequence[Series]) -> tuple[Markup, Markup]:
    """Dashed lines, for curves to be drawn over, and their names beneath, moved apart where two are close.

    A name stands at the right end, or at the left one where the curves leave more room.
    """
    lines, names, last = [], [], float("-inf")
    for name, value in sorted(levels.items(), key=lambda level: -level[1]):
        y = frame.place(frame.x[0], value)[1]
        lines.append(element("line", x1=frame.left, x2=frame.right, y1=f"{y:.1f}", y2=f"{y:.1f}", class_="level"))
        if name:
            last = max(y + 14, last + 14)
            label = f"{name} {short(value)}"
            width = 6 * len(label)
            left, right = (_hidden(frame, series, x, width, last) for x in (frame.left, frame.right - width))
            x, class_ = (frame.left, "axis halo") if left < right else (frame.right, "axis end halo")
            names.append(element("text", label, x=x, y=f"{last:.1f}", class_=class_))
    return joined(lines), joined(names)


def _hidden(frame: Frame, series: Sequence[Series], left: float, width: float, base: float) -> int:
    """How much of the curves a line of text on ``base`` would hide: of twenty places along it."""
    low, high = frame.x
    places = [low + (left - frame.left + width * k / 19) / (frame.right - frame.left) * (high - low) for k in range(20)]
    heights = [
        frame.place(x, y)[1]
        for item in series
        if len(item.x)
        for x, y in zip(places, np.interp(places, item.x, item.y, math.nan, math.nan).tolist(), strict=True)
        if frame.shows(y)
    ]
    return sum(base - 12 < height < base + 4 for height in heights)


def _marked(frame: Frame, mark: Mark | None) -> Markup | None:
    if mark is None or not frame.shows(mark.y):
        return None
    x, y = frame.place(mark.x, mark.y)
    right = x < (frame.left + frame.right) / 2
    text = element(
        "text",
        mark.text,
        x=f"{x + (9 if right else -9):.1f}",
        y=f"{y + 40 if mark.below else max(y - 8, frame.top + 4):.1f}",
        class_="mark halo" + ("" if right else " end"),
    )
    return joined(element("circle", cx=f"{x:.1f}", cy=f"{y:.1f}", r=5.5, class_="ring"), text)


def _spoken(title: str, series: Sequence[Series], levels: Mapping[str, float]) -> str:
    """The chart in words, for those who cannot see it."""
    said = []
    for item in series:
        finite = [value for value in item.y if value == value]
        if item.name and finite:
            said.append(
                f"{item.name} from {short(finite[0])} to {short(finite[-1])}, "
                f"lowest {short(min(finite))}, highest {short(max(finite))}"
            )
    said += [f"{name} {short(value)}" for name, value in levels.items() if name]
    return f"{title}: " + ("; ".join(said[:12]) or "no values")


def _legend(series: Sequence[Series]) -> Markup | None:
    named = [item for item in series if item.name]
    if len(named) < 2 and not any("," in item.name for item in named):
        return None
    # Of many curves that go from one colour to another in order, the two ends say enough.
    shown = named if len(named) <= COLOURS else [named[0], named[-1]]
    entries = []
    for item in shown:
        pen, style = _pen(item)
        entries.append(element("li", element("i", class_=pen, style=style, aria_hidden="true"), item.name))
    if len(shown) < len(named):
        entries.insert(1, element("li", f"{len(named) - 2} between"))
    return element("ul", entries, class_="legend")


def _figure(
    title: str,
    spoken: str,
    drawn: Content,
    legend: Markup | None,
    note: Content,
    *,
    height: int = HEIGHT,
) -> Markup:
    return element(
        "figure",
        element("figcaption", element("strong", title), legend),
        element("svg", drawn, viewBox=f"0 0 {WIDTH} {height}", role="img", aria_label=spoken),
        element("p", note, class_="note") if note else None,
        class_="chart",
    )
