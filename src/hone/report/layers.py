"""What trained and what did not, and where every tensor came from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from .markup import Content, Markup, element, folded, joined, table
from .result import Layer
from .wording import count, plural

#: So many blocks are listed before the rest is folded away.
SHOWN = 10
#: What each status of transfer.json means, in the order of the page.
STATUS = {
    "copied": "copied",
    "resized": "copied, resized",
    "new": "new, as the model initialised them",
    "skipped": "of the source, not used",
}


def training_share(trained: Sequence[Layer], frozen: Sequence[Layer]) -> Markup | None:
    """How much of the model trained: a bar, and both lists of blocks."""
    if not trained and not frozen:
        return None
    moving, still = (sum(layer.parameters for layer in layers) for layers in (trained, frozen))
    total = max(moving + still, 1)
    parts = [
        element("i", class_=pen, style=f"--w:{size / total:.4f}")
        for pen, size in (("c1", moving), ("c8", still))
        if size
    ]
    return joined(
        element("div", parts, class_="share", aria_hidden="true"),
        element(
            "div",
            _blocks("Trained", trained, moving, total),
            _blocks("Frozen", frozen, still, total),
            class_="grid loose",
        ),
    )


def _blocks(title: str, layers: Sequence[Layer], parameters: int, total: int) -> Markup:
    heading = element("h3", f"{title}: {count(parameters)} parameters, {parameters / total:.1%}")
    if not layers:
        return element("div", heading, element("p", "nothing", class_="note"), class_="card")
    rest = layers[SHOWN:]
    more = folded(f"and {len(rest)} more", _list(rest)) if rest else None
    return element("div", heading, _list(layers[:SHOWN]), more, class_="card")


def _list(layers: Sequence[Layer]) -> Markup:
    rows = [element("li", element("code", layer.name), element("span", count(layer.parameters))) for layer in layers]
    return element("ul", rows, class_="blocks")


def source_weights(rows: Sequence[Mapping[str, Any]]) -> Markup | None:
    """How many tensors were copied, resized, re-initialised, skipped; each of them in folded tables.

    Args:
        rows: the tensors of transfer.json: name, status, reason, shape.
    """
    if not rows:
        return None
    counts = Counter(str(row.get("status", "unknown")) for row in rows)
    order = [*(name for name in STATUS if name in counts), *sorted(counts.keys() - STATUS.keys())]
    chips = [element("li", element("b", f"{counts[name]:,}"), f" {STATUS.get(name, name)}") for name in order]
    notable = [row for row in rows if row.get("status") != "copied"]
    copied = [row for row in rows if row.get("status") == "copied"]
    return joined(
        element("ul", chips, class_="chips"),
        folded(f"The {plural(len(notable), 'tensor')} not simply copied", _tensors(notable)) if notable else None,
        folded(f"The {plural(len(copied), 'copied tensor')}", _tensors(copied)) if copied else None,
    )


def _tensors(rows: Sequence[Mapping[str, Any]]) -> Markup:
    cells: list[list[Content]] = [
        [
            element("code", str(row.get("name", ""))),
            str(row.get("status", "")),
            _shape(row.get("shape")),
            str(row.get("reason") or ""),
        ]
        for row in rows[:MAX_ROWS]
    ]
    caption = "Tensors" + (f", the first {MAX_ROWS:,} of {len(rows):,}" if len(rows) > MAX_ROWS else "")
    return table(["name", "what happened", "shape", "why"], cells, caption=caption, class_="words")


#: Rows of a tensor table; a very deep model has thousands, and transfer.json lists them all.
MAX_ROWS = 600


def _shape(shape: Any) -> str:
    if isinstance(shape, (list, tuple)):
        return " × ".join(str(size) for size in shape) or "one number"
    return str(shape or "")
