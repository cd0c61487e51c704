"""Predictions on volumes: label maps as NIfTI in the input's own space, or classes; memory bounded by a slab."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from hone import checks
from hone.data.decoded_cache import parse_bytes
from hone.data.volumes import Case, VolumePreprocessing, open_nifti, resample_slabs, write_nifti
from hone.data.volumes.layouts import find_volumes, stem
from hone.data.volumes.patches import read_middle
from hone.data.volumes.preparing import Prepared, fill_image, prepared_shape, scratch
from hone.data.volumes.scan import CaseFacts, look_at
from hone.recipe.kinds.photos import class_prediction
from hone.recipe.prediction import Asked, Prediction
from hone.training import sliding_slabs

if TYPE_CHECKING:
    from hone.recipe.folder import Loaded, Run

#: Windows at a time, where memory allows; numbers a voxel that a network holds at most while it looks at one.
_WINDOWS, _FEATURES = 4, 96


def predict(loaded: Loaded, run: Run, paths: Sequence[str], asked: Asked) -> Iterator[Prediction]:
    """A label map for each volume, written into the folder that was asked for; or the class of each.

    Raises:
        ValueError: no folder for label maps, a file that can't be read, channels that are not the model's, or more
            memory than may be taken.
    """
    if loaded.task == "segment-volume" and asked.out is None:
        raise ValueError("predict on volumes writes a NIfTI file for each: give --out FOLDER")
    precision = asked.precision

    def network(inputs: Tensor) -> Tensor:
        with torch.inference_mode(), precision.autocast():
            logits: Tensor = loaded.model(inputs.to(asked.device).float())
        return logits.float()

    for case in find_volumes(paths):
        with ExitStack() as held:
            facts = _checked(case, loaded.preprocessing)
            shape = prepared_shape(facts, loaded.preprocessing)
            image = held.enter_context(scratch((len(loaded.preprocessing.channels), *shape), np.float16))
            fill_image(case, facts, loaded.preprocessing, image)
            if loaded.task == "classify-volume":
                middle = read_middle(Prepared(image, None, np.zeros((0, 4))), loaded.preprocessing.patch_size)
                probs = network(middle[None]).softmax(1)[0].cpu()
                yield class_prediction(case.images[0], probs, loaded.classes)
            else:
                yield _segment(network, case, image, loaded, asked)


def columns(classes: Sequence[str]) -> list[str]:
    """The classes."""
    return list(classes)


def _checked(case: Case, preprocessing: VolumePreprocessing) -> CaseFacts:
    facts = look_at(case)
    channels = [channel for image in facts.images for channel in image.channels]
    if len(channels) != len(preprocessing.channels):
        wanted = f"have the {len(preprocessing.channels)} channels that the run was trained on"
        raise checks.invalid(case.images[0], wanted, len(channels))
    if bad := sum(channel.not_finite for channel in channels):
        raise checks.invalid(case.images[0], "hold finite numbers only", f"{bad} NaN or infinite")
    return facts


def batch_within(
    asked: Asked, window: Sequence[int], shape: Sequence[int], written: Sequence[int], classes: int
) -> int:
    """How many windows at a time keep within the memory that was asked for.

    Args:
        asked: may name bytes.
        window: (X, Y, Z), voxels.
        shape: (channels, X, Y, Z) as the model sees the volume.
        written: (X, Y, Z) of the label map.
        classes: of the output.

    Raises:
        ValueError: one window at a time already needs more.
    """
    if asked.memory is None:
        return asked.batch_size or _WINDOWS
    budget, depth = parse_bytes(asked.memory), min(window[0], shape[1])
    # The weighted sums of a window's depth, what moves up and what is handed out of them; where the file has another
    # grid, the same at its size.
    sections = {tuple(shape[1:]): math.prod(shape[2:]), tuple(written): math.prod(written[1:])}
    planes = 4 * classes * depth * 3 * sum(sections.values())
    one = 4 * math.prod(window) * (_FEATURES + 3 * classes)
    for size in range(asked.batch_size or _WINDOWS, 0, -1):
        if planes + size * one <= budget:
            return size
    raise checks.invalid("memory", f"be at least {math.ceil((planes + one) / 2**20)} MiB for this volume", asked.memory)


def _segment(
    network: Callable[[Tensor], Tensor], case: Case, image: np.ndarray, loaded: Loaded, asked: Asked
) -> Prediction:
    """Predict slab by slab, bring each to the file's own voxels, and write the labels."""
    preprocessing: VolumePreprocessing = loaded.preprocessing
    like = open_nifti(case.images[0])
    window = preprocessing.patch_size
    size = batch_within(asked, window, image.shape, like.ras_shape, len(loaded.classes))
    slabs = sliding_slabs(
        network,
        torch.from_numpy(image)[None],
        window,
        overlap=preprocessing.overlap,
        flips=asked.flips,
        batch_size=size,
        device=asked.device,
    )
    dtype = np.uint8 if len(loaded.classes) <= 256 else np.int16
    voxels = np.zeros(len(loaded.classes), dtype=np.int64)
    with scratch(like.ras_shape, dtype) as labels:
        row = 0
        for logits in resample_slabs((slab[0] for _, slab in slabs), image.shape[1], like.ras_shape):
            for plane in logits.unbind(1):  # one at a time: argmax and bincount take eight bytes a voxel
                labels[row] = plane.argmax(0).cpu().numpy()
                voxels += np.bincount(labels[row].reshape(-1), minlength=len(voxels))
                row += 1
        file = Path(str(asked.out)) / f"{stem(case.images[0])}.nii.gz"
        file.parent.mkdir(parents=True, exist_ok=True)
        write_nifti(file, labels, like)
    shares = (voxels / voxels.sum()).tolist()
    return Prediction(case.images[0], str(file), None, shares)
