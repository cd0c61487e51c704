"""Where things that can be made again are kept between runs."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path


def cache_folder() -> Path:
    """The folder of caches: ``$HONE_CACHE``, else ``$XDG_CACHE_HOME/hone``, else ``~/.cache/hone``.

    Example:
        >>> import os
        >>> before = os.environ.get("HONE_CACHE")
        >>> os.environ["HONE_CACHE"] = "/tmp/hone-cache"
        >>> str(cache_folder())
        '/tmp/hone-cache'
        >>> _ = os.environ.pop("HONE_CACHE") if before is None else os.environ.update(HONE_CACHE=before)
    """
    chosen = os.environ.get("HONE_CACHE")
    if chosen:
        return Path(chosen)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hone"


def write_whole(file: Path, content: bytes) -> bool:
    """Write a file beside its place and rename it, so that nobody reads half of it; False where that can't be done.

    A cache that can't be written costs time, not a run: a read-only home or a full disk is no error here.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     write_whole(Path(folder) / "deep" / "file", b"x"), (Path(folder) / "deep" / "file").read_bytes()
        (True, b'x')
    """
    beside = file.with_name(f"{file.name}.{os.getpid()}")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        beside.write_bytes(content)
        beside.replace(file)
    except OSError:
        with suppress(OSError):
            beside.unlink()
        return False
    return True
