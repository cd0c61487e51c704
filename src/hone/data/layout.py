"""Which task a data set is for, seen from the names in it alone."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from .examples import Task
from .listing import SPLIT_NAMES

#: Names by which a file counts as a video, and as a volume.
VIDEO_SUFFIXES = (".mp4", ".avi", ".mkv", ".webm", ".mov", ".m4v")
VOLUME_SUFFIXES = (".nii", ".nii.gz")
_LOOKED_AT = 1000


def task_of(data: str | Path) -> Task | None:
    """The task that the layout of a folder or file shows; None for photos, whose labels say what is learned of them.

    ``images/`` and ``masks/`` side by side mean segmentation; a ``dataset.json``, or NIfTI files in ``images/`` and
    ``labels/``, segmentation of volumes; NIfTI or video files in the folders of their classes, classification of them.

    Args:
        data: what a person names as DATA; it need not exist.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for part in ("images", "masks"):
        ...         (Path(folder) / "train" / part).mkdir(parents=True)
        ...     task_of(folder)
        'segment'
    """
    root = Path(data)
    if not root.is_dir():
        return None
    parts = [root, *(root / name for name in SPLIT_NAMES if (root / name).is_dir())]
    if (root / "dataset.json").is_file():
        return "segment-volume"
    names = list(_names(root))
    volumes = any(name.endswith(VOLUME_SUFFIXES) for name in names)
    if any((part / "images").is_dir() and (part / "masks").is_dir() for part in parts) and not volumes:
        return "segment"
    if volumes:
        labelled = any((part / "images").is_dir() for part in parts)
        return "segment-volume" if labelled else "classify-volume"
    return "classify-video" if any(name.endswith(VIDEO_SUFFIXES) for name in names) else None


def _names(root: Path) -> Iterator[str]:
    """Names of the first files found below a folder, in lower case."""
    seen = 0
    for _, _, files in os.walk(root):
        for name in files:
            yield name.lower()
            seen += 1
            if seen == _LOOKED_AT:
                return
