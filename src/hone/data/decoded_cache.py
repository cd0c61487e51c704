"""Decoded photos in one file, shared by all workers and by the next run.

Why a file and not shared memory: the kernel keeps its pages in RAM as long as there is room and gives them up when
there is none, so the memory of the processes stays flat; workers share it however they were started; a container's
small /dev/shm does not matter; and the next run finds it filled. Why read and not map: a read that fails is an error, a
mapped page that fails ends the process.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch

from ..checks import invalid
from .cache_folder import cache_folder
from .decoding import bounded_size
from .seeding import derive

_UNITS = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
_UNITS |= {"kib": 2**10, "mib": 2**20, "gib": 2**30, "tib": 2**40}
_CHECKSUM_BYTES = 4
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

    A slot is checked against its checksum the first time that a process reads it: half-written slots (a crash, a
    neighbour in the middle of writing) are decoded anew.

    Args:
        paths: the files.
        stats: (n, 4) int64 as ``scan`` gives them. A file's length or time of change is part of the cache's name, so a
            changed file is never read from an old cache.
        short_side: to which the photos are decoded, pixels.
        interpolation: by which they are reduced.
        budget: bytes; at most half of the free disk is taken.
        folder: where the file lies; None: "decoded" in the cache folder.

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
    ) -> None:
        folder = folder or cache_folder() / "decoded"
        self.file = folder / f"{_name(paths, stats, short_side, interpolation)}.bin"
        self.shapes = [bounded_size(height, width, short_side) for width, height in stats[:, 2:].tolist()]
        lengths = np.array([_CHECKSUM_BYTES + height * width * 3 for height, width in self.shapes], dtype=np.int64)
        layout = np.random.Generator(np.random.Philox(derive("cache", len(paths)))).permutation(len(paths))
        ends = np.empty_like(lengths)
        ends[layout] = np.cumsum(lengths[layout])
        self.starts = ends - lengths
        limit = _prepared(self.file, budget, int(lengths.sum()))
        self.kept = (ends <= limit) & (stats[:, 2] > 0)
        self._trusted = np.zeros(len(paths), dtype=bool)
        self._handle: int | None = None

    def get(self, row: int) -> torch.Tensor | None:
        """The (H, W, 3) uint8 image of a row, or None where it is not there."""
        if not self.kept[row] or (handle := self._opened()) is None:
            return None
        height, width = self.shapes[row]
        pixels = torch.empty(height * width * 3, dtype=torch.uint8)
        view = pixels.numpy().data
        checksum = bytearray(_CHECKSUM_BYTES)
        try:
            got = os.preadv(handle, [checksum, view], int(self.starts[row]))
        except OSError:
            return None
        if got < _CHECKSUM_BYTES + len(view) or not any(checksum):
            return None
        if not self._trusted[row]:
            if _checksum(view) != bytes(checksum):
                return None
            self._trusted[row] = True
        return pixels.view(height, width, 3)

    def put(self, row: int, image: torch.Tensor) -> None:
        """Keep the image of a row, if it lies within the budget and is as large as its header said."""
        if not self.kept[row] or tuple(image.shape[:2]) != self.shapes[row] or (handle := self._opened()) is None:
            return
        pixels = image.reshape(-1).numpy().data
        try:
            os.pwritev(handle, [_checksum(pixels), pixels], int(self.starts[row]))
        except OSError:
            # A full disk: what is there stays good, nothing more is kept.
            self.kept[:] &= self._trusted

    def _opened(self) -> int | None:
        if self._handle is None:
            try:
                self._handle = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                self.kept[:] = False
        return self._handle

    def close(self) -> None:
        """Close the file; the next ``get`` opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


def _checksum(pixels: memoryview) -> bytes:
    # Never zero, which is what a slot that was not written reads as.
    return (zlib.crc32(pixels) or 1).to_bytes(_CHECKSUM_BYTES, "little")


def _name(paths: list[str], stats: np.ndarray, short_side: int, interpolation: str) -> str:
    """Everything that the pixels depend on, the decoder's and the resizer's version too."""
    digest = hashlib.blake2b(digest_size=12)
    here = f"{Path.cwd()}/"
    # Plain joining: os.path.abspath of each path would take as long as a look at the file.
    files = [path if path.startswith("/") else here + path for path in paths]
    parts = [_VERSION, PIL.__version__, str(torch.__version__), str(short_side), interpolation, *files]
    digest.update("\0".join(parts).encode("utf-8", "surrogateescape"))
    digest.update(np.ascontiguousarray(stats[:, :2]).tobytes())
    return digest.hexdigest()


def _prepared(file: Path, budget: int, needed: int) -> int:
    """Make room for the file; returns how many bytes of it may be filled."""
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        others = sorted((path.stat().st_mtime, path) for path in file.parent.glob("*.bin") if path != file)
        total = sum(_on_disk(path) for _, path in others)
        # Caches of other data and of other sizes stay while all of them together are at most twice this budget.
        for _, path in others:
            if total <= 2 * budget:
                break
            total -= _on_disk(path)
            path.unlink(missing_ok=True)
        if file.exists():
            os.utime(file)
        free = shutil.disk_usage(file.parent).free + (_on_disk(file) if file.exists() else 0)
    except OSError:
        return 0
    return min(budget, needed, free // 2)


def _on_disk(path: Path) -> int:
    return path.stat().st_blocks * 512
