"""What one look at an image and its mask says, remembered until a file changes."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ..cache_folder import cache_folder, write_whole
from ..decoding import DECODE_ERRORS, unreadable
from ..headers import look_at
from ..volumes.scan import state_of
from .decoding import read_mask
from .listing import Pair

#: Of what is remembered; a change of meaning gets a new number.
_VERSION = 1


@dataclass(frozen=True)
class PairFacts:
    """What is known of an image and its mask.

    Attributes:
        stat: bytes and time of change in ns of the image, its width and height in pixels, upright.
        state: a name for the files as they are now.
        peak: the highest value of an image of more than 8 bits; 0 for others.
        sizes: (width, height) of each mask file; (0, 0) for a label without one.
        counts: of each mask file, the pixels of each value.
    """

    stat: tuple[int, int, int, int]
    state: str
    peak: int
    sizes: tuple[tuple[int, int], ...]
    counts: tuple[dict[int, int], ...]

    def total(self) -> Counter[int]:
        """The pixels of each value, over all mask files."""
        return sum((Counter(each) for each in self.counts), Counter())


def scan_pairs(pairs: Sequence[Pair], source: str | Path) -> tuple[dict[int, PairFacts], dict[int, str]]:
    """The facts of each pair by row, and of those that can't be read the reason.

    Args:
        pairs: what to look at: the headers of images, every pixel of masks.
        source: the folder that they come from; what was seen is kept in the cache folder under its name.
    """
    name = hashlib.blake2b(os.fspath(Path(source).resolve()).encode(), digest_size=10).hexdigest()
    memory = cache_folder() / "mask-scans" / f"{name}.json"
    known = _recall(memory)
    found: dict[int, PairFacts] = {}
    wrong: dict[int, str] = {}
    for row, pair in enumerate(pairs):
        try:
            state = state_of([pair.image, *filter(None, pair.masks)])
            found[row] = known[state] if state in known else _look_at(pair, state)
        except ValueError as error:
            wrong[row] = str(error)
    if {facts.state for facts in found.values()} != known.keys():
        content = {"version": _VERSION, "pairs": [asdict(facts) for facts in found.values()]}
        write_whole(memory, json.dumps(content, separators=(",", ":")).encode())
    return found, wrong


def _look_at(pair: Pair, state: str) -> PairFacts:
    try:
        size = look_at(pair.image)
    except ValueError as error:
        raise unreadable(pair.image, error) from None
    status = os.stat(pair.image)  # noqa: PTH116 (as everywhere that many files are looked at)
    masks = [read_mask(path) if path else np.zeros((0, 0), np.uint8) for path in pair.masks]
    return PairFacts(
        (status.st_size, status.st_mtime_ns, *size),
        state,
        _peak(pair.image),
        tuple((mask.shape[1], mask.shape[0]) for mask in masks),
        tuple(_counts(mask) for mask in masks),
    )


def _counts(mask: np.ndarray) -> dict[int, int]:
    if mask.dtype == np.uint8:
        found = np.bincount(mask.reshape(-1), minlength=1)
        return {int(value): int(found[value]) for value in found.nonzero()[0]}
    values, counts = np.unique(mask, return_counts=True)
    return dict(zip(values.tolist(), counts.tolist(), strict=True))


def _peak(path: str) -> int:
    """The highest value of whole-number grey of more than 8 bits."""
    try:
        with Image.open(path) as image:
            return int(np.asarray(image).max()) if image.mode.startswith("I") else 0
    except DECODE_ERRORS as error:
        raise unreadable(path, error) from None


def _recall(memory: Path) -> dict[str, PairFacts]:
    try:
        content = json.loads(memory.read_bytes())
        if content["version"] != _VERSION:
            return {}
        return {each["state"]: _from_plain(each) for each in content["pairs"]}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Not there, half a file, of another version: looking again is always right.
        return {}


def _from_plain(values: dict[str, Any]) -> PairFacts:
    bytes_, changed, width, height = values["stat"]
    return PairFacts(
        (bytes_, changed, width, height),
        values["state"],
        values["peak"],
        tuple((width, height) for width, height in values["sizes"]),
        tuple({int(value): count for value, count in each.items()} for each in values["counts"]),
    )
