"""A chart is read back with nothing but its own axis: the numbers on it must be those that were given."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hone.report.axes import Frame, log_ticks, smooth, span, thin, ticks
from hone.report.charts import Mark, Series, line_chart, noisy, scatter_chart

TICK = re.compile(r'<text x="([\d.]+)" y="([\d.]+)" class="tick (end|mid)">([^<]+)</text>')
POINT = re.compile(r"[ML]([-\d.]+) ([-\d.]+)")


def ruler(chart: str, kind: str, *, log: bool = False) -> Callable[[np.ndarray], np.ndarray]:
    """Place -> value of an axis, fitted to its printed ticks alone."""
    found = [(x, y, text) for x, y, where, text in TICK.findall(chart) if where == kind]
    places = [float(y) - 4 if kind == "end" else float(x) for x, y, _ in found]
    values = [float(text.replace(",", "")) for _, _, text in found]
    slope, start = np.polyfit(places, np.log10(values) if log else values, 1)
    return lambda place: 10 ** (slope * place + start) if log else slope * place + start


def read_curves(chart: str, *, log: bool = False) -> list[tuple[np.ndarray, np.ndarray]]:
    x_of, y_of = ruler(chart, "mid"), ruler(chart, "end", log=log)
    curves = []
    for path in re.findall(r'<path d="([^"]*)" class="line', chart):
        points = np.array([(float(x), float(y)) for x, y in POINT.findall(path)])
        curves.append((x_of(points[:, 0]), y_of(points[:, 1])))
    return curves


def test_a_curve_carries_the_given_numbers() -> None:
    x, y = list(range(0, 201, 5)), [math.sin(u / 30) + 2 for u in range(0, 201, 5)]
    [(found_x, found_y)] = read_curves(line_chart("wave", [Series("wave", x, y)]))
    np.testing.assert_allclose(found_x, x, atol=0.2)
    np.testing.assert_allclose(found_y, y, atol=0.01)
    # The same reader notices a curve that is off by one place.
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found_y[1:], y[:-1], atol=0.01)


def test_a_logarithmic_axis_carries_the_given_numbers() -> None:
    y = [10.0**-k for k in range(1, 7)]
    [(_, found)] = read_curves(line_chart("rate", [Series("rate", range(6), y)], log_y=True), log=True)
    np.testing.assert_allclose(np.log10(found), np.log10(y), atol=0.02)


def test_values_that_are_not_positive_are_left_out_of_a_logarithmic_axis() -> None:
    chart = line_chart("rate", [Series("rate", range(4), [0.0, 1e-3, 1e-2, 0.0])], log_y=True)
    assert len(read_curves(chart, log=True)[0][0]) == 2


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_gap_breaks_the_line_and_nothing_else(bad: float) -> None:
    chart = line_chart("loss", [Series("loss", range(5), [1.0, 2.0, bad, 3.0, 4.0])])
    [path] = re.findall(r'<path d="([^"]*)" class="line', chart)
    assert [step[0] for step in re.findall(r"[ML][^ML]+", path)] == ["M", "L", "M", "L"]
    assert "nan" not in chart and 'inf"' not in chart


def test_a_band_reaches_from_low_to_high() -> None:
    series = Series("mean", [0, 1, 2], [1.0, 2.0, 3.0], low=[0.5, 1.5, 2.5], high=[1.5, 2.5, 3.5])
    chart = line_chart("band", [series])
    [band] = re.findall(r'<path d="([^"]*)Z" class="band', chart)
    values = ruler(chart, "end")(np.array([float(y) for _, y in POINT.findall(band)]))
    np.testing.assert_allclose(values, [1.5, 2.5, 3.5, 2.5, 1.5, 0.5], atol=0.02)


@pytest.mark.parametrize(("curve", "end"), [([0.9, 0.7, 0.88, 0.88], "left"), ([0.88, 0.88, 0.7, 0.9], "right")])
def test_the_name_of_a_level_stands_where_no_curve_is(curve: list[float], end: str) -> None:
    chart = str(line_chart("accuracy", [Series("run", [0, 1, 2, 3], curve)], levels={"probe": 0.89}))
    name = re.search(r'<text[^>]*class="axis([^"]*) halo"[^>]*>probe 0.89', chart)
    assert name is not None and name[1] == ("" if end == "left" else " end")


def test_a_level_far_away_does_not_flatten_the_curves() -> None:
    series = [Series("accuracy", range(10), [0.80 + i / 100 for i in range(10)])]
    near = line_chart("accuracy", series, levels={"probe": 0.78})
    far = line_chart("accuracy", series, levels={"chance": 0.1})
    assert "probe 0.78" in near and 'class="level"' not in far
    assert "chance 0.1" not in re.sub(r'aria-label="[^"]*"', "", far)


def test_the_spoken_text_says_where_each_curve_starts_and_ends() -> None:
    chart = line_chart("Loss", [Series("train", [0, 1, 2], [2.0, 0.5, 1.0])])
    assert 'aria-label="Loss: train from 2 to 1, lowest 0.5, highest 2"' in chart


def test_a_mark_above_every_curve_is_in_the_picture() -> None:
    curve = Series("m", [0, 12, 24, 36], [0.87, 0.87, 0.845, 0.85], dots=True)
    chart = line_chart("m", [curve], mark=Mark(36, 0.875, "an average"))
    [ring] = re.findall(r'cy="([\d.-]+)" r="5.5" class="ring"', chart)
    dots = [float(y) for y in re.findall(r'cy="([\d.-]+)"', chart) if y != ring]
    assert 5.5 <= float(ring) < min(dots) - 5  # whole, and apart from the highest of them


def test_the_mark_stands_inside_the_picture_at_both_ends() -> None:
    for x in (0, 9):
        chart = line_chart("m", [Series("m", range(10), range(10))], mark=Mark(x, x, "here"))
        [(place, end)] = re.findall(r'<text x="([\d.]+)" y="[\d.]+" class="mark halo( end)?">here', chart)
        assert (float(place) < 230) == (end == "")


def test_a_single_value_is_a_dot_on_an_axis_from_zero() -> None:
    chart = line_chart("Loss", [Series("train", [30], [2.0])])
    assert chart.count('class="dot') == 1
    assert ruler(chart, "mid")(np.array([446.0]))[0] == pytest.approx(30, abs=0.1)


def test_a_chart_of_no_values_is_still_a_chart() -> None:
    assert "no values" in line_chart("Loss", [Series("train", [], [])])
    assert "no values" in line_chart("Loss", [Series("train", [1, 2], [math.nan, math.nan])])


def test_the_scatter_puts_equal_pairs_on_its_diagonal() -> None:
    chart = scatter_chart("p", [0.0, 5.0, 10.0], [0.0, 5.0, 10.0], x_name="true", y_name="predicted")
    number = r'([-\d.]+)"'
    line = re.search(rf'<line x1="{number} y1="{number} x2="{number} y2="{number} class="level"', chart)
    assert line is not None
    x1, y1, x2, y2 = map(float, line.groups())
    points = re.findall(rf'<circle cx="{number} cy="{number}', chart)
    assert len(points) == 3
    for cx, cy in points:
        assert (float(cy) - y1) / (float(cx) - x1) == pytest.approx((y2 - y1) / (x2 - x1), rel=0.02)


def test_a_noisy_curve_is_drawn_twice_and_named_once() -> None:
    assert [s.name for s in noisy("train", range(100), [0.0] * 100)] == ["", "train, smoothed"]
    assert [s.name for s in noisy("train", range(5), [0.0] * 5)] == ["train"]


@given(st.floats(-1e6, 1e6), st.floats(1e-6, 1e6))
def test_ticks_are_inside_round_and_evenly_spaced(low: float, length: float) -> None:
    found = ticks(low, low + length)
    slack = 1e-6 * max(abs(low), length)
    assert 2 <= len(found) <= 9 or length < 1e-9 * abs(low)
    assert all(low - slack <= tick <= low + length + slack for tick in found)
    steps = np.diff(found)
    assert len(steps) == 0 or np.allclose(steps, steps[0], rtol=1e-3)


@given(st.floats(-9, 3), st.floats(0.05, 8))
def test_log_ticks_are_inside(low: float, decades: float) -> None:
    bottom, top = 10.0**low, 10.0 ** (low + decades)
    found = log_ticks(bottom, top)
    assert 1 <= len(found) <= 9
    assert all(bottom * 0.999 <= tick <= top * 1.001 for tick in found)


@settings(max_examples=50)
@given(st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=3000), st.integers(1, 50))
def test_thinning_keeps_the_extremes_the_ends_and_the_order(y: list[float], buckets: int) -> None:
    x_kept, y_kept = thin(range(len(y)), y, buckets)
    assert (min(y_kept), max(y_kept)) == (min(y), max(y))
    assert (x_kept[0], x_kept[-1]) == (0, len(y) - 1)
    assert x_kept == sorted(x_kept) and all(y[int(i)] == value for i, value in zip(x_kept, y_kept, strict=True))
    assert len(x_kept) <= 4 * buckets


def test_the_running_mean_equals_numpys() -> None:
    y = np.random.default_rng(1).normal(size=200)
    inner = np.convolve(y, np.ones(9) / 9, mode="valid")
    np.testing.assert_allclose(smooth(y.tolist(), 9)[4:-4], inner, atol=1e-12)


@pytest.mark.parametrize("values", [[], [math.nan], [0.0], [5.0, 5.0], [-3.0, -3.0], [1e-9]])
def test_a_range_is_never_empty(values: Sequence[float]) -> None:
    low, high = span(values)
    assert low < high


def test_a_frame_maps_its_corners() -> None:
    frame: Any = Frame(10, 20, 110, 220, x=(0, 1), y=(1e-4, 1e-2), log=True)
    assert frame.place(0, 1e-4) == pytest.approx((10, 220))
    assert frame.place(1, 1e-3) == pytest.approx((110, 120))
