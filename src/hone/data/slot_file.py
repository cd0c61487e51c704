"""Decoded pixels at fixed places of one file, each behind a checksum: what the caches of photos and of frames share.

Why a file and not shared memory: the kernel keeps its pages in RAM as long as there is room and gives them up when
there is none, so the memory of the processes stays flat; workers share it however they were started; a container's
small /dev/shm does not matter; and the next run finds it filled. Why read and not map: a read that fails is an error, a
mapped page that fails ends the process.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

CHECKSUM_BYTES = 4


class SlotFile:
    """A file that is opened where it is first used, by each process for itself.

    A slot is a checksum, then its pixels. Half-written slots (a crash, a neighbour in the middle of writing) don't
    match their checksum and read as if they were not there.

    Args:
        file: made with its first slot.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     slots = SlotFile(Path(folder) / "a.bin")
        ...     slots.write(0, torch.full((6,), 7, dtype=torch.uint8)), slots.read(0, 6), slots.read(10, 6)
        (True, tensor([7, 7, 7, 7, 7, 7], dtype=torch.uint8), None)
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._handle: int | None = None

    def read(self, start: int, length: int, *, check: bool = True) -> torch.Tensor | None:
        """The ``length`` bytes of the slot at ``start``, or None where they are not there; ``check`` compares them."""
        if (handle := self._opened()) is None:
            return None
        pixels = torch.empty(length, dtype=torch.uint8)
        view = pixels.numpy().data
        checksum = bytearray(CHECKSUM_BYTES)
        try:
            got = os.preadv(handle, [checksum, view], start)
        except OSError:
            return None
        if got < CHECKSUM_BYTES + length or not any(checksum):
            return None
        return None if check and _checksum(view) != bytes(checksum) else pixels

    def write(self, start: int, pixels: torch.Tensor) -> bool:
        """Write a slot; False where that can't be done, as on a full disk."""
        if (handle := self._opened()) is None:
            return False
        view = pixels.reshape(-1).numpy().data
        try:
            os.pwritev(handle, [_checksum(view), view], start)
        except OSError:
            return False
        return True

    def close(self) -> None:
        """Close the file; the next use opens it again."""
        if self._handle is not None:
            os.close(self._handle)
            self._handle = None

    def _opened(self) -> int | None:
        if self._handle is None:
            try:
                self._handle = os.open(self.file, os.O_RDWR | os.O_CREAT, 0o600)
            except OSError:
                return None
        return self._handle

    def __getstate__(self) -> dict[str, Any]:
        return self.__dict__ | {"_handle": None}

    def __del__(self) -> None:
        if getattr(self, "_handle", None) is not None:
            self.close()


def _checksum(pixels: memoryview) -> bytes:
    # Never zero, which is what a slot that was not written reads as.
    return (zlib.crc32(pixels) or 1).to_bytes(CHECKSUM_BYTES, "little")


def name_of_contents(paths: Sequence[str], stats: np.ndarray, *parts: str) -> str:
    """A name from all that decoded pixels depend on: files, their lengths and times of change, and ``parts``."""
    digest = hashlib.blake2b(digest_size=12)
    here = f"{Path.cwd()}/"
    # Plain joining: os.path.abspath of each path would take as long as a look at the file.
    files = [path if path.startswith("/") else here + path for path in paths]
    digest.update("\0".join([*parts, *files]).encode("utf-8", "surrogateescape"))
    digest.update(np.ascontiguousarray(stats[:, :2]).tobytes())
    return digest.hexdigest()


def make_room(file: Path, budget: int, needed: int) -> int:
    """Make room for a file of slots beside others of its kind; returns how many bytes of it may be filled."""
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
