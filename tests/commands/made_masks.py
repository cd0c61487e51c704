"""Small images with masks, made here: bright discs are one class, bright squares another."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image


def scene(seed: int, size: tuple[int, int] = (40, 48)) -> tuple[np.ndarray, np.ndarray]:
    """An image (H, W, 3) uint8, and a mask (H, W) uint8 with 1 for the disc and 2 for the square."""
    chance = np.random.default_rng(seed)
    height, width = size
    image = chance.integers(0, 60, (height, width, 3)).astype(np.uint8)
    mask = np.zeros(size, np.uint8)
    rows, columns = np.mgrid[:height, :width]
    radius = min(size) // 5
    top, left = (chance.integers(radius, side - radius) for side in size)
    mask[(rows - top) ** 2 + (columns - left) ** 2 <= radius**2] = 1
    top, left = (chance.integers(0, side - radius) for side in size)
    mask[top : top + radius, left : left + radius] = 2
    image[mask == 1] += np.array([190, 20, 20], np.uint8)
    image[mask == 2] += np.array([20, 20, 190], np.uint8)
    return image, mask


def mask_data(folder: Path, *, train: int = 6, val: int = 3, sizes: Sequence[tuple[int, int]] = ((40, 48),)) -> Path:
    """``train`` and ``val`` folders of images/ and masks/ with three classes."""
    for part, count, first in (("train", train, 0), ("val", val, 100)):
        for k in range(count):
            save_pair(folder / part, f"{k}", *scene(first + k, sizes[k % len(sizes)]))
    return folder


def save_pair(folder: Path, stem: str, image: np.ndarray, mask: np.ndarray) -> None:
    """Write ``images/STEM.png`` and ``masks/STEM.png``."""
    for name, pixels in (("images", image), ("masks", mask)):
        (folder / name).mkdir(parents=True, exist_ok=True)
        Image.fromarray(pixels).save(folder / name / f"{stem}.png")
