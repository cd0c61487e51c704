"""One case as the model sees it: RAS, at the run's spacing, normalised, in half the bytes of float32."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..cache_folder import cache_folder
from ..seeding import derive
from .cases import Case
from .facts import ChannelFacts, LabelFacts
from .nifti import Nifti, open_nifti
from .preprocessing import ChannelNormalization, VolumePreprocessing
from .resampling import nearest, resample_slabs, resampled_shape
from .scan import CaseFacts

#: Of each class so many voxels are remembered as places where a patch may stand.
_PLACES = 2000
#: Rows that are resampled at once hold about so many voxels.
_ROW_VOXELS = 4 * 2**20


@dataclass(frozen=True)
class Prepared:
    """A case, perhaps mapped from disk.

    Attributes:
        image: (channels, X, Y, Z) float16.
        label: (X, Y, Z) uint8 or int16; None where there is none.
        places: (k, 4) int32: class, x, y, z of some voxels of every class but the background.
    """

    image: np.ndarray
    label: np.ndarray | None
    places: np.ndarray


def prepared_shape(facts: CaseFacts, preprocessing: VolumePreprocessing) -> tuple[int, int, int]:
    """(X, Y, Z), voxels, of a case once it is prepared."""
    first = facts.images[0]
    return resampled_shape(first.shape, first.spacing, preprocessing.spacing_of(first.spacing))


def label_dtype(facts: LabelFacts) -> type[np.integer]:
    """The smallest that holds all values."""
    return np.uint8 if min(facts.counts) >= 0 and max(facts.counts) <= 255 else np.int16


def fill_image(case: Case, facts: CaseFacts, preprocessing: VolumePreprocessing, out: np.ndarray) -> None:
    """Write the prepared image of a case into (channels, X, Y, Z) float16.

    A slab of the file is in memory at a time; what is resampled passes through a file of its own.

    Raises:
        ValueError: a file can't be read any more; it is named.
    """
    channels = [
        (image, channel, known)
        for path, seen in zip(case.images, facts.images, strict=True)
        for image in [open_nifti(path)]
        for channel, known in enumerate(seen.channels)
    ]
    for target, (image, channel, known), how in zip(out, channels, preprocessing.channels, strict=True):
        if target.shape == image.ras_shape:
            _normalized(image, channel, known, how, target)
            continue
        with scratch(image.ras_shape, np.float32) as whole:
            _normalized(image, channel, known, how, whole)
            row = 0
            for slab in resample_slabs(_rows(whole), len(whole), target.shape):
                target[row : row + slab.shape[1]] = slab[0].numpy()
                row += slab.shape[1]


def read_label(case: Case, facts: CaseFacts, shape: Sequence[int]) -> np.ndarray | None:
    """(X, Y, Z) label map of a case at its prepared size, by the nearest voxel; None where it has none."""
    if case.label is None or facts.label is None:
        return None
    label = open_nifti(case.label)
    whole = np.empty(label.ras_shape, dtype=label_dtype(facts.label))
    view = label.in_file_axes(whole)
    for part, slab in label.slabs():
        view[:, :, part] = slab
    return nearest(whole, shape)


def class_places(label: np.ndarray | None, classes: int) -> np.ndarray:
    """(k, 4) int32: for each class above 0, up to 2000 of its voxels, the same ones whenever they are asked for."""
    if label is None:
        return np.zeros((0, 4), dtype=np.int32)
    flat = np.flatnonzero(label)
    values = label.reshape(-1)[flat]
    found: list[np.ndarray] = []
    for value in range(1, classes):
        places = flat[values == value]
        if len(places) > _PLACES:
            chance = np.random.Generator(np.random.Philox(derive("places", value)))
            places = np.sort(chance.choice(places, _PLACES, replace=False))
        if len(places):
            found.append(np.stack([np.full(len(places), value), *np.unravel_index(places, label.shape)], axis=1))
    return np.concatenate(found).astype(np.int32) if found else np.zeros((0, 4), dtype=np.int32)


@contextmanager
def scratch(shape: Sequence[int], dtype: type[np.generic]) -> Iterator[np.ndarray]:
    """An array in a file without a name: the system writes its pages to disk where memory is short."""
    folder = cache_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryFile(dir=folder) as file:
        yield np.memmap(file, dtype, "w+", shape=tuple(shape))


def _normalized(image: Nifti, channel: int, facts: ChannelFacts, how: ChannelNormalization, out: np.ndarray) -> None:
    view = image.in_file_axes(out)
    for part, slab in image.slabs(channel):
        view[:, :, part] = how(torch.from_numpy(slab), facts).numpy()


def _rows(whole: np.ndarray) -> Iterator[Tensor]:
    step = max(1, _ROW_VOXELS // (whole.shape[1] * whole.shape[2]))
    for row in range(0, len(whole), step):
        yield torch.from_numpy(np.array(whole[row : row + step]))[None]
