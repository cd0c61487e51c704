"""Frames of clips by index, from the cache where they are there."""

from __future__ import annotations

import os

import numpy as np
import torch

from ..decoded_cache import parse_bytes
from .clips import Clips
from .decoding import read_frames
from .frame_cache import FrameCache
from .opening import VideoFacts


class Frames:
    """The frames of some clips, decoded to a bounded size. The cache changes the time, never a pixel.

    Args:
        clips: whose frames.
        short_side: longest allowed short side, pixels.
        cache: bytes of decoded frames to keep, such as "2GB"; 0 keeps none.
    """

    def __init__(self, clips: Clips, short_side: int, cache: str | int = 0) -> None:
        self.clips, self.short_side = clips, short_side
        self.cache: FrameCache | None = None
        budget = parse_bytes(cache)
        if budget and clips.stats is not None and hasattr(os, "preadv"):
            self.cache = FrameCache(clips.paths, clips.stats, short_side, budget)

    def facts(self, row: int) -> VideoFacts:
        """What is known of a clip."""
        return self.clips.facts(row)

    def read(self, row: int, frames: np.ndarray) -> torch.Tensor:
        """(n, H, W, 3) uint8.

        Raises:
            ValueError: the clip can't be read; it is named.
        """
        path, facts = self.clips.paths[row], self.clips.facts(row)
        if self.cache is None:
            return read_frames(path, frames, facts, self.short_side)
        wanted = frames.tolist()
        found = {frame: self.cache.get(row, frame) for frame in set(wanted)}
        missing = sorted(frame for frame, image in found.items() if image is None)
        if missing:
            for frame, image in zip(missing, read_frames(path, missing, facts, self.short_side), strict=True):
                self.cache.put(row, frame, image)
                found[frame] = image
        return torch.stack([image for frame in wanted if (image := found[frame]) is not None])
