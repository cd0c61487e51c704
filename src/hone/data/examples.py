"""What was read: paths, targets, classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np
import torch

Task = Literal["classify", "multilabel", "regress"]
TASKS: tuple[Task, ...] = ("classify", "multilabel", "regress")


@dataclass(frozen=True)
class Examples:
    """Image files and what each of them shows.

    Args:
        paths: the files.
        targets: classify: (n,) int64 class indices; multilabel: (n, C) float32 of 0 and 1; regress: (n,) or (n, D)
            float32 values.
        classes: the names of the C classes, empty for regression.
        task: "classify", "multilabel" or "regress".
        stats: (n, 4) int64: bytes, time of change in ns, width, height of each file; None: not looked at yet.

    Example:
        >>> examples = Examples(["a.jpg", "b.jpg"], torch.tensor([0, 1]), ["daisy", "rose"])
        >>> len(examples), examples.counts().tolist()
        (2, [1, 1])
        >>> examples.take([1]).paths
        ['b.jpg']
    """

    paths: list[str]
    targets: torch.Tensor
    classes: list[str]
    task: Task = "classify"
    stats: np.ndarray | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.targets):
            raise ValueError(f"paths and targets must be equally many, got {len(self.paths)} and {len(self.targets)}")

    def __len__(self) -> int:
        return len(self.paths)

    def counts(self) -> torch.Tensor:
        """(C,) int64: how many files show each class; empty for regression."""
        if self.task == "regress":
            return torch.zeros(0, dtype=torch.int64)
        if self.task == "multilabel":
            return self.targets.sum(0).to(torch.int64)
        return torch.bincount(self.targets, minlength=len(self.classes))

    def label(self, row: int) -> str:
        """What a person would call the target of one row: "daisy", "cat, dog", "3.5"."""
        target = self.targets[row]
        if self.task == "classify":
            return self.classes[int(target)]
        if self.task == "multilabel":
            return ", ".join(self.classes[place] for place in target.nonzero().flatten().tolist()) or "none"
        return ", ".join(f"{value:g}" for value in target.flatten().tolist())

    def take(self, rows: Sequence[int] | np.ndarray) -> Examples:
        """The examples of some rows, in their order."""
        rows = np.asarray(rows, dtype=np.int64)
        return Examples(
            [self.paths[row] for row in rows.tolist()],
            self.targets[torch.from_numpy(rows)],
            self.classes,
            self.task,
            None if self.stats is None else self.stats[rows],
        )


@dataclass(frozen=True)
class Splits:
    """Examples to train on, to choose by, and to report on.

    Args:
        train: what is trained on.
        val: what the best update is chosen by.
        test: what the final number is taken from; empty where the data has none.
        skipped: "file: reason" of each file that was left out because it can't be read.
        ignored: files that are no images by their name, and were passed over.
        notes: what else a person should know about how the data was understood.

    Example:
        >>> examples = Examples(["a.jpg", "b.jpg"], torch.tensor([0, 1]), ["daisy", "rose"])
        >>> Splits(examples, examples.take([0]), examples.take([])).summary()
        '2 train, 1 val photos, 2 classes (1 to 1 each)'
    """

    train: Examples
    val: Examples
    test: Examples
    skipped: list[str] = field(default_factory=list)
    ignored: int = 0
    notes: list[str] = field(default_factory=list)

    @property
    def classes(self) -> list[str]:
        """The names of the classes, sorted; empty for regression."""
        return self.train.classes

    @property
    def task(self) -> Task:
        """ "classify", "multilabel" or "regress"."""
        return self.train.task

    def summary(self) -> str:
        """What was found, in one line."""
        parts = [f"{len(self.train):,} train", f"{len(self.val):,} val"]
        parts += [f"{len(self.test):,} test"] if len(self.test) else []
        line = f"{', '.join(parts)} photos, {_contents(self.train)}"
        return line + (f", {len(self.skipped):,} unreadable left out" if self.skipped else "")

    def text(self, most: int = 5) -> str:
        """The summary, then a line for whatever was passed over or left out.

        Args:
            most: unreadable files that are named; of the others, the number.
        """
        lines = [self.summary()]
        lines += [f"left out: {line}" for line in self.skipped[:most]]
        lines += [f"left out: {len(self.skipped) - most:,} more"] if len(self.skipped) > most else []
        lines += [f"{self.ignored:,} files that are no images were passed over"] if self.ignored else []
        if self.task != "regress" and len(self.val):
            unseen = [name for name, count in zip(self.classes, self.val.counts().tolist(), strict=True) if not count]
            lines += [f"val has no photo of {', '.join(unseen[:most])}{', ...' * (len(unseen) > most)}"] * bool(unseen)
        return "\n".join([*lines, *self.notes])


def sample_rows(examples: Examples, n: int) -> list[int]:
    """The rows of a few examples to look at, spread over the classes, always the same ones.

    Example:
        >>> sample_rows(Examples(["a", "b", "c", "d"], torch.tensor([0, 0, 1, 1]), ["daisy", "rose"]), 2)
        [0, 2]
    """
    if examples.task == "classify":
        groups = [np.flatnonzero(examples.targets.numpy() == label) for label in range(len(examples.classes))]
    else:
        groups = [np.arange(len(examples))]
    turns = max((len(group) for group in groups), default=0)
    rows = [int(group[turn]) for turn in range(turns) for group in groups if turn < len(group)]
    return rows[: max(n, 0)]


def _contents(examples: Examples) -> str:
    if examples.task == "regress":
        values = examples.targets
        return f"values {values.min():g} to {values.max():g} (mean {values.mean():.4g})"
    counts = examples.counts()
    each = f"{int(counts.min()):,} to {int(counts.max()):,} each"
    if examples.task == "multilabel":
        return f"{len(examples.classes)} labels ({each}, {examples.targets.sum(1).mean():.2g} a photo)"
    return f"{len(examples.classes)} classes ({each})"
