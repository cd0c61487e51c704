"""Rates in the terminal are read back from their dots; picture files are opened."""

from __future__ import annotations

import math
import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from rich.text import Text

from hone.report import draw_confusion, draw_rates, terminal_rates

ANSI = re.compile(r"\x1b\[[\d;]*m")


def heights(chart: str, rows: int) -> np.ndarray:
    """Of every dot column the mean height of its dots, 0 at the bottom and 1 at the top."""
    lines = [re.split(r"[┤│]", line, maxsplit=1)[1] for line in chart.splitlines()[:rows]]
    width = max(map(len, lines))
    dots = np.zeros((4 * rows, 2 * width), dtype=bool)
    order = [(0, 0), (1, 0), (2, 0), (0, 1), (1, 1), (2, 1), (3, 0), (3, 1)]  # Unicode's numbering of the eight dots
    for i, line in enumerate(lines):
        for j, character in enumerate(line):
            for bit, (down, across) in enumerate(order):
                if character != " " and (ord(character) - 0x2800) >> bit & 1:
                    dots[4 * i + down, 2 * j + across] = True
    place = np.arange(4 * rows)[:, None]
    with np.errstate(invalid="ignore"):
        return 1 - (dots * place).sum(0) / dots.sum(0) / (4 * rows - 1)


def test_the_dots_stand_where_the_rates_are() -> None:
    rates = [math.cos(math.pi * u / 999) / 2 + 0.5 for u in range(1000)]
    found = heights(terminal_rates({"head": rates}, width=80, height=20), 20)
    expected = np.interp(np.linspace(0, 999, len(found)), range(1000), rates)
    np.testing.assert_allclose(found, expected, atol=0.02)
    with pytest.raises(AssertionError):
        np.testing.assert_allclose(found, expected[::-1], atol=0.02)


def test_a_jump_is_drawn_as_a_flank() -> None:
    chart = terminal_rates({"step": [1.0] * 50 + [0.1] * 50}, width=40, height=10)
    column = [line[20:24].strip() for line in chart.splitlines()[:10]]
    assert sum(bool(cell) for cell in column) >= 8


def test_every_line_fits() -> None:
    curves = {"backbone": [1e-4 * u for u in range(100)], "head": [1e-3] * 100}
    for width in (24, 40, 100):
        plain = terminal_rates(curves, width=width, height=6)
        assert max(len(line) for line in plain.splitlines()[:8]) <= width
        assert len(plain.splitlines()) == 6 + 2 + 2
        coloured = terminal_rates(curves, width=width, height=6, colour=True)
        assert ANSI.sub("", coloured) == plain != coloured
        assert Text.from_ansi(coloured).plain == plain


def test_the_legend_names_first_highest_and_last() -> None:
    last = terminal_rates({"head": [0.0, 0.5, 1.0, 0.25]}).splitlines()[-1]
    assert last.strip() == "━ head  0 → 1 → 0.25"


@pytest.mark.parametrize("rates", [[0.0, 0.0], [5.0], [math.nan, 1.0, math.inf], [1e-12, 1e-9]])
def test_odd_rates_are_drawn_too(rates: list[float], tmp_path: Path) -> None:
    assert "━ head" in terminal_rates({"head": rates})
    assert draw_rates({"head": rates}, tmp_path / "r.png").stat().st_size > 1000


@pytest.mark.parametrize("curves", [{}, {"head": []}])
def test_nothing_to_draw_is_an_error(curves: dict[str, list[float]], tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="at least one curve"):
        terminal_rates(curves)
    with pytest.raises(ValueError, match="at least one curve"):
        draw_rates(curves, tmp_path / "r.png")


@pytest.mark.parametrize(("width", "height"), [(23, 5), (40, 2)])
def test_too_little_room_is_an_error(width: int, height: int) -> None:
    with pytest.raises(ValueError, match="at least"):
        terminal_rates({"head": [1.0]}, width, height)


def test_pictures_are_pictures(tmp_path: Path) -> None:
    curves = {"_hidden $x$": [0.0, 1.0], "$\\bad{": [1.0, 0.0]}
    with Image.open(draw_rates(curves, tmp_path / "rates.png")) as picture:
        assert picture.width > 1000 and np.asarray(picture.convert("L")).std() > 5
    assert draw_rates(curves, tmp_path / "rates.svg").read_text().startswith("<?xml")
    names = ["$a$", "$\\bad{"]
    with Image.open(draw_confusion([[3, 1], [0, 0]], names, tmp_path / "matrix.png")) as picture:
        assert picture.width > 200


def test_pictures_need_no_window_and_leave_no_figure_open(tmp_path: Path) -> None:
    import matplotlib.pyplot as plt

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for i in range(3):
            draw_rates({"head": [1.0, 2.0]}, tmp_path / f"{i}.png")
    assert plt.get_fignums() == []


def test_an_unknown_ending_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"path must end in one of .png"):
        draw_rates({"head": [1.0]}, tmp_path / "rates.bmp")
    with pytest.raises(ValueError, match="2 names"):
        draw_confusion([[1, 0], [0, 1]], ["one"], tmp_path / "m.png")
