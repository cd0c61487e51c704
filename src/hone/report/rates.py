"""Learning-rate curves as a picture file, and in the terminal as dots of braille."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from pathlib import Path

from hone.checks import integer, invalid

from .axes import thin, ticks
from .canvas import INK, INKS, LINE, blank, save_figure
from .wording import short, tick_texts

#: Colours of the curves in the terminal.
STYLES = ("cyan", "yellow", "green", "magenta", "bright_yellow", "bright_cyan", "red", "white")
#: Bit of each of the 2 x 4 dots of a braille character, by column and row.
_BRAILLE = ((0x01, 0x02, 0x04, 0x40), (0x08, 0x10, 0x20, 0x80))


def draw_rates(curves: Mapping[str, Sequence[float]], path: str | Path, *, title: str = "Learning rate") -> Path:
    """Draw the rate of every group at every update into a picture file.

    Args:
        curves: for each group the rate of update 0, 1, 2, ...
        path: of the picture; ``.png``, ``.svg`` or ``.pdf``.
        title: above the picture.

    Returns:
        The path.

    Raises:
        ValueError: there is no curve, or the ending is another one.

    Example:
        >>> import tempfile
        >>> draw_rates({"head": [0.0, 1e-3, 0.0]}, Path(tempfile.mkdtemp()) / "rates.svg").name
        'rates.svg'
    """
    _check(curves)
    figure, axes = blank(8, 4.2)
    for i, (name, rates) in enumerate(curves.items()):
        x, y = thin(range(len(rates)), rates, 500)
        # The space keeps matplotlib from leaving out a name that begins with an underscore.
        axes.plot(x, y, color=INKS[i % len(INKS)], linewidth=1.8, label=f" {name}")
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", color=INK)
    axes.set_xlabel("update", loc="right")
    axes.margins(x=0.01)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.ticklabel_format(axis="y", style="sci", scilimits=(-2, 4))
    if all(rate >= 0 for rates in curves.values() for rate in rates):
        axes.set_ylim(bottom=0)
    if len(curves) > 1:
        legend = axes.legend(frameon=False, fontsize=9, ncols=2 if len(curves) > 6 else 1, labelcolor=INK)
        for text in legend.get_texts():
            text.set_parse_math(False)
    return save_figure(figure, Path(path))


def terminal_rates(
    curves: Mapping[str, Sequence[float]], width: int = 72, height: int = 12, *, colour: bool = False
) -> str:
    """Draw the rate of every group at every update as text.

    Args:
        curves: for each group the rate of update 0, 1, 2, ...
        width: of the whole chart, in characters.
        height: of the drawing without axis and legend, in lines.
        colour: write ANSI colours, one a curve.

    Returns:
        The lines, joined; the last ones name the curves with their first, highest and last rate.

    Raises:
        ValueError: there is no curve, or too little room.

    Example:
        >>> print(terminal_rates({"head": [u / 10 for u in range(31)]}, width=24, height=3))
          │              ⢀⣀⡠⠔⠒⠊⠉
        2 ┤      ⢀⣀⣀⠤⠤⠒⠉⠉⠁
        0 ┤⣀⡠⠤⠔⠊⠉⠁
          └─────────────────────
           0                  30
          ━ head  0 → 3
    """
    _check(curves)
    integer("width", width, at_least=24)
    integer("height", height, at_least=3)
    top, labels = _labels(curves, height)
    margin = max(map(len, labels.values()))
    columns = width - margin - 2
    cells, owner = _canvas(list(curves.values()), top, columns, height)
    lines = []
    for row, bits in enumerate(cells):
        inked = [(chr(0x2800 + b) if b else " ", owner.get((row, c))) for c, b in enumerate(bits)]
        runs = [("".join(ink for ink, _ in run), i) for i, run in groupby(inked, key=lambda cell: cell[1])]
        drawn = "".join(_paint(text, i, colour) for text, i in runs)
        lines.append(f"{labels.get(row, ''):>{margin}} {'┤' if row in labels else '│'}{drawn}".rstrip())
    last = max(len(rates) for rates in curves.values()) - 1
    lines.append(f"{'':>{margin}} └{'─' * columns}")
    lines.append(f"{'':>{margin}}  0{last:>{columns - 1},}")
    lines += [
        f"{'':>{margin}} {_paint('━', i, colour)} {_summary(name, rates)}"
        for i, (name, rates) in enumerate(curves.items())
    ]
    return "\n".join(lines)


def _check(curves: Mapping[str, Sequence[float]]) -> None:
    if not curves or any(len(rates) == 0 for rates in curves.values()):
        raise invalid(
            "curves", "hold at least one curve with at least one rate", {k: len(v) for k, v in curves.items()}
        )


def _labels(curves: Mapping[str, Sequence[float]], height: int) -> tuple[float, dict[int, str]]:
    """The value of the top line, and the lines that carry a number."""
    high = max((rate for rates in curves.values() for rate in rates if math.isfinite(rate)), default=0.0)
    high = high if high > 0 else 1.0
    marks = [tick for tick in ticks(0.0, high, max(2, height // 3)) if tick >= 0]
    rows = [round((height - 1) * (1 - tick / high)) for tick in marks]
    return high, dict(zip(rows, tick_texts(marks), strict=True))


def _canvas(
    curves: Sequence[Sequence[float]], top: float, columns: int, height: int
) -> tuple[list[list[int]], dict[tuple[int, int], int]]:
    """Braille bits of every cell, and which curve drew there last."""
    cells, owner = [[0] * columns for _ in range(height)], {}
    longest = max(map(len, curves))
    for i, rates in enumerate(curves):
        before: int | None = None
        for dot in range(2 * columns):
            place = dot * (longest - 1) / max(2 * columns - 1, 1)
            value = rates[min(round(place), len(rates) - 1)] if place <= len(rates) - 1 else math.nan
            if not math.isfinite(value):
                before = None
                continue
            at = round((4 * height - 1) * (1 - min(max(value / top, 0.0), 1.0)))
            # A steep flank is filled, so that it does not fall apart into single dots.
            start, stop = sorted(
                (at, at if before is None else before + (1 if at > before else -1 if at < before else 0))
            )
            for y in range(start, stop + 1):
                cells[y // 4][dot // 2] |= _BRAILLE[dot % 2][y % 4]
                owner[y // 4, dot // 2] = i
            before = at
    return cells, owner


def _paint(text: str, curve: int | None, colour: bool) -> str:
    if not colour or curve is None:
        return text
    from rich.color import ColorSystem
    from rich.style import Style

    return Style.parse(STYLES[curve % len(STYLES)]).render(text, color_system=ColorSystem.STANDARD)


def _summary(name: str, rates: Sequence[float]) -> str:
    highest = max(rates, key=lambda rate: rate if math.isfinite(rate) else -math.inf)
    stations = [rate for rate, _ in groupby((rates[0], highest, rates[-1]))]
    return f"{name}  " + " → ".join(short(rate) for rate in stations)
