"""Made volumes for the commands: a bright ball (and a dark one) in noise, small enough for many runs."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel
import numpy as np

#: An affine whose axes run backwards, to the front and up, turned a little, anisotropic.
OBLIQUE = np.array([[-0.98, -0.16, 0, 31], [0.2, 0.78, 0, -7.5], [0, 0, 2.0, 12.25], [0, 0, 0, 1]])


def balls(shape: Sequence[int], seed: int, classes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """(X, Y, Z) float32 and uint8: the k-th ball has intensity 3, then -3."""
    chance = np.random.default_rng(seed)
    places = np.stack(np.meshgrid(*[np.arange(n) for n in shape], indexing="ij"), -1)
    label = np.zeros(shape, dtype=np.uint8)
    for value in range(1, classes + 1):
        middle = chance.uniform(0.3, 0.7, 3) * np.asarray(shape)
        label[np.linalg.norm(places - middle, axis=-1) < 3.5] = value
    return (chance.normal(0, 0.5, tuple(shape)) + np.array([0, 3, -3])[label]).astype(np.float32), label


def save(path: Path, voxels: np.ndarray, affine: np.ndarray | None = None) -> Path:
    """Write a NIfTI file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nibabel.save(nibabel.Nifti1Image(voxels, np.eye(4) if affine is None else affine), path)
    return path


def volume_data(root: Path, train: int = 5, val: int = 2, classes: int = 1, affine: np.ndarray | None = None) -> Path:
    """``train`` and ``val`` with ``images`` and ``labels``; sizes differ from case to case."""
    for k in range(train + val):
        image, label = balls((18 + k % 3, 16, 15), k, classes)
        part = root / ("train" if k < train else "val")
        save(part / "images" / f"case{k}.nii.gz", image, affine)
        save(part / "labels" / f"case{k}.nii.gz", label, affine)
    return root
