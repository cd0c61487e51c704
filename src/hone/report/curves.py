"""The curves of a run: metric, loss, rates, throughput, gradient norm, skipped updates."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from .charts import COLOURS, Mark, Series, line_chart, noisy
from .folder import RunFolder, TrainRow
from .markup import Content, Markup, folded, table
from .wording import score_text, short

#: From which ratio between the groups' largest rates on a logarithmic axis is used.
_FAR_APART = 30.0
#: Metrics drawn besides the run's own.
_OTHERS = 3
#: Rows of the table of evaluations.
_ROWS = 200


def run_charts(run: RunFolder) -> list[Markup]:
    """Every chart that the run has values for."""
    levels = run.result.baselines if run.result else {}
    charts = [
        metric_chart(run, levels),
        loss_chart(run),
        rate_chart({name: _column(run.train, name) for name in _groups(run.train)}, [row.update for row in run.train]),
        _throughput(run.train),
        _gradients(run.train),
        _skips(run),
    ]
    return [chart for chart in charts if chart]


def metric_chart(run: RunFolder, levels: Mapping[str, float]) -> Markup | None:
    """The run's metric at every evaluation, its best marked, over the baselines, with up to three others."""
    name = run.metric
    if not name or name == "loss" or not run.evaluations:
        return None
    x = [row.update for row in run.evaluations]
    values = {key: [row.metrics.get(key, math.nan) for row in run.evaluations] for key in _metric_names(run)}
    own = values.pop(name, [math.nan] * len(x))
    alike = {key: y for key, y in values.items() if key != "loss" and _same_scale(own, y)}
    series = [Series(name, x, own, 1, dots=len(x) <= 60)]
    series += [Series(key, x, y, 3 + i) for i, (key, y) in enumerate(list(alike.items())[:_OTHERS])]
    best = run.best
    mark = Mark(best.update, best.value, f"{score_text(best.value)} at {best.update:,}") if best else None
    return line_chart(f"{name}, validation", series, levels=levels, mark=mark)


def _metric_names(run: RunFolder) -> list[str]:
    return list(dict.fromkeys(name for row in run.evaluations for name in row.metrics))


def _same_scale(own: Sequence[float], other: Sequence[float]) -> bool:
    """Whether two metrics can share an axis: their largest values are within a factor of three."""
    a, b = (max((abs(v) for v in y if math.isfinite(v)), default=0.0) for y in (own, other))
    return a > 0 and b > 0 and 1 / 3 < a / b < 3


def loss_chart(run: RunFolder) -> Markup | None:
    """Training loss, smoothed where it is noisy, and validation loss."""
    x, y = [row.update for row in run.train], [row.loss for row in run.train]
    series = noisy("train", x, y, 1) if x else []
    held = [(row.update, row.metrics["loss"]) for row in run.evaluations if "loss" in row.metrics]
    if held:
        series.append(Series("validation", [u for u, _ in held], [v for _, v in held], 2, dots=len(held) <= 60))
    return line_chart("Loss", series, from_zero=True) if series else None


def rate_chart(curves: Mapping[str, Sequence[float]], x: Sequence[float]) -> Markup | None:
    """The rate of every parameter group; on a logarithmic axis where the groups are far apart."""
    if not curves or not x:
        return None
    tops = [max((v for v in y if math.isfinite(v)), default=0.0) for y in curves.values()]
    positive = [top for top in tops if top > 0]
    log = len(positive) > 1 and max(positive) / min(positive) > _FAR_APART
    # A rate that decays to zero would stretch a logarithmic axis without end.
    floor = min(positive) / _FAR_APART if log else -math.inf
    same = {name: [v if v >= floor else math.nan for v in y] for name, y in _bundled(curves).items()}
    many = len(same) > COLOURS
    series = [
        Series(name, x, y, 1 + i, ramp=i / (len(same) - 1) if many else None)
        for i, (name, y) in enumerate(same.items())
    ]
    title = "Learning rate" if len(curves) == 1 else f"Learning rate of {len(curves)} groups"
    note = f"Logarithmic axis; rates below {short(floor)} are not drawn." if log else None
    return line_chart(title, series, log_y=log, from_zero=not log, note=note)


def _bundled(curves: Mapping[str, Sequence[float]]) -> dict[str, Sequence[float]]:
    """Groups with the same rates throughout drawn as one curve that carries all their names."""
    names: dict[tuple[float, ...], list[str]] = {}
    for name, y in curves.items():
        names.setdefault(tuple(y), []).append(name)
    return {
        ", ".join(group) if len(group) <= 3 else f"{group[0]}, {group[1]} and {len(group) - 2} more": list(y)
        for y, group in names.items()
    }


def _groups(rows: Sequence[TrainRow]) -> list[str]:
    return list(dict.fromkeys(name for row in rows for name in row.rates))


def _column(rows: Sequence[TrainRow], name: str) -> list[float]:
    return [row.rates.get(name, math.nan) for row in rows]


def _throughput(rows: Sequence[TrainRow]) -> Markup | None:
    points = [(row.update, row.samples_per_second) for row in rows if math.isfinite(row.samples_per_second)]
    if len(points) < 2:
        return None
    series = noisy("samples a second", [u for u, _ in points], [v for _, v in points], 6)
    return line_chart("Samples a second", series, from_zero=True)


def _gradients(rows: Sequence[TrainRow]) -> Markup | None:
    points = [(row.update, row.grad_norm) for row in rows if math.isfinite(row.grad_norm)]
    if len(points) < 2:
        return None
    series = noisy("norm", [u for u, _ in points], [v for _, v in points], 4)
    return line_chart("Gradient norm, before clipping", series, from_zero=True)


def _skips(run: RunFolder) -> Markup | None:
    """The share of attempts that fp16 skipped so far; only where fp16 was used."""
    half = run.result is not None and run.result.precision == "fp16"
    rows = [row for row in run.train if row.attempt > 0]
    if not rows or not (half or any(row.skipped for row in rows)):
        return None
    share = [100 * row.skipped / row.attempt for row in rows]
    note = "A few at the start are the loss scale finding its level; a share that keeps rising is overflow."
    series = [Series("skipped", [row.update for row in rows], share, 7)]
    return line_chart("Skipped updates so far, per cent of attempts", series, from_zero=True, note=note)


def evaluation_table(run: RunFolder) -> Markup | None:
    """Every evaluation with all its metrics, folded away."""
    if not run.evaluations:
        return None
    names = _metric_names(run)
    rows: list[list[Content]] = [
        [
            f"{row.update:,}" + (" (best)" if run.best and row.update == run.best.update else ""),
            short(row.epoch),
            *(score_text(row.metrics.get(name, math.nan)) for name in names),
        ]
        for row in run.evaluations[-_ROWS:]
    ]
    count = len(run.evaluations)
    title = "The numbers behind the curves" + (f" (the last {_ROWS} of {count:,} evaluations)" if count > _ROWS else "")
    return folded(title, table(["update", "epoch", *names], rows, caption="Evaluations"))
