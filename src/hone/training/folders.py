"""Writing files and folders so that a crash at any moment leaves the old or the new, never half of one."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


def sync(path: Path) -> None:
    """Ask the operating system to put a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def written_beside(target: Path) -> Iterator[Path]:
    """A path to write a file or a folder at; on success it is synced and takes ``target``'s place, else it is removed.

    Args:
        target: a file, or a folder. A folder that is there is taken away just before the new one gets its name.

    Yields:
        A path in the same folder that does not exist.

    Example:
        >>> import tempfile
        >>> target = Path(tempfile.mkdtemp()) / "notes.txt"
        >>> with written_beside(target) as draft:
        ...     _ = draft.write_text("whole")
        >>> target.read_text()
        'whole'
    """
    draft = target.with_name(f".{target.name}.{os.getpid()}.draft")
    remove(draft)
    try:
        yield draft
        if draft.is_dir():
            for file in draft.iterdir():
                sync(file)
        sync(draft)
        if target.is_dir():
            remove(target)
        draft.replace(target)
        sync(target.parent)
    finally:
        remove(draft)


def remove_drafts(folder: Path) -> None:
    """Delete what writers that were killed left in a folder."""
    for draft in folder.glob(".*.draft"):
        remove(draft)


def remove(path: Path) -> None:
    """Delete a file or a folder, if it is there."""
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
