"""Opening a video file, and what can be known of it without decoding more than a frame."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .containers import is_cut_off


class VideoFacts(NamedTuple):
    """What sampling and decoding need to know of a video before they touch it.

    Attributes:
        width: upright and with square pixels.
        height: the same.
        frames: how many there are.
        start: time of the first, microseconds.
        length: from the first to the end of the last, microseconds.
        steady: 1 where they follow each other evenly, else 0.
    """

    width: int
    height: int
    frames: int
    start: int
    length: int
    steady: int = 0


def pyav() -> Any:
    """The module ``av``.

    Raises:
        ModuleNotFoundError: PyAV is not installed (the extra ``video``).
    """
    try:
        import av
    except ModuleNotFoundError:
        raise ModuleNotFoundError('video files need PyAV: pip install "torch-hone[video]"') from None
    return av


@contextmanager
def open_video(path: str | Path) -> Iterator[tuple[Any, Any]]:
    """PyAV's container and its first video stream; sound is never read.

    Raises:
        ValueError: the file can't be read as a video; the message is the reason alone.
    """
    av = pyav()
    try:
        with av.open(str(path), metadata_errors="replace") as container:
            stream = _video_stream(container)
            for other in container.streams:
                if other is not stream:
                    other.discard = pyav().stream.Discard.all
            stream.thread_count = torch.get_num_threads()
            yield container, stream
    except av.FFmpegError as error:
        raise ValueError(_reason(path, error)) from None


def look_at_video(path: str) -> VideoFacts:
    """Walk over the packets of a file and decode its first frame.

    Raises:
        ValueError: the file can't be read as a video; the message is the reason alone.

    Example:
        >>> look_at_video("nowhere.mp4")
        Traceback (most recent call last):
        ...
        ValueError: there is no such file
    """
    if Path(path).is_file() and is_cut_off(path):
        raise ValueError("it is truncated")
    with open_video(path) as (container, stream):
        times: list[int] = []
        by_count = is_counted(container, stream)
        for packet in container.demux(stream):
            if packet.is_corrupt:
                raise ValueError("it is truncated or damaged")
            if packet.pts is not None and packet.size and not packet.is_discard:
                times.append(len(times) if by_count else packet.pts)
        container.seek(0)
        first = next(container.decode(stream), None)
        if first is None or not times:
            raise ValueError("it holds no frame")
        unit = 1 / stream.average_rate if by_count else stream.time_base
        rate = float(stream.guessed_rate or 25)
        return VideoFacts(*upright_size(first, stream), *_times(sorted(times), float(unit) * 1e6, 1e6 / rate))


def is_counted(container: Any, stream: Any) -> bool:
    """Whether nothing but their count, from the first frame on, tells when frames are shown.

    AVI stores no times, only an order of decoding, which is another one where frames are reordered.
    """
    return container.format.name == "avi" and bool(stream.codec_context.has_b_frames)


def upright_size(frame: Any, stream: Any) -> tuple[int, int]:
    """(width, height) of a frame as it is shown: with square pixels and turned as the file says."""
    aspect = stream.sample_aspect_ratio or 1
    width, height = max(1, round(frame.width * aspect)), frame.height
    return (height, width) if quarter_turns(frame) % 2 else (width, height)


def quarter_turns(frame: Any) -> int:
    """By how many quarters, counter-clockwise, a frame is turned before it is shown."""
    turns: int = round(frame.rotation / 90) % 4
    return turns


def _times(times: list[int], unit: float, usual: float) -> tuple[int, int, int, int]:
    """Frames, start and length (microseconds), and whether they are steady, of frames that begin at rising ``times``.

    The last frame is shown as long as the others are on average, and a single one as long as is usual.
    """
    first, last, frames = times[0], times[-1], len(times)
    each = (last - first) * unit / (frames - 1) if frames > 1 else usual
    widest = max((later - sooner for sooner, later in pairwise(times)), default=0) * unit
    return frames, round(first * unit), max(1, round(each * frames)), int(widest <= 1.25 * each)


def _video_stream(container: Any) -> Any:
    if container.format.name.endswith("_pipe") or container.format.name == "image2":
        kind = container.format.name.removesuffix("_pipe")
        raise ValueError(f"it is a still image ({kind}), not a video")
    # A song's cover is a video stream of one picture.
    attached = pyav().stream.Disposition.attached_pic
    streams = [stream for stream in container.streams.video if not stream.disposition & attached]
    if not streams:
        has_sound = bool(container.streams.audio)
        raise ValueError("it holds sound and no video" if has_sound else "it holds no video")
    return streams[0]


def _reason(path: str | Path, error: Exception) -> str:
    """What is wrong with a file that FFmpeg refuses."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, PermissionError):
        return "it may not be read"
    if not Path(path).stat().st_size:
        return "the file is empty"
    if is_cut_off(path):
        return "it is truncated"
    if type(error).__name__ == "InvalidDataError":
        return "its content is damaged or not that of any known video format"
    return f"{type(error).__name__}: {error}".splitlines()[0]
