"""Look at every file once: is it an image, how large is it; remembered until the file changes."""

from __future__ import annotations

import hashlib
import json
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from .cache_folder import cache_folder, write_whole
from .decoding import unreadable_reason
from .headers import look_at

#: Of what is remembered; a change of meaning gets a new number.
_VERSION = 1
#: Fewer photos are looked at in less time than it takes to notice.
_WORTH_REMEMBERING = 1000

#: What there is to know of a file, as whole numbers; a ValueError says why it can't be read.
Look = Callable[[str], Sequence[int]]


def scan(
    paths: list[str], source: str | Path, look: Look | None = None, columns: int = 2
) -> tuple[np.ndarray, dict[int, str]]:
    """Look at each file once, or remember what was seen there.

    What was seen (of photos, of a thousand or more) is kept in the cache folder under the name of ``source``; a file
    whose length or time of change differs is looked at anew, and so is one that could not be read.

    Args:
        paths: the files; for a folder, its files together count as one.
        source: the folder or CSV that they come from.
        look: what is looked at; None is the width and height (upright) of a photo, from its header and its end.
        columns: how many numbers ``look`` gives.

    Returns:
        (n, 2 + columns) int64: bytes, time of change in ns, and what was seen of each file, zeros where it can't be
        read; and {row: reason} of those.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (40, 30)).save(f"{folder}/a.png")
        ...     stats, wrong = scan([f"{folder}/a.png", f"{folder}/b.png"], folder)
        >>> stats[0, 2:].tolist(), wrong
        ([40, 30], {1: 'there is no such file'})
    """
    is_worth_it = look is not None or len(paths) >= _WORTH_REMEMBERING
    memory = _memory_file(source, look, columns)
    known = _recall(memory) if is_worth_it else {}
    stats, wrong, news = _look(paths, known, look or look_at, columns)
    if is_worth_it and (news or len(known) != len(paths) - len(wrong)):
        _remember(memory, paths, stats, wrong)
    return stats, wrong


def scan_all(paths: list[str]) -> np.ndarray:
    """The (n, 4) stats of ``scan``, nothing remembered and nothing refused: zeros where a file can't be read."""
    return _look(paths, {}, look_at, 2)[0]


def _look(
    paths: list[str], known: dict[str, list[int]], look: Look, columns: int
) -> tuple[np.ndarray, dict[int, str], bool]:
    """The stats, what is wrong, and whether anything was not known yet."""
    stats = np.zeros((len(paths), 2 + columns), dtype=np.int64)
    wrong: dict[int, str] = {}
    news = False
    for row, path in enumerate(paths):
        try:
            state = _state(path)
            seen = known.get(path)
            if seen is None or seen[:2] != state:
                news = True
                seen = [*state, *look(path)]
            stats[row] = seen
        except OSError as error:
            wrong[row] = unreadable_reason(error)
        except ValueError as error:
            wrong[row] = str(error)
    return stats, wrong, news


def _state(path: str) -> list[int]:
    """Bytes and time of change; of a folder, those of its files: all bytes, the latest change."""
    state = os.stat(path)  # noqa: PTH116 (a Path for each of a million files takes longer than the call)
    if not stat.S_ISDIR(state.st_mode):
        return [state.st_size, state.st_mtime_ns]
    inside = [entry.stat() for entry in os.scandir(path)]
    return [sum(each.st_size for each in inside), max((each.st_mtime_ns for each in inside), default=0)]


def _memory_file(source: str | Path, look: Look | None, columns: int) -> Path:
    what = os.fspath(Path(source).resolve())
    if look is not None:
        what += f"#{look.__module__}.{look.__qualname__}#{columns}"
    name = hashlib.blake2b(what.encode(), digest_size=10).hexdigest()
    return cache_folder() / "scans" / f"{name}.json"


def _recall(memory: Path) -> dict[str, list[int]]:
    try:
        found = json.loads(memory.read_bytes())
        if found["version"] != _VERSION:
            return {}
        return dict(zip(found["paths"], found["stats"], strict=True))
    except (OSError, ValueError, KeyError, TypeError):
        # Not there, half a file, of another version: looking again is always right.
        return {}


def _remember(memory: Path, paths: list[str], stats: np.ndarray, wrong: dict[int, str]) -> None:
    rows = [row for row in range(len(paths)) if row not in wrong]
    content = {"version": _VERSION, "paths": [paths[row] for row in rows], "stats": stats[rows].tolist()}
    write_whole(memory, json.dumps(content, separators=(",", ":")).encode())
