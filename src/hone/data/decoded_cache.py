"""Decoded photos in one file, shared by all workers and by the next run."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import PIL
import torch

from ..checks import invalid
from .cache_folder import cache_folder
from .decoding import bounded_size
from .seeding import derive
from .slot_file import CHECKSUM_BYTES, SlotFile, make_room, name_of_contents

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_VERSION = "1"


def parse_bytes(value: str | int) -> int:
    """A number of bytes from "2GB", "500 MiB" or a number.

    Raises:
        ValueError: it is none, or negative.

    Example:
        >>> parse_bytes("2GB"), parse_bytes("1 KiB"), parse_bytes(0)
        (2000000000, 1024, 0)
    """
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*([a-z]*)\s*", str(value).lower())
    if isinstance(value, bool) or match is None or match[2] not in _UNITS:
        raise invalid("cache", 'be a number of bytes such as "2GB", "500MB" or 0', value)
    return int(float(match[1]) * _UNITS[match[2]])


class DecodedCache:
    """Decoded images by row, in a file whose layout follows from the sizes of the photos alone.

    Each photo has its slot: a checksum, then its pixels. Rows are laid out in a seeded order and those that lie within
    the budget are kept, for good: a training run walks through all photos again and again, and of such a walk every
    fixed part is hit as often as the same number of most recently used ones would be missed.

    A slot is checked against its checksum the first time that a process reads it; what is damaged is decoded anew.

    Args:
        paths: the files.
        stats: (n, 4) int64 as ``scan`` gives them. A file's length or time of change is part of the cache's name, so a
            changed file is never read from an old cache.
        short_side: to which the photos are decoded, pixels.
        interpolation: by which they are reduced.
        budget: bytes; at most half of the free disk is taken.
        folder: where the file lies; None: "decoded" in the cache folder.
        planes: bytes a pixel: 3, and those of a mask beside them.
        origin: what else the pixels depend on: the states of the masks' files, how they are read.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     cache = DecodedCache(["a.jpg"], np.array([[9, 0, 4, 3]]), 8, "bilinear", 10**6, Path(folder))
        ...     cache.put(0, torch.ones(3, 4, 3, dtype=torch.uint8))
        ...     cache.get(0).shape
        torch.Size([3, 4, 3])
    """

    def __init__(
        self,
        paths: list[str],
        stats: np.ndarray,
        short_side: int,
        interpolation: str,
        budget: int,
        folder: Path | None = None,
        planes: int = 3,
        origin: Sequence[str] = (),
    ) -> None:
        folder = folder or cache_folder() / "decoded"
        name = name_of_contents(
            paths, stats, _VERSION, PIL.__version__, str(torch.__version__), str(short_side), interpolation, *origin
        )
        self.planes = planes
        self.slots = SlotFile(folder / f"{name}.bin")
        self.shapes = [bounded_size(height, width, short_side) for width, height in stats[:, 2:].tolist()]
        lengths = np.array([CHECKSUM_BYTES + height * width * planes for height, width in self.shapes], dtype=np.int64)
        layout = np.random.Generator(np.random.Philox(derive("cache", len(paths)))).permutation(len(paths))
        ends = np.empty_like(lengths)
        ends[layout] = np.cumsum(lengths[layout])
        self.starts = ends - lengths
        limit = make_room(self.slots.file, budget, int(lengths.sum()))
        self.kept = (ends <= limit) & (stats[:, 2] > 0)
        self._trusted = np.zeros(len(paths), dtype=bool)

    def get(self, row: int) -> torch.Tensor | None:
        """The (H, W, planes) uint8 image of a row, or None where it is not there."""
        if not self.kept[row]:
            return None
        height, width = self.shapes[row]
        pixels = self.slots.read(int(self.starts[row]), height * width * self.planes, check=not self._trusted[row])
        if pixels is None:
            return None
        self._trusted[row] = True
        return pixels.view(height, width, self.planes)

    def put(self, row: int, image: torch.Tensor) -> None:
        """Keep the image of a row, if it lies within the budget and is as large as its header said."""
        if not self.kept[row] or tuple(image.shape[:2]) != self.shapes[row]:
            return
        if not self.slots.write(int(self.starts[row]), image):
            # A full disk: what is there stays good, nothing more is kept.
            self.kept[:] &= self._trusted

    def close(self) -> None:
        """Close the file; the next ``get`` opens it again."""
        self.slots.close()
