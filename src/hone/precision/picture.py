"""A picture of what the doctor saw: every layer's error, overflow and underflow, forward and backward."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from hone.precision.verdict import Verdict

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Relative errors below this are drawn at it: a logarithm has no zero.
LEAST_ERROR = 1e-7


def draw_layers(verdict: Verdict, path: Path | str) -> Path:
    """Draw one format's layers, the forward pass above and the backward pass below, and write the file.

    Args:
        verdict: of "bf16" or "fp16".
        path: where to write; the suffix chooses the format (.png, .svg, .pdf).

    Returns:
        The path.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(max(6.0, 0.16 * len(verdict.layers)), 6.0), layout="constrained")
    above, below = figure.subplots(2, 1, sharex=True)
    layers = verdict.layers
    draw_pass(above, "forward", [(x.error, x.overflow, x.underflow) for x in layers])
    draw_pass(below, "backward", [(x.grad_error, x.grad_overflow, x.grad_underflow) for x in layers])
    names = [f"{layer.module or '(model)'} {layer.operation}" for layer in layers]
    below.set_xticks(range(len(names)), names, rotation=90, fontsize=6)
    for axes, direction in ((above, "forward"), (below, "backward")):
        fault = verdict.fault
        if fault is not None and fault.direction == direction:
            at = next(
                (i for i, x in enumerate(layers) if (x.module, x.operation) == (fault.module, fault.operation)), None
            )
            if at is not None:
                axes.axvline(at, color="tab:red", linewidth=1.5, zorder=0)
    figure.suptitle(verdict.summary, fontsize=9, wrap=True)
    figure.savefig(path)
    return Path(path)


def draw_pass(axes: Axes, name: str, rows: list[tuple[float | None, float | None, float | None]]) -> None:
    """One pass: shares of overflow and underflow as bars, relative error as a line on a logarithmic axis."""
    places = [i for i, row in enumerate(rows) if row[0] is not None]
    errors = [max(rows[i][0] or 0.0, LEAST_ERROR) for i in places]
    axes.plot(places, errors, ".-", color="tab:blue", linewidth=0.8, label="relative error")
    axes.set_yscale("log")
    axes.set_ylabel(f"{name}: relative error")
    shares = axes.twinx()
    shares.bar(places, [rows[i][1] or 0.0 for i in places], color="tab:red", alpha=0.6, label="overflow")
    shares.bar(places, [rows[i][2] or 0.0 for i in places], color="tab:orange", alpha=0.4, label="underflow")
    shares.set_ylim(0, 1)
    shares.set_ylabel("share of values")
    axes.legend(loc="upper left", fontsize=7)
    shares.legend(loc="upper right", fontsize=7)
