"""Features on disk: one file of equal records, a sample each, mapped into memory by every run that uses it.

KEY.bin     the records: of each sample its tensors, one after another
KEY.json    what they are, how many, and a checksum; written last, so that a file without it does not count
"""

from __future__ import annotations

import json
import os
import shutil
import zlib
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hone.transfer.cut import Shape
from hone.transfer.splice import Features

_VERSION = 1
_CHUNK_BYTES = 1 << 24
_HALVED = {torch.float32: torch.float16, torch.float64: torch.float16}


class NoRoomError(ValueError):
    """Features need more bytes than they may take; the message says how many, where, and what to do."""


@dataclass(frozen=True)
class Layout:
    """How the tensors of a sample lie in its record.

    Args:
        slots: their shapes.
        half: numbers of 32 and more bits are kept in 16 (float16).

    Example:
        >>> layout = Layout((Shape((2, 3), torch.float32),))
        >>> layout.record_bytes, layout.unpack(layout.pack(Features((torch.ones(5, 2, 3),)))).tensors[0].shape
        (24, torch.Size([5, 2, 3]))
    """

    slots: tuple[Shape, ...]
    half: bool = False

    @property
    def record_bytes(self) -> int:
        """Of one sample."""
        return sum(self._bytes(shape) for shape in self.slots)

    def pack(self, features: Features) -> Tensor:
        """(N, record_bytes) uint8."""
        parts = [self._packed(*each) for each in zip(features.tensors, self.slots, strict=True)]
        return parts[0] if len(parts) == 1 else torch.cat(parts, 1)

    def unpack(self, records: Tensor) -> Features:
        """The tensors of (N, record_bytes) uint8, as they were."""
        sizes = [self._bytes(shape) for shape in self.slots]
        parts = torch.split(records, sizes, 1) if len(sizes) > 1 else (records,)
        return Features(tuple(self._unpacked(*each) for each in zip(parts, self.slots, strict=True)))

    def _kept(self, shape: Shape) -> torch.dtype:
        return _HALVED.get(shape.dtype, shape.dtype) if self.half else shape.dtype

    def _bytes(self, shape: Shape) -> int:
        return int(np.prod(shape.sizes, dtype=np.int64)) * self._kept(shape).itemsize

    def _packed(self, tensor: Tensor, shape: Shape) -> Tensor:
        rows = tensor.permute(0, 2, 3, 1) if shape.channels_last else tensor
        flat = rows.to("cpu", self._kept(shape)).contiguous().reshape(len(rows), -1)
        return flat.view(torch.uint8)

    def _unpacked(self, records: Tensor, shape: Shape) -> Tensor:
        flat = records.contiguous().view(self._kept(shape)).to(shape.dtype)
        if not shape.channels_last:
            return flat.view(len(records), *shape.sizes)
        channels, height, width = shape.sizes
        return flat.view(len(records), height, width, channels).permute(0, 3, 1, 2)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        slots = [[list(shape.sizes), str(shape.dtype), shape.channels_last] for shape in self.slots]
        return {"slots": slots, "half": self.half}


class StoredFeatures:
    """The features of all samples, in a file that is mapped and not read: memory holds what is in use.

    Args:
        file: of the records.
        layout: of a record.
        count: how many there are.
    """

    def __init__(self, file: Path, layout: Layout, count: int) -> None:
        self.file, self.layout, self.count = file, layout, count
        mapped = np.memmap(file, dtype=np.uint8, mode="c", shape=(count, layout.record_bytes))
        self._records = torch.from_numpy(mapped)

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, rows: Tensor | Sequence[int]) -> Features:
        """The features of some samples, in their order."""
        return self.layout.unpack(self._records[torch.as_tensor(rows, dtype=torch.int64)])


def read_features(folder: Path, key: str, layout: Layout, count: int) -> StoredFeatures | None:
    """The stored features of this name, every byte checked; None where there are none.

    Raises:
        ValueError: the file is damaged; it has been deleted.
    """
    told = read_description(folder, key)
    file = folder / f"{key}.bin"
    if told is None or told["layout"] != layout.to_json() or told["count"] != count:
        return None
    if not file.exists() or file.stat().st_size != count * layout.record_bytes or _checksum(file) != told["checksum"]:
        forget(folder, key)
        raise ValueError(f"{file} is damaged: it is not what was written")
    os.utime(file)
    return StoredFeatures(file, layout, count)


