"""Decoded frames in one file, shared by all workers and by the next run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ..cache_folder import cache_folder
from ..decoding import bounded_size
from ..seeding import derive
from ..slot_file import CHECKSUM_BYTES, SlotFile, make_room, name_of_contents
from .opening import pyav

_VERSION = "1"


class FrameCache:
    """Frames by clip and number, in a file whose layout follows from the facts of the clips alone.

    Clips are laid out in a seeded order, the frames of each in theirs; those that lie within the budget are kept, for
    good. A frame has its slot whether it was ever decoded or not: a sparse file takes room for what is written only.

    Args:
        paths: the clips.
        stats: (n, 8) int64 as ``read_clips`` has them. A changed file is never read from an old cache.
        short_side: to which frames are decoded, pixels.
        budget: bytes; at most half of the free disk is taken.
        folder: where the file lies; None: "frames" in the cache folder.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = FrameCache(["a.mp4"], np.array([[9, 0, 4, 3, 10, 0, 400_000]]), 8, 10**6, Path(folder))
        ...     cache.put(0, 7, torch.ones(3, 4, 3, dtype=torch.uint8))
        ...     cache.get(0, 7).shape, cache.get(0, 6)
        (torch.Size([3, 4, 3]), None)
    """

    def __init__(
        self, paths: Sequence[str], stats: np.ndarray, short_side: int, budget: int, folder: Path | None = None
    ) -> None:
        name = name_of_contents(paths, stats, _VERSION, pyav().__version__, str(torch.__version__), str(short_side))
        self.slots = SlotFile((folder or cache_folder() / "frames") / f"{name}.bin")
        self.shapes = [bounded_size(height, width, short_side) for width, height in stats[:, 2:4].tolist()]
        self.lengths = np.array([CHECKSUM_BYTES + height * width * 3 for height, width in self.shapes], dtype=np.int64)
        clips = self.lengths * stats[:, 4]
        layout = np.random.Generator(np.random.Philox(derive("frame cache", len(paths)))).permutation(len(paths))
        ends = np.empty_like(clips)
        ends[layout] = np.cumsum(clips[layout])
        self.starts = ends - clips
        self.limit = make_room(self.slots.file, budget, int(clips.sum()))
        self.is_full = False
        self._trusted: set[int] = set()

    def get(self, row: int, frame: int) -> torch.Tensor | None:
        """The (H, W, 3) uint8 frame of a clip, or None where it is not there."""
        if (start := self._place(row, frame)) is None:
            return None
        height, width = self.shapes[row]
        pixels = self.slots.read(start, height * width * 3, check=start not in self._trusted)
        if pixels is None:
            return None
        self._trusted.add(start)
        return pixels.view(height, width, 3)

    def put(self, row: int, frame: int, image: torch.Tensor) -> None:
        """Keep a frame, if it lies within the budget and is as large as its clip's first."""
        start = self._place(row, frame)
        if start is not None and not self.is_full and tuple(image.shape[:2]) == self.shapes[row]:
            # On a full disk what is there stays good, and nothing more is kept.
            self.is_full = not self.slots.write(start, image)

    def _place(self, row: int, frame: int) -> int | None:
        """Where the frame's slot begins; None beyond the budget."""
        start = int(self.starts[row] + frame * self.lengths[row])
        return start if start + int(self.lengths[row]) <= self.limit else None
