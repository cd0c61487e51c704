"""Read a data set from disk: which files, which targets, which split."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..checks import invalid, number, one_of
from .examples import TASKS, Examples, Splits
from .folders import Listing, list_split_folders
from .splitting import split_rows


def read_examples(
    data: str | Path, *, task: str = "auto", val_fraction: float = 0.2, seed: int = 0, skip_unreadable: bool = False
) -> Splits:
    """Read the layout of a data set and look at every file once.

    Folders: ``train/CLASS/*`` with ``val/CLASS/*`` and perhaps ``test/CLASS/*``, or ``CLASS/*`` alone, which is divided
    by ``val_fraction``, class by class. Where ``train`` stands without ``val``, it is divided too.

    Args:
        data: a folder or a CSV file.
        task: "auto", "classify", "multilabel" or "regress".
        val_fraction: the share that validates where the data does not say it itself, in [0, 1).
        seed: of that division.
        skip_unreadable: leave files out that can't be read, and name them in ``Splits.skipped``.

    Raises:
        ValueError: no images; one class only; a class in val that train lacks; a file that can't be read.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         (Path(folder) / name).mkdir()
        ...         for k in range(5):
        ...             Image.new("RGB", (8, 8)).save(f"{folder}/{name}/{k}.png")
        ...     read_examples(folder).summary()
        '8 train, 2 val photos, 2 classes (4 to 4 each)'
    """
    root = Path(data)
    one_of("task", task, ("auto", *TASKS))
    number("val_fraction", val_fraction, at_least=0, below=1)
    if not root.exists():
        raise invalid("DATA", "be a folder or a CSV file that exists", str(data))
    return _read_folders(root, task, val_fraction, seed)


def _read_folders(root: Path, task: str, val_fraction: float, seed: int) -> Splits:
    if task not in ("auto", "classify"):
        raise invalid("DATA", f"be a CSV file of path,label for task {task}", str(root))
    listings = list_split_folders(root)
    classes = sorted(set(listings["train"].labels))
    if len(classes) < 2:
        raise invalid("DATA", "hold at least two classes", f"{classes[0]} only", "one folder a class")
    parts = {kind: _classified(kind, listing, classes) for kind, listing in listings.items()}
    train = parts["train"]
    if "val" not in parts:
        rows = split_rows(train.targets.numpy(), len(train), val_fraction, seed)
        parts["train"], parts["val"] = train.take(rows[0]), train.take(rows[1])
    empty = train.take([])
    ignored = sum(listing.ignored for listing in listings.values())
    return Splits(parts["train"], parts["val"], parts.get("test", empty), [], ignored)


def _classified(kind: str, listing: Listing, classes: Sequence[str]) -> Examples:
    index = {name: place for place, name in enumerate(classes)}
    strange = sorted(set(listing.labels) - set(index))
    if strange:
        raise invalid(f"classes of {kind}", "be among those of train", ", ".join(strange))
    targets = torch.from_numpy(np.array([index[label] for label in listing.labels], dtype=np.int64))
    return Examples(listing.paths, targets, list(classes), "classify")
