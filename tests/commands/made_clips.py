"""Made clips: a window moves over a picture, to one side or back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from .made import photo

MOTIONS = ("pan_left", "pan_right")


def moving(picture: Image.Image, kind: str, frames: int = 12, side: int = 40) -> list[np.ndarray]:
    """(frames, side, side, 3): from one end of the picture to the other; pan_left is pan_right played backwards."""
    wide = picture.resize((side * 3 // 2, side), Image.Resampling.BICUBIC)
    lefts = np.linspace(0, side // 2, frames).round().astype(int)
    clip = [np.asarray(wide)[:, left : left + side] for left in lefts]
    return clip if kind == "pan_right" else clip[::-1]


def moving_clips(root: Path, pictures: Sequence[Image.Image], encode: Callable[..., Path]) -> Path:
    """``root/MOTION/*.mp4``: every picture under every motion, so that no single frame tells which."""
    for number, picture in enumerate(pictures):
        for kind in MOTIONS:
            encode(root / kind / f"{number:03}.mp4", moving(picture, kind), preset="ultrafast")
    return root


def pictures(count: int, seed: int = 0) -> list[Image.Image]:
    """Smooth random ones."""
    generator = np.random.default_rng(seed)
    return [photo(k, generator, 60, 40) for k in range(count)]
