"""The photos that a person means by files and folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from hone import checks
from hone.data.listing import SUFFIXES


def find_photos(paths: Sequence[str | Path]) -> list[str]:
    """Files as they are given, and of each folder all photos below it, sorted.

    Raises:
        ValueError: a path is not there, or a folder holds no photo.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("b.jpg", "a.png", "notes.txt"):
        ...         (Path(folder) / name).touch()
        ...     [Path(path).name for path in find_photos([folder])]
        ['a.png', 'b.jpg']
    """
    found: list[str] = []
    for path in map(Path, paths):
        if path.is_file():
            found.append(str(path))
            continue
        inside = sorted(str(p) for p in path.rglob("*") if p.suffix.lower() in SUFFIXES and p.is_file())
        if not inside:
            raise checks.invalid("PATH", "be a photo or a folder of photos", str(path))
        found += inside
    return found
