"""Made volumes: a bright ball in noise, its label map, in any space."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np


def ball(shape: Sequence[int], seed: int, radius: float = 4.0) -> tuple[np.ndarray, np.ndarray]:
    """(X, Y, Z) float32 and uint8: noise with a ball of mean 3 in it, and where the ball is."""
    chance = np.random.default_rng(seed)
    middle = chance.uniform(0.35, 0.65, 3) * np.asarray(shape)
    places = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    label = (np.linalg.norm(places - middle, axis=-1) < radius).astype(np.uint8)
    return (chance.normal(0, 0.5, tuple(shape)) + 3 * label).astype(np.float32), label


def save(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI file; 1 mm, RAS unless an affine says otherwise."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def pair(root: Path, name: str, seed: int, shape: Sequence[int] = (18, 16, 14), folders: str = "images labels") -> None:
    """``images/NAME.nii.gz`` and ``labels/NAME.nii.gz``."""
    image, label = ball(shape, seed)
    images, labels = folders.split()
    save(root / images / f"{name}.nii.gz", image)
    save(root / labels / f"{name}.nii.gz", label)


def split_folders(root: Path, train: int = 4, val: int = 2) -> Path:
    """``train`` and ``val`` with ``images`` and ``labels`` each; sizes differ from case to case."""
    for k in range(train + val):
        pair(root / ("train" if k < train else "val"), f"case{k}", k, (18 + k % 3, 16, 14))
    return root


def oblique(spacing: Sequence[float] = (1.0, 0.8, 2.5)) -> np.ndarray:
    """An affine whose first axis runs backwards (posterior), whose second runs up, turned a little, anisotropic."""
    angle = np.radians(12)
    axes = np.array([[0, 0, -1], [-1, 0, 0], [0, 1, 0]], dtype=float)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ axes * np.asarray(spacing)
    affine[:3, 3] = (31.0, -7.5, 12.25)
    return affine
