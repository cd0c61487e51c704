"""An empty matplotlib figure in the house style, and how it is saved; no window, no global state."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hone.checks import invalid

#: Colours of curves and of what stands around them: those of the pages in light.
INKS = ("#1f5f8f", "#b5481a", "#2a7a4b", "#84489a", "#876a00", "#007680", "#b02f62", "#5a5a5a")
INK, SOFT, LINE = "#1e1d1a", "#625d54", "#e5e1d8"
_SUFFIXES = (".png", ".svg", ".pdf")


def blank(width: float, height: float) -> tuple[Any, Any]:
    """A figure of that size in inches and its axes, bare of frame and tick marks."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=144, layout="constrained", facecolor="white")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.tick_params(colors=SOFT, labelcolor=INK, length=0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    axes.xaxis.label.set_color(SOFT)
    axes.yaxis.label.set_color(SOFT)
    return figure, axes


def save_figure(figure: Any, path: Path) -> Path:
    """Write a figure; the ending of the name says in which format.

    Raises:
        ValueError: it is none of ``.png``, ``.svg``, ``.pdf``.
    """
    if path.suffix.lower() not in _SUFFIXES:
        raise invalid("path", f"end in one of {', '.join(_SUFFIXES)}", str(path))
    figure.savefig(path)
    return path
