"""What was read: paths, targets, classes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Literal, Self

import numpy as np
import torch

PhotoTask = Literal["classify", "multilabel", "regress"]
Task = Literal[PhotoTask, "segment", "segment-volume", "classify-volume", "classify-video"]
#: The tasks whose samples are single photos.
PHOTO_TASKS: tuple[PhotoTask, ...] = ("classify", "multilabel", "regress")


@dataclass(frozen=True)
class Examples:
    """Files and what each of them shows. Kinds of data other than photos extend it.

    Args:
        paths: the files.
        targets: classify: (n,) int64 class indices; multilabel: (n, C) float32 of 0 and 1; regress: (n,) or (n, D)
            float32 values.
        classes: the names of the C classes, empty for regression.
        task: what is learned of them.
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
    #: What a person calls the samples.
    noun: ClassVar[str] = "photos"

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.targets):
            raise ValueError(f"paths and targets must be equally many, got {len(self.paths)} and {len(self.targets)}")

    def __len__(self) -> int:
        return len(self.paths)

    def counts(self) -> torch.Tensor:
        """(C,) int64: how many files show each class; empty where the targets do not say it."""
        if self.task == "multilabel":
            return self.targets.sum(0).to(torch.int64)
        if self.targets.ndim == 1 and not self.targets.is_floating_point():
            return torch.bincount(self.targets, minlength=len(self.classes))
        return torch.zeros(0, dtype=torch.int64)

    def label(self, row: int) -> str:
        """What a person would call the target of one row: "daisy", "cat, dog", "3.5"."""
        target = self.targets[row]
        if self.task == "classify":
            return self.classes[int(target)]
        if self.task == "multilabel":
            return ", ".join(self.classes[place] for place in target.nonzero().flatten().tolist()) or "none"
        return ", ".join(f"{value:g}" for value in target.flatten().tolist())

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """The examples of some rows, in their order."""
        rows = np.asarray(rows, dtype=np.int64)
        return replace(
            self,
            paths=[self.paths[row] for row in rows.tolist()],
            targets=self.targets[torch.from_numpy(rows)],
            stats=None if self.stats is None else self.stats[rows],
        )

    def joined(self, other: Self) -> Self:
        """These examples, then those of another part of the same data."""
        both = self.stats is not None and other.stats is not None
        return replace(
            self,
            paths=[*self.paths, *other.paths],
            targets=torch.cat([self.targets, other.targets]),
            stats=np.concatenate([self.stats, other.stats]) if both else None,
        )

    def describe(self) -> str:
        """What the examples show, in a few words: "5 classes (80 to 80 each)"."""
        if self.task == "regress":
            values = self.targets
            return f"values {values.min():g} to {values.max():g} (mean {values.mean():.4g})"
        counts = self.counts()
        each = f"{int(counts.min()):,} to {int(counts.max()):,} each"
        if self.task == "multilabel":
            return f"{len(self.classes)} labels ({each}, {self.targets.sum(1).mean():.2g} a photo)"
        return f"{len(self.classes)} classes ({each})"


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
        """What is learned of the examples."""
        return self.train.task

    def summary(self) -> str:
        """What was found, in one line."""
        parts = [f"{len(self.train):,} train", f"{len(self.val):,} val"]
        parts += [f"{len(self.test):,} test"] if len(self.test) else []
        line = f"{', '.join(parts)} {self.train.noun}, {self.train.describe()}"
        return line + (f", {len(self.skipped):,} unreadable left out" if self.skipped else "")

    def text(self, most: int = 5) -> str:
        """The summary, then a line for whatever was passed over or left out.

        Args:
            most: unreadable files that are named; of the others, the number.
        """
        lines = [self.summary()]
        lines += [f"left out: {line}" for line in self.skipped[:most]]
        lines += [f"left out: {len(self.skipped) - most:,} more"] if len(self.skipped) > most else []
        wanted = "images" if self.train.noun == "photos" else self.train.noun
        lines += [f"{self.ignored:,} files that are no {wanted} were passed over"] if self.ignored else []
        counts = self.val.counts().tolist() if len(self.val) else []
        unseen = [name for name, count in zip(self.classes, counts, strict=False) if not count]
        if unseen:
            lines.append(f"val has no {self.val.noun} of {', '.join(unseen[:most])}{', ...' * (len(unseen) > most)}")
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
