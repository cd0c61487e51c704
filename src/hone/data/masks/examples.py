"""Images and masks that were read: their files, and what each shows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch

from ..examples import Examples
from .coding import Coding

#: Names of a first class that stands for "nothing": it is not measured.
_BACKGROUND = {"background", "bg", "_background_", "none", "nothing", "void", "unlabeled", "unlabelled"}


@dataclass(frozen=True)
class MaskExamples(Examples):
    """Images and their masks.

    Args:
        paths: the images.
        targets: (n, C) int64, the pixels of each class or label.
        classes: the names of the C classes or labels.
        task: "segment".
        stats: (n, 4) int64: bytes, time of change in ns, width, height of each image.
        masks: the mask files of each: one, or one a label ("" where there is none).
        states: a name for the files of each as they were when they were looked at.
        coding: what the values in the files mean.
        peak: the highest value of images of more than 8 bits.
    """

    masks: list[tuple[str, ...]] = field(default_factory=list)
    states: list[str] = field(default_factory=list, repr=False)
    coding: Coding = field(default_factory=lambda: Coding(2))
    peak: int = 65535
    noun: ClassVar[str] = "images"

    def counts(self) -> torch.Tensor:
        """(C,) int64: how many images show each class."""
        return (self.targets > 0).sum(0)

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """The images of some rows, in their order."""
        places = np.asarray(rows, dtype=np.int64).tolist()
        found = super().take(rows)
        return replace(found, masks=[self.masks[row] for row in places], states=[self.states[row] for row in places])

    def joined(self, other: Self) -> Self:
        """These images, then those of another part of the same data."""
        found = super().joined(other)
        return replace(found, masks=[*self.masks, *other.masks], states=[*self.states, *other.states])

    def describe(self) -> str:
        """Classes and their share of the pixels, and the sizes."""
        pixels = self.targets.sum(0).double()
        whole = float(self._areas().sum()) if self.coding.labels else float(pixels.sum())
        first = int(has_background(self.classes, self.coding.labels))
        shares = [
            f"{name} {100 * float(count) / max(whole, 1):.2g} %"
            for name, count in zip(self.classes[first:], pixels[first:], strict=True)
        ]
        what = f"{len(self.classes)} {'labels' if self.coding.labels else 'classes'}"
        listed = ", ".join(shares) if len(shares) <= 4 else f"{', '.join(shares[:3])}, ..."
        return f"{what} ({listed}), {self._sizes()} px"

    def _areas(self) -> np.ndarray:
        stats = np.zeros((0, 4)) if self.stats is None else self.stats
        return np.asarray(stats[:, 2] * stats[:, 3], dtype=np.float64)

    def _sizes(self) -> str:
        sizes = {(width, height) for _, _, width, height in ([] if self.stats is None else self.stats.tolist())}
        smallest, largest = (pick(sizes, key=lambda size: size[0] * size[1], default=(0, 0)) for pick in (min, max))
        first = f"{smallest[0]}x{smallest[1]}"
        return first if smallest == largest else f"{first} to {largest[0]}x{largest[1]}"


def has_background(classes: Sequence[str], labels: bool) -> bool:
    """Whether the first class stands for what is none of the others.

    Example:
        >>> has_background(["background", "nucleus"], False), has_background(["road", "car"], False)
        (True, False)
    """
    return not labels and len(classes) > 1 and classes[0].lower() in _BACKGROUND
