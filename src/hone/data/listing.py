"""What a layout says about its files, before any of them is opened."""

from __future__ import annotations

from dataclasses import dataclass, field

from .examples import Task

#: Names by which a file counts as an image. What is inside is found out by reading it.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm")
)
#: Folder and split names that are understood.
SPLIT_NAMES = {
    "train": "train",
    "training": "train",
    "val": "val",
    "valid": "val",
    "validation": "val",
    "test": "test",
}


@dataclass(frozen=True)
class Listing:
    """Files, their labels, and the split each belongs to.

    Args:
        paths: the files.
        labels: the names each shows (one: classify; any number: multilabel), or its numbers as text (regress).
        kinds: "train", "val" or "test" of each; "" where the data leaves it open.
        task: what the labels are.
        classes: the names in the order of their indices; empty for regression.
        ignored: files that are no images by their name.
        notes: what a person should know about how the layout was understood.
    """

    paths: list[str]
    labels: list[tuple[str, ...]]
    kinds: list[str]
    task: Task
    classes: list[str]
    ignored: int = 0
    notes: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.paths)

    def without(self, rows: set[int]) -> Listing:
        """The same listing less some rows."""
        kept = [row for row in range(len(self)) if row not in rows]
        return Listing(
            [self.paths[row] for row in kept],
            [self.labels[row] for row in kept],
            [self.kinds[row] for row in kept],
            self.task,
            self.classes,
            self.ignored,
            self.notes,
        )
