"""Clips of classes: what was read of a folder of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..examples import Examples
from .opening import VideoFacts


@dataclass(frozen=True)
class Clips(Examples):
    """Video files and folders of pictures, and the class of each.

    Args:
        paths: files, and folders of pictures.
        targets: (n,) int64 class indices.
        classes: the names of the classes.
        task: "classify-video".
        stats: (n, 8) int64: bytes, time of change in ns, and the numbers of :class:`VideoFacts`.
    """

    noun: ClassVar[str] = "clips"

    def facts(self, row: int) -> VideoFacts:
        """What the scan saw of a clip."""
        return clip_facts(self.stats, row)

    def seconds(self) -> float:
        """The median length of the clips."""
        return float(np.median(self._seen()[:, 6])) / 1e6

    def describe(self) -> str:
        """What the clips show, how long they are and how large: "2 classes (8 to 8 each), 2.4 s of 320x240"."""
        seen = self._seen()
        lengths, sizes = seen[:, 6] / 1e6, np.unique(seen[:, 2:4], axis=0)
        long = f"{lengths.min():.1f} to {lengths.max():.1f} s" if np.ptp(lengths) >= 0.05 else f"{lengths[0]:.1f} s"
        size = f"{sizes[0, 0]}x{sizes[0, 1]}" if len(sizes) == 1 else f"{len(sizes)} sizes"
        return f"{super().describe()}, {long} of {size}"

    def _seen(self) -> np.ndarray:
        if self.stats is None:
            raise ValueError("these clips were not looked at; read_clips does it")
        return self.stats


def clip_facts(stats: np.ndarray | None, row: int) -> VideoFacts:
    """The facts of a row of stats."""
    if stats is None:
        raise ValueError("these clips were not looked at; read_clips does it")
    return VideoFacts(*stats[row, 2:].tolist())
