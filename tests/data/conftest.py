"""Made photos: small, each different, none in the user's own cache folder."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hone.data import Examples


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_CACHE", str(tmp_path / "cache"))


def photo(seed: int, width: int = 60, height: int = 44) -> Image.Image:
    """A smooth random picture, so that JPEG and resizing treat it as they treat photos."""
    coarse = np.random.default_rng(seed).integers(0, 256, (6, 8, 3), dtype=np.uint8)
    return Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)


@pytest.fixture
def class_folders(tmp_path: Path) -> Callable[..., Path]:
    """Makes a folder of class folders: class_folders(cat=4, dog=6)."""

    def make(root: str = "photos", **counts: int) -> Path:
        for place, (name, count) in enumerate(counts.items()):
            folder = tmp_path / root / name
            folder.mkdir(parents=True)
            for k in range(count):
                photo(100 * place + k).save(folder / f"{k:03}.jpg")
        return tmp_path / root

    return make


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Examples:
    """26 photos of three classes, unequally many, of different sizes."""
    folder = tmp_path_factory.mktemp("made")
    labels = [0] * 14 + [1] * 8 + [2] * 4
    paths = []
    for k in range(len(labels)):
        path = folder / f"{k:02}.jpg"
        photo(k, 50 + k, 64 - k).save(path, quality=95)
        paths.append(str(path))
    return Examples(paths, torch.tensor(labels), ["ant", "bee", "cat"])
