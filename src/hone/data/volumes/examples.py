"""Volumes that were read: their files, what is known of them, and what they show."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar, Self

import numpy as np
import torch

from ..examples import Examples
from .cases import Case
from .scan import CaseFacts


@dataclass(frozen=True)
class VolumeExamples(Examples):
    """Cases and what each of them shows.

    Args:
        paths: the first image file of each case.
        targets: segment-volume: (n, C) int64, the voxels of each class; classify-volume: (n,) int64 class indices.
        classes: the names of the C classes; of segmentation the first is the background.
        task: "segment-volume" or "classify-volume".
        cases: the files of each.
        facts: what a look at their voxels said.
        modalities: the names of the channels, where the data says them.
        ignore: the label of voxels that count nowhere.
    """

    cases: list[Case] = field(default_factory=list)
    facts: list[CaseFacts] = field(default_factory=list, repr=False)
    modalities: tuple[str, ...] = ()
    ignore: int | None = None
    noun: ClassVar[str] = "volumes"

    @property
    def channels(self) -> int:
        """How many channels each volume has."""
        return sum(len(image.channels) for image in self.facts[0].images)

    def counts(self) -> torch.Tensor:
        """(C,) int64: how many volumes show each class."""
        return (self.targets > 0).sum(0) if self.task == "segment-volume" else super().counts()

    def take(self, rows: Sequence[int] | np.ndarray) -> Self:
        """The cases of some rows, in their order."""
        places = np.asarray(rows, dtype=np.int64).tolist()
        found = super().take(rows)
        return replace(found, cases=[self.cases[row] for row in places], facts=[self.facts[row] for row in places])

    def joined(self, other: Self) -> Self:
        """These cases, then those of another part of the same data."""
        found = super().joined(other)
        return replace(found, cases=[*self.cases, *other.cases], facts=[*self.facts, *other.facts])

    def describe(self) -> str:
        """Classes, channels, and the median size and spacing."""
        if not self.facts:
            return f"{len(self.classes)} classes"
        size = "x".join(f"{n:.0f}" for n in self.median_shape())
        spacing = " x ".join(f"{mm:.3g}" for mm in self.median_spacing())
        channels = f"{self.channels} channel{'s' * (self.channels > 1)}"
        classes = (
            f"{len(self.classes)} classes" if self.task == "classify-volume" else f"{', '.join(self.classes[1:4])}"
        )
        classes += (
            f", ... ({len(self.classes) - 1} classes)"
            if self.task != "classify-volume" and len(self.classes) > 4
            else ""
        )
        return f"{classes}; {channels}, about {size} voxels of {spacing} mm"

    def median_spacing(self) -> tuple[float, float, float]:
        """The median distance of voxels along each RAS axis, mm."""
        x, y, z = np.median([known.images[0].spacing for known in self.facts], axis=0).tolist()
        return x, y, z

    def median_shape(self, spacing: Sequence[float] | None = None) -> tuple[float, float, float]:
        """The median size, voxels: of the files, or at a spacing."""
        x, y, z = np.median(self.shapes(spacing), axis=0).tolist()
        return x, y, z

    def shapes(self, spacing: Sequence[float] | None = None) -> np.ndarray:
        """(n, 3): sizes in voxels, of the files or at a spacing."""
        sizes = np.array([known.images[0].shape for known in self.facts], dtype=np.float64)
        if spacing is not None:
            sizes *= np.array([known.images[0].spacing for known in self.facts]) / np.asarray(spacing)
        return sizes
