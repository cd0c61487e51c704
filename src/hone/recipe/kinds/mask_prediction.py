"""Predictions on images: a mask of class indices for each, or one for each label; memory bounded by a slab."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from PIL import Image, ImageColor
from torch import Tensor

from hone.data.decoding import read_image
from hone.data.find import find_photos
from hone.data.masks import MaskPreprocessing
from hone.data.masks.batches import Finish
from hone.data.masks.coding import Coding
from hone.data.masks.examples import has_background
from hone.recipe.kinds.mask_windows import label_slabs
from hone.recipe.prediction import Asked, Prediction
from hone.report.overlays import legend_colors
from hone.training.folders import written_beside

if TYPE_CHECKING:
    from hone.recipe.folder import Loaded, Run

#: Windows at a time.
_WINDOWS = 4


def predict(loaded: Loaded, run: Run, paths: Sequence[str], asked: Asked) -> Iterator[Prediction]:
    """A PNG for each image in the folder that was asked for, of the image's size and name.

    Pixels hold class indices, with the classes' colours as a palette; of labels there is a folder each, with 0 and 255.

    Raises:
        ValueError: no folder for masks, an image that can't be read, or two images of one name.
    """
    if asked.out is None:
        raise ValueError("predict on images writes a mask for each: give --out FOLDER")
    preprocessing: MaskPreprocessing = loaded.preprocessing
    finish = Finish(Coding(len(loaded.classes)), preprocessing, asked.device, run.recipe.layout != "contiguous")

    def network(images: Tensor) -> Tensor:
        with torch.inference_mode(), asked.precision.autocast():
            logits: Tensor = loaded.model(finish.inputs(images))
        return logits.float()

    for image, name in named(paths):
        pixels = read_image(image, peak=preprocessing.peak)
        slabs = label_slabs(
            network,
            pixels,
            preprocessing,
            batch_size=asked.batch_size or _WINDOWS,
            device=asked.device,
            flips=asked.flips,
        )
        found = np.concatenate([_decided(slab, preprocessing.labels) for slab in slabs], axis=-2)
        file, shares = _write(found, asked.out, name, loaded)
        yield Prediction(image, str(file), None, shares)


def columns(classes: Sequence[str]) -> list[str]:
    """The share of the pixels that each class has."""
    return list(classes)


def named(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Each image and the name of its mask: its place in the folder that was given, without a suffix.

    Raises:
        ValueError: a path is not there, or two images have one name.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     (Path(folder) / "deep").mkdir()
        ...     (Path(folder) / "deep" / "a.jpg").touch()
        ...     [name for _, name in named([folder])]
        ['deep/a']
    """
    found: list[tuple[str, str]] = []
    for given in paths:
        for image in find_photos([given]):
            inside = Path(image).relative_to(given) if Path(given).is_dir() else Path(Path(image).name)
            found.append((image, inside.with_suffix("").as_posix()))
    twice = [name for name, count in Counter(name for _, name in found).items() if count > 1]
    if twice:
        files = ", ".join(image for image, name in found if name == twice[0])
        raise ValueError(f"predict would write several masks named {twice[0]}.png: {files}; predict them apart")
    return found


def _decided(logits: Tensor, labels: bool) -> np.ndarray:
    """(C, rows, W) logits -> (rows, W) indices, or (C, rows, W) bits."""
    if labels:
        return (logits > 0).to(torch.uint8).cpu().numpy()
    return logits.argmax(0).to(torch.uint8 if len(logits) <= 256 else torch.int32).cpu().numpy()


def _write(found: np.ndarray, out: Path, name: str, loaded: Loaded) -> tuple[Path, list[float]]:
    """The file, or the folder of the labels' files, and the share of the pixels that each class has."""
    if found.ndim == 3:
        for label, bits in zip(loaded.classes, found, strict=True):
            _save(Image.fromarray(bits * 255), out / label / f"{name}.png")
        return out, found.reshape(len(found), -1).mean(1).tolist()
    file = out / f"{name}.png"
    if found.dtype == np.uint8:
        picture = Image.fromarray(found, mode="P")
        picture.putpalette(palette(loaded.classes))
    else:
        picture = Image.fromarray(found.astype(np.uint16))
    _save(picture, file)
    counts = np.bincount(found.reshape(-1), minlength=len(loaded.classes))
    return file, (counts / counts.sum()).tolist()


def _save(picture: Image.Image, file: Path) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    with written_beside(file) as draft:
        picture.save(draft, format="PNG")


def palette(classes: Sequence[str]) -> list[int]:
    """Red, green and blue of each class: a background is black, the others have the colours of the report.

    Example:
        >>> palette(["background", "cell"])
        [0, 0, 0, 255, 159, 28]
    """
    first = int(has_background(classes, labels=False))
    colors = ["#000000"] * first + legend_colors(len(classes) - first)
    return [value for color in colors for value in ImageColor.getrgb(color)[:3]]
