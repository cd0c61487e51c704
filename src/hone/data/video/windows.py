"""Long videos, window by window."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...checks import invalid
from ..layout import VIDEO_SUFFIXES
from .clips import Clips
from .decoding import unreadable_clip
from .opening import VideoFacts
from .reading import clips_below, look_at_clip

#: A video of less than so many windows is one clip: two would show nearly the same.
_ONE_WINDOW = 1.5


def find_clips(paths: Sequence[str | Path]) -> list[str]:
    """Video files as they are given, and of each folder all clips below it; a folder of pictures is a clip.

    Raises:
        ValueError: a path is not there or no video by its name, or a folder holds no clip.
    """
    found: list[str] = []
    for path in map(Path, paths):
        if path.is_file() and path.name.lower().endswith(VIDEO_SUFFIXES):
            found.append(str(path))
            continue
        inside = clips_below(str(path), inside=False)[0] if path.is_dir() else []
        if not inside:
            raise invalid("PATH", "be a video, a folder of pictures, or a folder of those", str(path))
        found += inside
    return found


def windows_of(path: str, classes: Sequence[str], seconds: float) -> Clips:
    """A video as windows of some length, each overlapping half of the one before: a row is a window.

    A video that is little longer than a window is one window.

    Args:
        path: the video.
        classes: of the model, for the rows' targets, which are all 0.
        seconds: length of a window.

    Raises:
        ValueError: the video can't be read; it is named.
    """
    try:
        facts = look_at_clip(path)
    except ValueError as error:
        raise unreadable_clip(path, error) from None
    rows = [(0, 0, *window) for window in cut(facts, seconds)]
    targets = torch.zeros(len(rows), dtype=torch.int64)
    return Clips([path] * len(rows), targets, list(classes), "classify-video", np.array(rows, dtype=np.int64))


def cut(facts: VideoFacts, seconds: float) -> list[VideoFacts]:
    """The facts of a video's windows.

    Example:
        >>> video = VideoFacts(64, 48, frames=100, start=0, length=10_000_000)
        >>> [(window.start, window.length) for window in cut(video, 5.0)]
        [(0, 5000000), (2500000, 5000000), (5000000, 5000000)]
    """
    length = round(seconds * 1e6)
    if facts.length < _ONE_WINDOW * length:
        return [facts]
    count = 1 + math.ceil((facts.length - length) / (length / 2))
    frames = max(1, round(facts.frames * length / facts.length))
    starts = np.linspace(0, facts.length - length, count).round().astype(np.int64)
    return [facts._replace(frames=frames, start=facts.start + int(start), length=length) for start in starts]
