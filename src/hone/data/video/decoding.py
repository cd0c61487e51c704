"""The wanted frames of a clip, and as few others as its codec allows."""

from __future__ import annotations

import bisect
import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...checks import invalid
from ..decoding import DECODE_ERRORS, bounded_size, decode, unreadable_reason
from .opening import VideoFacts, is_counted, open_video, pyav, quarter_turns
from .pictures import FRAMES_PER_SECOND, frame_files, is_picture_folder

#: Going back further each time that a file's index leads behind the wanted frame, microseconds.
_STEPS_BACK = (0.0, 1e6, 4e6, 16e6)


def unreadable_clip(path: str | Path, reason: object) -> ValueError:
    """The one line that names a clip which can't be read.

    Example:
        >>> str(unreadable_clip("a.mp4", "it is truncated"))
        "a.mp4 can't be read as a clip: it is truncated (skip_unreadable leaves such files out and counts them)"
    """
    return ValueError(
        f"{path} can't be read as a clip: {reason} (skip_unreadable leaves such files out and counts them)"
    )


def read_frames(
    path: str | Path, frames: Sequence[int] | np.ndarray, facts: VideoFacts, short_side: int | None = None
) -> torch.Tensor:
    """Decode some frames of a clip to RGB, upright.

    Frame ``k`` of ``n`` is what a viewer sees at time ``start + (k + 1/2) length / n``: frame number ``k`` itself where
    the rate is constant, and where it is not, the one that is shown at that moment. Frames are found by their times,
    never by counting, from the nearest key frame on.

    Args:
        path: a video file, or a folder of pictures in the natural order of their names.
        frames: which, each in [0, facts.frames), in any order, repeated or not.
        facts: as ``look_at`` gives them.
        short_side: frames whose shorter side is longer are reduced to it; None keeps the size. Nothing is enlarged.

    Returns:
        (len(frames), height, width, 3) uint8.

    Raises:
        ValueError: a number is out of range, or the file can't be read; it is named.
    """
    wanted = np.asarray(frames, dtype=np.int64)
    if wanted.size and not 0 <= wanted.min() <= wanted.max() < facts.frames:
        raise invalid("frames", f"lie in [0, {facts.frames})", wanted.tolist())
    height, width = bounded_size(facts.height, facts.width, short_side or min(facts.height, facts.width))
    once, places = np.unique(wanted, return_inverse=True)
    times = facts.start + (once + 0.5) * facts.length / facts.frames
    made = np.empty((len(once), height, width, 3), dtype=np.uint8)
    try:
        if is_picture_folder(path):
            _read(path, short_side, times, made)
        else:
            _decode(path, facts, times, made)
    except ValueError as error:
        raise unreadable_clip(path, error) from None
    is_in_order = len(once) == len(wanted) and bool((once == wanted).all())
    return torch.from_numpy(made if is_in_order else made[places])


def _read(folder: str | Path, short_side: int | None, times: np.ndarray, made: np.ndarray) -> None:
    """Fill ``made`` with the pictures that are shown at the times, microseconds."""
    files = frame_files(folder)
    for place, time in enumerate(times.tolist()):
        file = files[min(int(time * FRAMES_PER_SECOND / 1e6), len(files) - 1)]
        try:
            image = decode(file, short_side).numpy()
        except DECODE_ERRORS as error:
            raise ValueError(f"{Path(file).name}: {unreadable_reason(error)}") from None
        if image.shape != made.shape[1:]:
            raise ValueError(f"{Path(file).name} is of another size than the first picture")
        made[place] = image


def _decode(path: str | Path, facts: VideoFacts, times: np.ndarray, made: np.ndarray) -> None:
    """Fill ``made`` with the frames that are shown at the times, which rise, microseconds."""
    with open_video(path) as (container, stream):
        player, convert = _Player(container, stream, facts), pyav().video.reformatter.VideoReformatter()
        for place, time in enumerate(times.tolist()):
            _convert(player.frame_at(time), made[place], convert)


