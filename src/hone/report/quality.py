"""Where a model is right and where it errs: confusion matrix, scores a class, regression scatter, mistakes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .charts import scatter_chart
from .markup import Content, Markup, element, joined, table
from .page import share_bar
from .result import ClassScore, Mistake, Predictions, Result
from .thumbnails import png_uri, thumbnail
from .wording import plural, score_text

#: Above so many classes the matrix is drawn as a picture instead of a table.
MAX_TABLE = 16
#: So many pairs of classes that are taken for each other are listed.
MAX_PAIRS = 12


def confusion_matrix(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup:
    """The matrix of true against predicted classes: a shaded table, or a picture where there are many classes.

    Args:
        counts: counts[truth][predicted].
        classes: their names, in the same order; numbers where there are not enough.
    """
    names = [*classes, *map(str, range(len(classes), len(counts)))]
    return _table(counts, names) if len(counts) <= MAX_TABLE else _picture(counts)


def _table(counts: Sequence[Sequence[int]], names: Sequence[str]) -> Markup:
    rows = [
        element("tr", element("th", name, scope="row"), [_cell(i == j, n, sum(row)) for j, n in enumerate(row)])
        for i, (name, row) in enumerate(zip(names, counts, strict=False))
    ]
    many = len(counts) > 6 or max(map(len, names)) > 10
    head = element(
        "tr", element("th", "truth ↓  predicted →", scope="col"), [element("th", n, scope="col") for n in names]
    )
    return element(
        "div",
        element(
            "table",
            element("caption", "Confusion matrix"),
            element("thead", head),
            element("tbody", rows),
            class_="confusion many" if many else "confusion",
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label="Confusion matrix",
    )


def _cell(hit: bool, n: int, total: int) -> Markup:
    class_ = "hit" if hit else ("none" if n == 0 else None)
    return element("td", n if n or hit else "·", class_=class_, style=f"--w:{n / total if total else 0:.3f}")


def _picture(counts: Sequence[Sequence[int]]) -> Markup:
    import numpy as np
    from PIL import Image

    array = np.asarray(counts, dtype=np.float64)
    shares = array / np.maximum(array.sum(axis=1, keepdims=True), 1)
    # The colours are mid-tones that stand out on white and on black; the share is the opacity.
    pixels = np.empty((*array.shape, 4), dtype=np.uint8)
    pixels[..., :3] = (220, 105, 45)
    pixels[np.arange(len(array)), np.arange(len(array)), :3] = (60, 130, 185)
    pixels[..., 3] = np.where(shares > 0, 40 + 215 * shares, 0).astype(np.uint8)
    right = array.trace() / max(array.sum(), 1)
    alt = f"Confusion matrix of {len(array)} classes, true classes from top to bottom; {right:.1%} lie on the diagonal."
    return element(
        "figure",
        element("figcaption", element("strong", "Confusion matrix")),
        element("img", src=png_uri(Image.fromarray(pixels)), alt=alt, class_="pixels"),
        element("p", "One pixel a pair: true class downwards, predicted to the right.", class_="note"),
    )


def confused_pairs(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> list[tuple[str, str, int, float]]:
    """The pairs most often taken for each other: truth, predicted, how often, share of the true class.

    Example:
        >>> confused_pairs([[8, 2], [0, 5]], ["rose", "tulip"])
        [('rose', 'tulip', 2, 0.2)]
    """
    names = [*classes, *map(str, range(len(classes), len(counts)))]
    pairs = [
        (names[i], names[j], n, n / sum(row)) for i, row in enumerate(counts) for j, n in enumerate(row) if n and i != j
    ]
    return sorted(pairs, key=lambda pair: -pair[2])[:MAX_PAIRS]


def pairs_table(counts: Sequence[Sequence[int]], classes: Sequence[str]) -> Markup | None:
    """The table of `confused_pairs`; nothing where every sample was right."""
    rows: list[list[Content]] = [
        [truth, guess, n, f"{share:.0%}"] for truth, guess, n, share in confused_pairs(counts, classes)
    ]
    return table(["truth", "taken for", "times", "of its class"], rows, caption="Most often confused") if rows else None


def class_table(scores: Sequence[ClassScore], task: str) -> Markup:
    """Precision, recall and F1 of every class; the weakest first where there are many."""
    order = sorted(scores, key=lambda row: row.f1 if row.f1 == row.f1 else 2.0) if len(scores) > MAX_TABLE else scores
    noun = "label" if task == "multilabel" else "class"
    unit = {"segment": "pixels"}.get(task, "samples")
    rows: list[list[Content]] = [
        [row.name, score_text(row.precision), score_text(row.recall), _metered(row.f1), f"{row.support:,}"]
        for row in order
    ]
    head = [noun, "precision", "recall", "Dice" if task == "segment" else "F1", unit]
    caption = f"Every {noun}" + (", the weakest first" if order is not scores else "")
    return table(head, rows, caption=caption)


def _metered(value: float) -> Content:
    return [score_text(value), share_bar(value, class_="meter")]


def regression(pairs: Predictions) -> Markup:
    """True against predicted values, and how far they are apart."""
    chart = scatter_chart("Predicted against true", pairs.truth, pairs.predicted, x_name="true", y_name="predicted")
    errors = sorted(abs(a - b) for a, b in zip(pairs.truth, pairs.predicted, strict=True))
    if not errors:
        return chart
    places = {"half of the samples": 0.5, "nine of ten": 0.9, "all shown": 1.0}
    rows = [[name, score_text(errors[min(int(q * len(errors)), len(errors) - 1)])] for name, q in places.items()]
    side = table(["samples", "error at most"], rows, caption="How far off")
    return element("div", chart, element("div", side, class_="card"), class_="split")


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
    sure = f", {row.confidence:.0%} sure" if row.confidence == row.confidence else ""
    return joined(
        picture,
        element("p", element("b", row.predicted), sure, element("br"), "is ", element("b", row.truth)),
        element("p", row.path, class_="path", title=row.path),
    )


def _places(path: str, roots: Sequence[Path]) -> list[Path]:
    return [Path(path), *(root / path for root in roots)]


def quality_parts(result: Result, classes: Sequence[str]) -> list[Markup]:
    """What the task's own pictures are: matrix and class scores, label scores, or the scatter."""
    parts: list[Markup] = []
    if result.confusion:
        parts.append(element("div", confusion_matrix(result.confusion, classes), class_="card"))
    if result.confusion and len(result.confusion) > 2 and (pairs := pairs_table(result.confusion, classes)):
        parts.append(element("div", pairs, class_="card"))
    if result.per_class:
        parts.append(element("div", class_table(result.per_class, result.task), class_="card"))
    if result.predictions is not None:
        parts.append(regression(result.predictions))
    return parts


def mistakes_intro(result: Result) -> str:
    """How many samples of the matrix were wrong, in a sentence."""
    shown = plural(len(result.mistakes), "photo")
    if not result.confusion:
        return f"The {shown} that the model was most confidently wrong about."
    total = sum(map(sum, result.confusion))
    wrong = total - sum(row[i] for i, row in enumerate(result.confusion))
    return (
        f"{wrong:,} of {total:,} were wrong; here are the {shown} it was surest about. "
        "Some may be labelled wrongly themselves: look before you blame the model."
    )
