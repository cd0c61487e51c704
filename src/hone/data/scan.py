"""Look at every file once: is it an image, how large is it; remembered until the file changes."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path

import numpy as np

from .cache_folder import cache_folder, write_whole
from .decoding import unreadable_reason
from .headers import look_at

#: Of what is remembered; a change of meaning gets a new number.
_VERSION = 1
#: Fewer files are looked at in less time than it takes to notice.
_WORTH_REMEMBERING = 1000


def scan(paths: list[str], source: str | Path) -> tuple[np.ndarray, dict[int, str]]:
    """Look at the header and the end of each file, or remember what was seen there.

    What was seen of a thousand files or more is kept in the cache folder under the name of ``source``; a file whose
    length or time of change differs is looked at anew, and so is one that could not be read.

    Args:
        paths: the files.
        source: the folder or CSV that they come from.

    Returns:
        (n, 4) int64: bytes, time of change in ns, width and height (upright) of each file, zeros where it can't be
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
    memory = _memory_file(source)
    known = _recall(memory) if len(paths) >= _WORTH_REMEMBERING else {}
    stats, wrong, news = _look(paths, known)
    if len(paths) >= _WORTH_REMEMBERING and (news or len(known) != len(paths) - len(wrong)):
        _remember(memory, paths, stats, wrong)
    return stats, wrong


def scan_all(paths: list[str]) -> np.ndarray:
    """The (n, 4) stats of ``scan``, nothing remembered and nothing refused: zeros where a file can't be read."""
    return _look(paths, {})[0]


def _look(paths: list[str], known: dict[str, list[int]]) -> tuple[np.ndarray, dict[int, str], bool]:
    """The stats, what is wrong, and whether anything was not known yet."""
    stats = np.zeros((len(paths), 4), dtype=np.int64)
    wrong: dict[int, str] = {}
    news = False
    for row, path in enumerate(paths):
        try:
            state = os.stat(path)  # noqa: PTH116 (a Path for each of a million files takes longer than the call)
            seen = known.get(path)
            if seen is None or seen[0] != state.st_size or seen[1] != state.st_mtime_ns:
                news = True
                seen = [state.st_size, state.st_mtime_ns, *look_at(path)]
            stats[row] = seen
        except OSError as error:
            wrong[row] = unreadable_reason(error)
        except ValueError as error:
            wrong[row] = str(error)
    return stats, wrong, news


def _memory_file(source: str | Path) -> Path:
    name = hashlib.blake2b(os.fspath(Path(source).resolve()).encode(), digest_size=10).hexdigest()
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