class _Player:
    """The frame that is shown at a time; times must not fall.

    Args:
        container: just opened.
        stream: its video stream.
        facts: of the video.
    """

    def __init__(self, container: Any, stream: Any, facts: VideoFacts) -> None:
        self.container, self.stream = container, stream
        self.unit = float(stream.time_base) * 1e6
        self.is_counted = is_counted(container, stream)
        # Where frames follow each other evenly, one that lies further before the wanted time is not the one shown.
        self.slack = 1.5 * facts.length / facts.frames if facts.steady else math.inf
        self.goal = _Goal()
        self.timed: Iterator[tuple[float, Any]] = iter(())
        self.shown: tuple[float, Any] | None = None
        self.ahead: tuple[float, Any] | None = None
        container.seek(0)  # Matroska reads its index at the first seek
        self.keys = [entry.timestamp * self.unit for entry in stream.index_entries if entry.is_keyframe]

    def frame_at(self, time: float) -> Any:
        """The last frame that begins no later than ``time`` (microseconds); before the first one, the first.

        Raises:
            ValueError: nothing can be decoded.
        """
        self.goal.time = time
        if self.is_counted and self.shown is None:
            self._start()
        elif not self.is_counted and self._is_worth_a_jump(time):
            self._jump(time)
        while self.ahead is not None and self.ahead[0] <= time:
            self.shown, self.ahead = self.ahead, next(self.timed, None)
        if self.shown is None:
            raise ValueError("it holds no frame that can be decoded")
        return self.shown[1]

    def _is_worth_a_jump(self, time: float) -> bool:
        """Whether a key frame lies between the frames at hand and the wanted one, as far as the index knows."""
        if self.shown is None:
            return True
        place = bisect.bisect_right(self.keys, time)
        return self.ahead is not None and place > 0 and self.keys[place - 1] > self.ahead[0]

    def _jump(self, time: float) -> None:
        """Decode from the key frame before ``time``; further back where the index is wrong, at last from the start."""
        for back in _STEPS_BACK:
            with suppress(OSError):  # FFmpeg refuses some places, and a step back is another place
                self.container.seek(int((time - back) / self.unit), stream=self.stream)
                self._start()
                if self.shown is not None and self.shown[0] <= time:
                    return
        self.container.seek(self.stream.start_time or 0, stream=self.stream)
        self._start()

    def _start(self) -> None:
        if self.is_counted:
            each, frames = 1e6 / float(self.stream.average_rate), self.container.decode(self.stream)
            self.timed = ((count * each, frame) for count, frame in enumerate(frames))
        else:
            self.timed = _timed(self.container, self.stream, self.unit, self.goal, self.slack)
        self.shown = next(self.timed, None)
        self.ahead = next(self.timed, None)


class _Goal:
    """The time that is wanted: set by the player, read by what it reads from."""

    time = 0.0


def _timed(container: Any, stream: Any, unit: float, goal: _Goal, slack: float) -> Iterator[tuple[float, Any]]:
    """Frames and their times, less those before the goal that no other frame is decoded from.

    A function and not a method: a generator that holds the player that holds it would keep decoders alive.
    """
    context = stream.codec_context
    for packet in container.demux(stream):
        is_passed_by = packet.pts is not None and packet.pts * unit < goal.time - slack
        context.skip_frame = "NONREF" if is_passed_by else "DEFAULT"
        for frame in packet.decode():
            if frame.pts is not None:
                yield frame.pts * unit, frame


def _convert(frame: Any, target: np.ndarray, convert: Any) -> None:
    """A decoded frame as RGB bytes of the target's size, turned upright."""
    if frame.is_corrupt:
        raise ValueError("it is damaged")
    turns = quarter_turns(frame)
    height, width = target.shape[:2] if turns % 2 == 0 else target.shape[1::-1]
    made = convert.reformat(frame, width=width, height=height, format="rgb24", interpolation="BILINEAR")
    target[...] = np.rot90(made.to_ndarray(), turns)