def read_description(folder: Path, key: str) -> dict[str, Any] | None:
    """What is said of the features of this name; None where nothing is, or nothing that can be read."""
    try:
        found: dict[str, Any] = json.loads((folder / f"{key}.json").read_text())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, dict) and found.get("version") == _VERSION else None


def write_features(
    folder: Path,
    key: str,
    layout: Layout,
    count: int,
    batches: Iterable[Features],
    *,
    budget: int,
    notes: Mapping[str, Any] | None = None,
) -> StoredFeatures:
    """Store features under a name: written beside and renamed, so that nobody reads half of them.

    Args:
        folder: made where it is missing.
        key: the name.
        layout: of a record.
        count: samples in all.
        batches: their features, in order.
        budget: bytes that all features in the folder may take; the longest unused make room.
        notes: further plain values for the description.

    Returns:
        What was stored.

    Raises:
        NoRoomError: they need more than the budget or more than the disk has.
        ValueError: the batches hold another number of samples.
    """
    make_room(folder, count * layout.record_bytes, budget, but=key)
    draft = folder / f".{key}.{os.getpid()}.draft"
    checksum = written = 0
    try:
        with draft.open("wb") as file:
            for features in batches:
                content = layout.pack(features).numpy().data
                file.write(content)
                checksum = zlib.crc32(content, checksum)
                written += len(features)
        if written != count:
            raise ValueError(f"the batches hold {written} samples, and {count} were said")
        draft.replace(folder / f"{key}.bin")
        told = {"version": _VERSION, "layout": layout.to_json(), "count": count, "checksum": checksum}
        draft.write_text(json.dumps({**told, **(notes or {})}))
        draft.replace(folder / f"{key}.json")
    except OSError as error:
        raise NoRoomError(f"frozen features can't be written to {folder}: {error.strerror}; {_ELSEWHERE}") from error
    finally:
        draft.unlink(missing_ok=True)
    return StoredFeatures(folder / f"{key}.bin", layout, count)


def make_room(folder: Path, needed: int, budget: int, *, but: str = "") -> None:
    """Delete the features that were unused for longest, until so many bytes more are within the budget.

    Raises:
        NoRoomError: they can't be.
    """
    if needed > budget:
        raise NoRoomError(f"frozen features need {_human(needed)}, and --cache allows {_human(budget)}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        files = [file for file in folder.glob("*.bin") if file.stem != but]
        files.sort(key=lambda file: file.stat().st_mtime)
        total = sum(file.stat().st_size for file in files)
        for file in files:
            if total + needed <= budget:
                break
            total -= file.stat().st_size
            forget(folder, file.stem)
        free = shutil.disk_usage(folder).free
    except OSError as error:
        raise NoRoomError(f"frozen features can't be kept in {folder}: {error.strerror}; {_ELSEWHERE}") from error
    if needed > free:
        raise NoRoomError(
            f"frozen features need {_human(needed)}, and {folder} has room for {_human(free)}; {_ELSEWHERE}"
        )


def forget(folder: Path, key: str) -> None:
    """Delete the features of this name."""
    for ending in ("json", "bin"):
        with suppress(OSError):
            (folder / f"{key}.{ending}").unlink(missing_ok=True)


def _checksum(file: Path) -> int:
    checksum = 0
    with file.open("rb") as stream:
        while chunk := stream.read(_CHUNK_BYTES):
            checksum = zlib.crc32(chunk, checksum)
    return checksum


def _human(count: int) -> str:
    for unit, size in (("GB", 10**9), ("MB", 10**6)):
        if count >= size:
            return f"{count / size:.1f} {unit}"
    return f"{count / 1000:.1f} kB"


_ELSEWHERE = "HONE_CACHE names another folder, --cache 0 keeps nothing"
