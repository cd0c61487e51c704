"""Read a data set of volumes from disk: which files, which labels, which part, and all that is wrong with them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...checks import invalid, number, one_of
from ..examples import Splits, Task
from ..splitting import split_rows
from .cases import Case, VolumeListing
from .checking import check_cases, check_values, seen_values
from .examples import VolumeExamples
from .layouts import list_classification, list_segmentation
from .scan import CaseFacts, scan_cases

TASKS = ("segment-volume", "classify-volume")


def read_volumes(
    data: str | Path,
    *,
    task: Task = "segment-volume",
    val_fraction: float = 0.2,
    seed: int = 0,
    skip_unreadable: bool = False,
    classes: Sequence[str] | None = None,
    ignore_index: int | None = None,
) -> Splits:
    """Read the layout of a data set and look at every voxel once (what was seen is remembered).

    Args:
        data: a folder; see ``list_segmentation`` and ``list_classification`` for the layouts.
        task: "segment-volume" or "classify-volume".
        val_fraction: the share that validates where the data does not say it itself, in [0, 1).
        seed: of that division.
        skip_unreadable: leave cases out that can't be read, and name them in ``Splits.skipped``.
        classes: what the labels are counted in, for data that a trained model is tried on.
        ignore_index: label of voxels that count nowhere; None: what a dataset.json calls "ignore".

    Raises:
        ValueError: anything that is wrong with the files, in one line that names them.
    """
    root = Path(data)
    one_of("task", task, TASKS)
    number("val_fraction", val_fraction, at_least=0, below=1)
    if not root.is_dir():
        raise invalid("DATA", "be a folder of volumes that exists", str(root))
    listing = list_segmentation(root) if task == "segment-volume" else list_classification(root)
    ignore = ignore_index if ignore_index is not None else listing.ignore
    cases, facts, skipped = _readable(listing, root, skip_unreadable)
    check_cases(cases, facts)
    parts = _parts(cases, val_fraction, seed)
    known = list(classes or listing.classes or _classes(parts["train"], cases, facts, ignore))
    if task == "segment-volume":
        check_values(cases, facts, known, ignore)
    whole = VolumeExamples(
        [case.images[0] for case in cases],
        _targets(task, cases, facts, known),
        known,
        task,
        None,
        cases,
        facts,
        listing.modalities,
        ignore,
    )
    train, val, test = (whole.take(parts[kind]) for kind in ("train", "val", "test"))
    splits = Splits(train, val, test, skipped, listing.ignored)
    if classes is None:
        _check_classes(splits)
    return splits


def _readable(
    listing: VolumeListing, root: Path, skip_unreadable: bool
) -> tuple[list[Case], list[CaseFacts], list[str]]:
    """The cases that can be read, their facts, and the reason of each that was left out."""
    found, wrong = scan_cases(listing.cases, root)
    if wrong and not skip_unreadable:
        more = f", and {len(wrong) - 1} more volumes" if len(wrong) > 1 else ""
        raise ValueError(next(iter(wrong.values())) + more)
    rows = sorted(found)
    return [listing.cases[row] for row in rows], [found[row] for row in rows], list(wrong.values())


def _parts(cases: Sequence[Case], val_fraction: float, seed: int) -> dict[str, np.ndarray]:
    """The rows of each part; where the data leaves it open, a seeded division, class by class."""
    kinds = np.array([case.part for case in cases])
    rows = {kind: np.flatnonzero(kinds == kind) for kind in ("train", "val", "test")}
    undecided = np.flatnonzero(kinds == "")
    if len(undecided):
        names = np.array([cases[row].name for row in undecided.tolist()])
        labels = np.unique(names, return_inverse=True)[1]
        train, val = split_rows(labels, len(undecided), val_fraction, seed)
        rows["train"], rows["val"] = undecided[train], undecided[val]
    if not len(rows["train"]):
        raise invalid("train", "hold at least one volume that can be read", 0)
    return rows


def _classes(train: np.ndarray, cases: Sequence[Case], facts: Sequence[CaseFacts], ignore: int | None) -> list[str]:
    """The values of the training labels as classes: they must count from 0 without gaps."""
    values = [value for value in seen_values(facts[row] for row in train) if value != ignore]
    if values != list(range(len(values))):
        strange = next(value for place, value in enumerate(values) if value != place)
        where = next(cases[row].label for row in train if strange in seen_values([facts[row]]))
        raise invalid(
            "labels of train",
            "count from 0 without gaps",
            ", ".join(map(str, values)),
            f"{strange} is in {where}; say with --ignore-index which value counts nowhere, or write a dataset.json",
        )
    return ["background", *map(str, values[1:])]


def _targets(task: Task, cases: Sequence[Case], facts: Sequence[CaseFacts], classes: Sequence[str]) -> torch.Tensor:
    if task == "classify-volume":
        strange = sorted({case.name for case in cases} - set(classes))
        if strange:
            raise ValueError(
                f"DATA has classes that the run does not know: {', '.join(strange)}; it knows {', '.join(classes)}"
            )
        return torch.tensor([classes.index(case.name) for case in cases], dtype=torch.int64)
    counts = [known.label.counts if known.label is not None else {} for known in facts]
    return torch.tensor([[each.get(float(value), 0) for value in range(len(classes))] for each in counts])


def _check_classes(splits: Splits) -> None:
    """Several classes, each of them shown in train."""
    if len(splits.classes) < 2:
        raise invalid("DATA", "show at least 2 classes (of segmentation, background counts as one)", splits.classes)
    missing = [name for name, count in zip(splits.classes, splits.train.counts().tolist(), strict=True) if not count]
    if missing:
        raise invalid("train", "show every class", "none of " + ", ".join(missing))
