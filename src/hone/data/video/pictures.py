"""A folder of pictures as a clip."""

from __future__ import annotations

import os
from pathlib import Path

from hone.transfer.patterns import natural

from ..headers import look_at
from ..listing import SUFFIXES
from .opening import VideoFacts

#: Pictures don't say how fast they follow each other.
FRAMES_PER_SECOND = 25


def is_picture_folder(path: str | Path) -> bool:
    """Whether a clip's path is a folder."""
    return Path(path).is_dir()


def frame_files(folder: str | Path) -> list[str]:
    """The pictures of a folder in the natural order of their names: 2 comes before 10.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("f10.jpg", "f2.jpg", "notes.txt"):
        ...         Path(folder, name).touch()
        ...     [Path(file).name for file in frame_files(folder)]
        ['f2.jpg', 'f10.jpg']
    """
    names = [entry.name for entry in os.scandir(folder) if is_picture(entry.name)]
    return [os.path.join(folder, name) for name in sorted(names, key=natural)]  # noqa: PTH118


def is_picture(name: str) -> bool:
    """Whether a file counts as a picture by its name."""
    return not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES


def look_at_pictures(folder: str) -> VideoFacts:
    """The facts of a folder of pictures, played at 25 a second; each one's header is looked at.

    Raises:
        ValueError: one can't be read, or is of another size than the first; the message is the reason alone.
    """
    files = frame_files(folder)
    if not files:
        raise ValueError("it holds no picture")
    sizes = []
    for file in files:
        try:
            sizes.append(look_at(file))
        except ValueError as error:
            raise ValueError(f"{Path(file).name}: {error}") from None
        if sizes[-1] != sizes[0]:
            (width, height), (wide, high) = sizes[-1], sizes[0]
            raise ValueError(f"{Path(file).name} is {width}x{height}, and the pictures before it {wide}x{high}")
    width, height = sizes[0]
    return VideoFacts(width, height, len(files), 0, round(len(files) * 1e6 / FRAMES_PER_SECOND))
