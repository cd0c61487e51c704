"""The best and worst cases: of a segmentation truth and prediction side by side, of clips strips of film."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .markup import Markup, element, joined
from .overlays import legend_colors
from .result import Case
from .thumbnails import data_uri
from .wording import score_text

#: Up to so many cases are shown at either end.
SHOWN = 3


def ends(values: Sequence[float]) -> dict[int, str]:
    """Which samples to show, and why: the worst first, then the best; of few samples each once.

    Args:
        values: the score of each; NaN is shown nowhere.

    Example:
        >>> ends([0.5, float("nan"), 0.9, 0.7])
        {0: 'worst', 2: 'best'}
    """
    order = sorted((row for row, value in enumerate(values) if value == value), key=lambda row: values[row])
    count = min(SHOWN, len(order) // 2)
    worst, best = order[:count], order[len(order) - max(count, 1) :][::-1]
    ranks = [(row, f"worst {place}" if place > 1 else "worst") for place, row in enumerate(worst, 1)]
    ranks += [(row, f"best {place}" if place > 1 else "best") for place, row in enumerate(best, 1)]
    return dict(ranks)


def case_gallery(
    cases: Sequence[Case], classes: Sequence[str], folder: Path, score: str = "Dice", *, flat: bool = False
) -> Markup | None:
    """A figure a case: its picture, its file, and the score of each class.

    Args:
        cases: in the order to show them.
        classes: the names of those that are drawn, in the order of their colours.
        folder: of the run, in which the pictures lie.
        score: what ``Case.value`` and ``Case.scores`` are.
        flat: whether a picture is a row, of image, truth and prediction: the figures then stand one below the other.
    """
    if not cases:
        return None
    key = [
        element("li", element("i", style=f"background:{color}"), name)
        for name, color in zip(classes, legend_colors(len(classes)), strict=True)
    ]
    what = "image, truth and prediction" if flat else "truth above, prediction below"
    figures = [
        _figure(case, folder, what, f"{case.rank}: {score_text(case.value)} {score}", _listed(case)) for case in cases
    ]
    return joined(element("ul", key, class_="key"), element("div", figures, class_="cases flat" if flat else "cases"))


def strip_gallery(cases: Sequence[Case], folder: Path) -> Markup | None:
    """A strip of film a clip: what it is, and what it was taken for.

    Args:
        cases: in the order to show them.
        folder: of the run, in which the pictures lie.
    """
    if not cases:
        return None
    figures = [
        _figure(
            case,
            folder,
            f"frames of a clip of {case.truth}",
            f"{case.rank}: truly {case.truth}, {score_text(case.value)}",
            f"said {_listed(case)}",
        )
        for case in cases
    ]
    return element("div", figures, class_="cases strips")


def _listed(case: Case) -> str:
    return ", ".join(f"{label} {score_text(value)}" for label, value in case.scores.items())


def _figure(case: Case, folder: Path, what: str, title: str, text: str) -> Markup:
    name = Path(case.path).name
    try:
        uri = data_uri((folder / case.picture).read_bytes(), "image/png")
    except OSError:
        uri = None
    picture = (
        element("img", src=uri, alt=f"{name}: {what}")
        if uri
        else element("div", "this picture is not here any more", class_="gone")
    )
    return element(
        "figure",
        picture,
        element("figcaption", element("b", title), element("br"), text),
        element("p", "/".join(Path(case.path).parts[-2:]), class_="path", title=case.path),
    )
