"""Which frames of a video a clip is made of."""

from __future__ import annotations

import random
from dataclasses import dataclass

import numpy as np

from ...checks import integer, number, one_of
from .opening import VideoFacts

SAMPLINGS = ("random", "uniform", "dense")
SHORTS = ("loop", "hold")


@dataclass(frozen=True)
class Sampling:
    r"""How the frames of a clip are chosen.

    The video is cut into ``frames`` equal parts. ``uniform`` takes the frame in the middle of each,
    ``random`` one at random of each in training and the middle one in evaluation:

    .. math:: t_k = \frac{k + u_k}{T} L, \qquad u_k = \tfrac12 \text{ or } u_k \sim U(0, 1).

    ``dense`` takes frames that follow each other at ``rate``, :math:`t_k = s + k / r`, from a random place :math:`s` in
    training and from places spread over the video in evaluation. Where the clip is longer than the video, the video is
    played in a loop or its last frame is held. (The parts of a video of few frames share frames: none is missing.)

    Args:
        frames: of a clip, at least 1.
        kind: "random", "uniform" or "dense".
        rate: frames a second, of "dense" only; None is the video's own rate.
        short: what happens in a "dense" clip that is longer than its video: "loop" or "hold".
        clips: clips a video in evaluation; their outputs are averaged.

    Raises:
        ValueError: an argument is out of range, or a rate without "dense".

    Example:
        >>> facts = VideoFacts(64, 48, frames=20, start=0, length=2_000_000)
        >>> Sampling(4).in_evaluation(facts).tolist()
        [[2, 7, 12, 17]]
        >>> Sampling(4, "dense", rate=2.5, clips=2).in_evaluation(facts).tolist()
        [[0, 4, 8, 12], [7, 11, 15, 19]]
        >>> Sampling(6, "dense", rate=2.5).in_evaluation(facts).tolist()
        [[0, 4, 8, 12, 16, 0]]

    Reference:
        Wang et al., "Temporal Segment Networks", ECCV 2016, section 3.1 (random, uniform).
    """

    frames: int = 16
    kind: str = "random"
    rate: float | None = None
    short: str = "loop"
    clips: int = 1

    def __post_init__(self) -> None:
        integer("frames", self.frames, at_least=1)
        one_of("sampling", self.kind, SAMPLINGS)
        one_of("short", self.short, SHORTS)
        integer("clips", self.clips, at_least=1)
        if self.rate is not None:
            number("rate", self.rate, above=0)
            if self.kind != "dense":
                raise ValueError(f"rate is of dense sampling, and sampling is {self.kind}; give --sampling dense")

    def in_training(self, facts: VideoFacts, generator: random.Random) -> np.ndarray:
        """(frames,) int64 frame numbers of one clip."""
        if self.kind != "dense":
            within = [generator.random() if self.kind == "random" else 0.5 for _ in range(self.frames)]
            return self._of_parts(facts, np.array(within))
        return self._dense(facts, generator.uniform(0, self._room(facts)))

    def in_evaluation(self, facts: VideoFacts) -> np.ndarray:
        """(clips, frames) int64 frame numbers."""
        if self.kind != "dense":
            # Several clips share each part: of three, the frames at 1/6, 3/6 and 5/6 of it.
            within = (np.arange(self.clips) + 0.5) / self.clips
            return np.stack([self._of_parts(facts, np.full(self.frames, each)) for each in within])
        room = self._room(facts)
        starts = np.linspace(0, room, self.clips) if self.clips > 1 else [room / 2]
        return np.stack([self._dense(facts, float(start)) for start in starts])

    def step(self, facts: VideoFacts) -> float:
        """Frames of the video from one frame of a dense clip to the next."""
        own = facts.frames / facts.length * 1e6
        return 1.0 if self.rate is None else own / self.rate

    def _room(self, facts: VideoFacts) -> float:
        """How far into the video, in frames, a dense clip may begin."""
        return max(0.0, facts.frames - 1 - (self.frames - 1) * self.step(facts))

    def _of_parts(self, facts: VideoFacts, within: np.ndarray) -> np.ndarray:
        places = (np.arange(self.frames) + within) * facts.frames / self.frames
        return _held(places.astype(np.int64), facts)

    def _dense(self, facts: VideoFacts, start: float) -> np.ndarray:
        # Half a frame on: where rate and video agree, rounding then can't fall to either side.
        places = np.floor(start + np.arange(self.frames) * self.step(facts) + 0.5).astype(np.int64)
        return places % facts.frames if self.short == "loop" else _held(places, facts)


def _held(places: np.ndarray, facts: VideoFacts) -> np.ndarray:
    """Beyond the last frame, the last frame."""
    held: np.ndarray = places.clip(max=facts.frames - 1)
    return held
