"""Read a data set of images and masks from disk: which belong together, what they show, which split."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ...checks import invalid, number
from ..decoding import unreadable
from ..examples import Splits
from ..splitting import split_rows
from .checking import check_labels, check_sizes, see_classes
from .coding import Coding
from .examples import MaskExamples
from .facts import PairFacts, scan_pairs
from .listing import MaskListing, Pair, list_masks

_NAMES_IN = ("classes.json", "classes.txt")
#: Ranges of whole-number images: 10, 12, 14 and 16 bits.
_PEAKS = (1023, 4095, 16383, 65535)


def read_masks(
    data: str | Path,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    skip_unreadable: bool = False,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
) -> Splits:
    """Read ``images/`` and ``masks/``, in ``train``, ``val`` and perhaps ``test`` or alone, and look at all once.

    Masks hold class indices (grey levels or a palette; 0 and 255 are two classes), or ``masks/LABEL/`` holds 0 and 1
    for each label. The names of the classes stand in ``classes.txt`` (a line each) or ``classes.json`` (a list) in the
    folder, else they are called "background", "class 1", ...

    Args:
        data: the folder.
        val_fraction: the share that validates where the data does not say it itself, in [0, 1).
        seed: of that division.
        skip_unreadable: leave pairs out that can't be read, and name them in ``Splits.skipped``.
        classes: of a trained model that is tried on the data; None sees them from the data.
        ignore_index: the value of pixels that count nowhere.

    Raises:
        ValueError: an image or a mask without its partner, of another size, or with values beyond the classes; all
            are named.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name, mode in (("images", "RGB"), ("masks", "L")):
        ...         (Path(folder) / name).mkdir()
        ...         for k in range(5):
        ...             Image.new(mode, (8, 8), 255 if k else 0).save(f"{folder}/{name}/{k}.png")
        ...     read_masks(folder).summary()
        '4 train, 1 val images, 2 classes (class 1 75 %), 8x8 px'
    """
    root = Path(data)
    number("val_fraction", val_fraction, at_least=0, below=1)
    listing = list_masks(root)
    if not listing.pairs:
        raise invalid("DATA", "hold images in images/ and masks of the same names in masks/", str(root))
    pairs, facts, skipped = _readable(listing, root, skip_unreadable)
    check_sizes(pairs, facts)
    names, coding, notes = _classes(root, listing.labels, pairs, facts, classes, ignore_index)
    if listing.labels is not None:
        pairs, facts = _in_order(pairs, facts, listing.labels, names)
    everything = _examples(pairs, facts, names, coding)
    parts = {kind: everything.take(rows) for kind, rows in _rows(pairs, val_fraction, seed).items()}
    if not len(parts["train"]):
        raise invalid("train", "hold at least one image with its mask", 0)
    notes = [*listing.notes, *notes]
    return Splits(parts["train"], parts["val"], parts["test"], skipped, listing.ignored, notes)


def _readable(listing: MaskListing, root: Path, skip_unreadable: bool) -> tuple[list[Pair], list[PairFacts], list[str]]:
    found, wrong = scan_pairs(listing.pairs, root)
    if wrong and not skip_unreadable:
        reason = next(iter(wrong.values()))
        raise ValueError(reason + (f" (and {len(wrong) - 1} more files)" if len(wrong) > 1 else ""))
    if not found:
        raise unreadable(listing.pairs[0].image, wrong[0])
    return [listing.pairs[row] for row in found], list(found.values()), list(wrong.values())


def _classes(
    root: Path,
    labels: list[str] | None,
    pairs: list[Pair],
    facts: list[PairFacts],
    known: Sequence[str] | None,
    ignore: int | None,
) -> tuple[list[str], Coding, list[str]]:
    """The names, what the values mean, and what a person should know about it."""
    named = _named_classes(root)
    if labels is not None:
        check_labels(pairs, facts, ignore)
        names = list(known or labels)
        _check_known(labels, names)
        return names, Coding(len(names), labels=True, ignore=ignore), []
    if known is not None and named is not None and list(named) != list(known):
        raise ValueError(f"DATA names other classes than the run: {', '.join(named)}; it knows {', '.join(known)}")
    names, white = see_classes(pairs, facts, ignore, known if known is not None else named)
    notes = [f"0 and 255 in the masks are understood as {names[0]} and {names[1]}"] if white else []
    return names, Coding(len(names), ignore=ignore, white=white), notes


def _named_classes(root: Path) -> list[str] | None:
    file = next((root / name for name in _NAMES_IN if (root / name).is_file()), None)
    if file is None:
        return None
    text = file.read_text(encoding="utf-8-sig")
    try:
        names = json.loads(text) if file.suffix == ".json" else [line.strip() for line in text.strip().splitlines()]
    except ValueError as error:
        raise invalid(str(file), "be a JSON list of names", text[:40], str(error)) from None
    good = isinstance(names, list) and names and all(isinstance(name, str) and name for name in names)
    if not good or len(set(names)) != len(names):
        raise invalid(str(file), "hold a name for each class, no two alike", names)
    return list(names)


def _check_known(labels: Sequence[str], names: Sequence[str]) -> None:
    strange = [name for name in labels if name not in names]
    if strange:
        raise ValueError(
            f"DATA has labels that the run does not know: {', '.join(strange)}; it knows {', '.join(names)}"
        )


def _in_order(
    pairs: list[Pair], facts: list[PairFacts], labels: list[str], names: list[str]
) -> tuple[list[Pair], list[PairFacts]]:
    """Masks in the order of the names; a name of which the data has no folder has no masks."""
    places = [labels.index(name) if name in labels else None for name in names]
    ordered = [replace(pair, masks=tuple("" if k is None else pair.masks[k] for k in places)) for pair in pairs]
    counted = [replace(known, counts=tuple({} if k is None else known.counts[k] for k in places)) for known in facts]
    return ordered, counted


def _examples(pairs: list[Pair], facts: list[PairFacts], names: list[str], coding: Coding) -> MaskExamples:
    top = max((known.peak for known in facts), default=0)
    return MaskExamples(
        [pair.image for pair in pairs],
        torch.stack([_pixels(known, coding) for known in facts]),
        names,
        "segment",
        np.array([known.stat for known in facts], dtype=np.int64),
        masks=[pair.masks for pair in pairs],
        states=[known.state for known in facts],
        coding=coding,
        peak=next(peak for peak in _PEAKS if top <= peak) if top else _PEAKS[-1],
    )


def _pixels(facts: PairFacts, coding: Coding) -> torch.Tensor:
    """(C,) int64: the pixels of each class or label."""
    found = torch.zeros(coding.classes, dtype=torch.int64)
    for place, counts in enumerate(facts.counts):
        for value, count in counts.items():
            if value == coding.ignore:
                continue
            if coding.labels:
                found[place] += count if value else 0
            else:
                found[1 if coding.white and value else value] += count
    return found


def _rows(pairs: list[Pair], val_fraction: float, seed: int) -> dict[str, np.ndarray]:
    kinds = np.array([pair.kind for pair in pairs])
    rows = {kind: np.flatnonzero(kinds == kind) for kind in ("train", "val", "test")}
    undecided = np.flatnonzero(kinds == "")
    if len(undecided):
        train, val = split_rows(None, len(undecided), val_fraction, seed)
        rows["train"], rows["val"] = undecided[train], undecided[val]
    return rows
