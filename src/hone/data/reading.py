"""Read a data set from disk: which files, which targets, which split."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ..checks import invalid, number, one_of
from .decoding import unreadable
from .examples import PHOTO_TASKS, Examples, Splits, Task
from .folders import list_folders
from .listing import Listing
from .scan import scan
from .splitting import split_rows
from .table import list_table


def read_examples(
    data: str | Path,
    *,
    task: str = "auto",
    val_fraction: float = 0.2,
    seed: int = 0,
    skip_unreadable: bool = False,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Read the layout of a data set and look at every file once.

    Folders: ``train/CLASS/*`` with ``val/CLASS/*`` and perhaps ``test/CLASS/*``, or ``CLASS/*`` alone. A CSV:
    path,label (see ``list_table``). Where the data holds no val, ``val_fraction`` of train, class by class, becomes it.

    Args:
        data: a folder or a CSV file.
        task: "auto", "classify", "multilabel" or "regress"; the last two need a CSV.
        val_fraction: the share that validates where the data does not say it itself, in [0, 1).
        seed: of that division.
        skip_unreadable: leave files out that can't be read, and name them in ``Splits.skipped``.
        classes: what the targets are counted in, in this order, for data that a trained model is tried on: not each of
            them must be shown, and no other one may be.

    Raises:
        ValueError: no images; one class only; a class in val that train lacks, or that is not among ``classes``; a file
            that can't be read.

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
    one_of("task", task, ("auto", *PHOTO_TASKS))
    number("val_fraction", val_fraction, at_least=0, below=1)
    listing, stats, skipped = _readable(_list(root, task), root, skip_unreadable)
    if classes is not None and listing.task != "regress":
        listing = replace(listing, classes=_known(listing.classes, classes))
    everything = Examples(listing.paths, _targets(listing), listing.classes, listing.task, stats)
    parts = {kind: everything.take(rows) for kind, rows in _rows(listing, everything, val_fraction, seed).items()}
    splits = Splits(parts["train"], parts["val"], parts["test"], skipped, listing.ignored, listing.notes)
    if classes is None:
        _check_classes(splits)
    return splits


def _list(root: Path, task: str) -> Listing:
    if not root.exists():
        raise invalid("DATA", "be a folder or a CSV file that exists", str(root))
    if root.is_file():
        return list_table(root, task)
    if task not in ("auto", "classify"):
        raise invalid("DATA", f"be a CSV file of path,label for task {task}", str(root))
    return list_folders(root)


def _known(shown: Sequence[str], classes: Sequence[str]) -> list[str]:
    """The classes to count in."""
    strange = [name for name in shown if name not in classes]
    if strange:
        raise ValueError(
            f"DATA has classes that the run does not know: {', '.join(strange)}; it knows {', '.join(classes)}"
        )
    return list(classes)


def _readable(listing: Listing, root: Path, skip_unreadable: bool) -> tuple[Listing, np.ndarray, list[str]]:
    """The listing less what can't be read, the stats of the rest, and "file: reason" of what was left out."""
    stats, wrong = scan(listing.paths, root)
    if not wrong:
        return listing, stats, []
    if not skip_unreadable:
        row, reason = next(iter(wrong.items()))
        more = f", and {len(wrong) - 1} more files" if len(wrong) > 1 else ""
        raise unreadable(listing.paths[row], reason + more)
    rows = set(wrong)
    skipped = [f"{listing.paths[row]}: {reason}" for row, reason in wrong.items()]
    return listing.without(rows), np.delete(stats, sorted(rows), axis=0), skipped


def _targets(listing: Listing) -> torch.Tensor:
    if listing.task == "regress":
        values = torch.tensor([[float(cell) for cell in cells] for cells in listing.labels], dtype=torch.float32)
        return values.squeeze(1) if values.shape[-1] == 1 else values
    index = {name: place for place, name in enumerate(listing.classes)}
    if listing.task == "classify":
        return torch.tensor([index[name] for (name,) in listing.labels], dtype=torch.int64)
    targets = torch.zeros(len(listing), len(index))
    for row, names in enumerate(listing.labels):
        targets[row, [index[name] for name in names]] = 1
    return targets


def _rows(listing: Listing, everything: Examples, val_fraction: float, seed: int) -> dict[str, np.ndarray]:
    kinds = np.array(listing.kinds)
    rows = {kind: np.flatnonzero(kinds == kind) for kind in ("train", "val", "test")}
    undecided = np.flatnonzero(kinds == "")
    if len(undecided):
        labels = everything.targets.numpy()[undecided] if listing.task == "classify" else None
        train, val = split_rows(labels, len(undecided), val_fraction, seed)
        rows["train"], rows["val"] = undecided[train], undecided[val]
    return rows


def _check_classes(splits: Splits) -> None:
    if not len(splits.train):
        raise invalid("train", "hold at least one photo that can be read", 0)
    if splits.task == "regress":
        return
    _check_several(splits.task, splits.classes)
    missing = (splits.train.counts() == 0).numpy()
    for kind, part in (("val", splits.val), ("test", splits.test)):
        strange = np.flatnonzero(missing & (part.counts() > 0).numpy())
        if len(strange):
            raise invalid(
                f"classes of {kind}", "be among those of train", ", ".join(splits.classes[k] for k in strange)
            )
    if missing.any():
        raise invalid(
            "train", "show every class", "none of " + ", ".join(splits.classes[k] for k in missing.nonzero()[0])
        )


def _check_several(task: Task, classes: list[str]) -> None:
    least = 2 if task == "classify" else 1
    if len(classes) < least:
        named = f"{classes[0]} only" if classes else "none"
        raise invalid("DATA", f"hold at least {least} classes", named, "one folder or label a class")
