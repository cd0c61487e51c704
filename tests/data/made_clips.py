"""Frames that carry their own number, so that a decoder's answer can be read off its pixels."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

BITS = 10


def numbered(count: int, width: int = 160, height: int = 48, first: int = 0) -> Iterator[np.ndarray]:
    """Frames of ten upright bars, white for a 1 and black for a 0 of the frame's number, above a grey floor."""
    edges = np.linspace(0, width, BITS + 1).astype(int)
    for number in range(first, first + count):
        frame = np.full((height, width, 3), 90, np.uint8)
        for bit in range(BITS):
            frame[: height * 3 // 4, edges[bit] : edges[bit + 1]] = 255 * (number >> bit & 1)
        yield frame


def number_of(frame: np.ndarray) -> int:
    """The number that a frame carries."""
    height, width = frame.shape[:2]
    bars = frame[: height // 2].mean(axis=(0, 2))
    middles = (np.linspace(0, width, BITS + 1)[:-1] + width / BITS / 2).astype(int)
    return sum(int(bars[middle] > 127) << bit for bit, middle in enumerate(middles))
