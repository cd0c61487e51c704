"""The confusion matrix: on a page as a shaded table or as pixels, in a picture file, and its worst pairs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from hone.checks import invalid

from .markup import Content, Markup, element, joined, table
from .thumbnails import png_uri

#: Above so many classes the matrix is drawn as a picture instead of a table.
MAX_TABLE = 16
#: So many pairs of classes that are taken for each other are listed.
MAX_PAIRS = 12
#: Right and wrong as mid-tones that stand out on white and on black.
_HIT, _MISS = (60, 130, 185), (220, 105, 45)


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
    shape = {"confusion": True, "many": len(counts) > 6, "turned": len(counts) > 6 or max(map(len, names)) > 8}
    head = element(
        "tr",
        element("th", joined("truth ↓", element("br"), "predicted →"), scope="col"),
        [element("th", element("span", n), scope="col") for n in names],
    )
    return element(
        "div",
        element(
            "table",
            element("caption", "Confusion matrix"),
            element("thead", head),
            element("tbody", rows),
            class_=" ".join(name for name, holds in shape.items() if holds),
        ),
        class_="scroll",
        tabindex="0",
        role="region",
        aria_label="Confusion matrix",
    )


def _cell(hit: bool, n: int, total: int) -> Markup:
    # The root of the share, so that a few mistakes in a hundred can still be seen.
    class_ = "hit" if hit else ("none" if n == 0 else None)
    return element("td", n if n or hit else "·", class_=class_, style=f"--w:{math.sqrt(n / total) if total else 0:.3f}")


def _picture(counts: Sequence[Sequence[int]]) -> Markup:
    import numpy as np
    from PIL import Image

    array = np.asarray(counts, dtype=np.float64)
    shares = array / np.maximum(array.sum(axis=1, keepdims=True), 1)
    pixels = np.empty((*array.shape, 4), dtype=np.uint8)
    pixels[..., :3] = _MISS
    pixels[np.arange(len(array)), np.arange(len(array)), :3] = _HIT
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


def draw_confusion(counts: Sequence[Sequence[int]], classes: Sequence[str], path: str | Path) -> Path:
    """Draw a confusion matrix into a picture file.

    Args:
        counts: counts[truth][predicted], C x C.
        classes: C names.
        path: of the picture: ``.png``, ``.svg`` or ``.pdf``.

    Returns:
        The path.

    Raises:
        ValueError: there are not as many names as rows.

    Example:
        >>> import tempfile
        >>> draw_confusion([[3, 1], [0, 4]], ["rose", "tulip"], Path(tempfile.mkdtemp()) / "matrix.png").name
        'matrix.png'
    """
    import numpy as np

    if len(classes) != len(counts):
        raise invalid("classes", f"hold {len(counts)} names, one a row of the matrix", list(classes))
    from .canvas import blank, save_figure

    array = np.asarray(counts, dtype=np.float64)
    shares = array / np.maximum(array.sum(axis=1, keepdims=True), 1)
    side = min(12.0, 2.4 + 0.55 * len(classes))
    figure, axes = blank(side + 0.6, side)
    colours = np.ones((*array.shape, 3))
    diagonal = np.eye(len(array), dtype=bool)
    for where, ink in ((diagonal, _HIT), (~diagonal, _MISS)):
        depth = 0.75 * np.sqrt(shares)[where, None]
        colours[where] = 1 - depth * (1 - np.asarray(ink) / 255)
    axes.imshow(colours)
    axes.set_xticks(range(len(classes)), classes, rotation=45, ha="right", rotation_mode="anchor", parse_math=False)
    axes.set_yticks(range(len(classes)), classes, parse_math=False)
    axes.set_xlabel("predicted")
    axes.set_ylabel("truth")
    if len(classes) <= MAX_TABLE:
        for i, j in np.argwhere(array > 0):
            axes.text(j, i, f"{counts[i][j]:,}", ha="center", va="center", fontsize=9, color="#1e1d1a")
    return save_figure(figure, Path(path))
