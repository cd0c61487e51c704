"""Where a model is right and where it errs: confusion matrix, scores a class, regression scatter, mistakes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from .charts import scatter_chart
from .confusion import MAX_TABLE, confusion_matrix, pairs_table
from .markup import Content, Markup, element, joined, table
from .page import share_bar
from .result import ClassScore, Mistake, Predictions, Result
from .thumbnails import thumbnail
from .wording import plural, score_text

#: What a sample is called where it is no photo.
_NOUNS = {"classify-volume": "volume", "classify-video": "clip"}
#: Above so many classes the weakest come first.
MANY = 16
#: Up to so many classes the matrix fits into half of the page.
MATRIX_FITS = 8


def class_table(scores: Sequence[ClassScore], task: str) -> Markup:
    """Precision, recall and F1 of every class; the weakest first where there are many."""
    order = sorted(scores, key=lambda row: row.f1 if row.f1 == row.f1 else 2.0) if len(scores) > MANY else scores
    noun = "label" if task == "multilabel" else "class"
    unit = {"segment": "pixels", "segment-volume": "voxels"}.get(task, "samples")
    surfaces = any(row.surface is not None for row in scores)
    rows: list[list[Content]] = [
        [row.name, score_text(row.precision), score_text(row.recall), _metered(row.f1)]
        + ["" if row.surface is None else score_text(row.surface)] * surfaces
        + [f"{row.support:,}"]
        for row in order
    ]
    head = [noun, "precision", "recall", "Dice" if task.startswith("segment") else "F1", *["surface"] * surfaces, unit]
    caption = f"Every {noun}" + (", the weakest first" if order is not scores else "")
    return table(head, rows, caption=caption)


def _metered(value: float) -> Content:
    return [share_bar(value, class_="meter"), score_text(value)]


def regression(pairs: Predictions) -> list[Markup]:
    """True against predicted values, and how far they are apart."""
    chart = scatter_chart("Predicted against true", pairs.truth, pairs.predicted, x_name="true", y_name="predicted")
    errors = sorted(abs(a - b) for a, b in zip(pairs.truth, pairs.predicted, strict=True))
    if not errors:
        return []
    places = {"half of the samples": 0.5, "nine of ten": 0.9, "99 of 100": 0.99, "all that are shown": 1.0}
    rows: list[list[Content]] = [
        [name, score_text(errors[max(math.ceil(share * len(errors)) - 1, 0)])] for name, share in places.items()
    ]
    return [chart, element("div", table(["samples", "error at most"], rows, caption="How far off"), class_="card")]


def mistake_gallery(mistakes: Sequence[Mistake], roots: Sequence[Path]) -> Markup | None:
    """The most confidently wrong photos, each with what it is and what it was taken for.

    Args:
        mistakes: in the order to show them.
        roots: folders that relative paths may start from.
    """
    if not mistakes:
        return None
    return element("ul", [element("li", _mistake(row, roots)) for row in mistakes], class_="photos")


def _mistake(row: Mistake, roots: Sequence[Path]) -> Markup:
    uri = next((found for path in _places(row.path, roots) if (found := thumbnail(path))), None)
    name = Path(row.path).name
    picture = (
        element("img", src=uri, alt=f"{name}: truly {row.truth}, taken for {row.predicted}", width=208, height=208)
        if uri
        else element("div", "this photo could not be opened", class_="gone")
    )
    sure = f", {row.confidence:.0%}" if row.confidence == row.confidence else ""
    return joined(
        picture,
        element("p", "said ", element("b", row.predicted), sure, element("br"), "is ", element("b", row.truth)),
        element("p", "/".join(Path(row.path).parts[-2:]), class_="path", title=row.path),
    )


def _places(path: str, roots: Sequence[Path]) -> list[Path]:
    return [Path(path), *(root / path for root in roots)]


def quality_parts(result: Result, classes: Sequence[str]) -> list[Markup]:
    """What the task's own pictures are: matrix and class scores, label scores, or the scatter."""
    parts: list[Markup] = []
    if result.confusion:
        wide = MATRIX_FITS < len(result.confusion) <= MAX_TABLE
        parts.append(
            element("div", confusion_matrix(result.confusion, classes), class_="card wide" if wide else "card")
        )
    if len(result.confusion or []) > 6 and (pairs := pairs_table(result.confusion or [], classes)):
        parts.append(element("div", pairs, class_="card"))
    if result.per_class:
        parts.append(element("div", class_table(result.per_class, result.task), class_="card"))
    if result.predictions is not None:
        parts += regression(result.predictions)
    return parts


def mistakes_intro(result: Result) -> str:
    """How many samples of the matrix were wrong, in a sentence."""
    shown = plural(len(result.mistakes), _NOUNS.get(result.task, "photo"))
    if not result.confusion:
        return f"The {shown} that the model was most confidently wrong about."
    total = sum(map(sum, result.confusion))
    wrong = total - sum(row[i] for i, row in enumerate(result.confusion))
    where = " on the test data" if result.measured_on == "test" else ""
    return (
        f"{wrong:,} of {total:,} were wrong{where}; here are the {shown} it was surest about. "
        "Some may be labelled wrongly themselves: look before you blame the model."
    )
