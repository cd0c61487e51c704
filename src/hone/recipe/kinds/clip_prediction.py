"""Predictions on videos: of each as a whole, and of long ones at each moment."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from hone.data.video.batches import EvalClips
from hone.data.video.clips import Clips
from hone.data.video.windows import find_clips, windows_of
from hone.recipe.kinds.photos import class_prediction
from hone.recipe.prediction import Asked, Prediction
from hone.training.folders import written_beside

if TYPE_CHECKING:
    from hone.recipe.folder import Loaded


def predict_clips(
    loaded: Loaded, paths: Sequence[str], asked: Asked, probs: Callable[[Tensor], Tensor], batch_size: int
) -> Iterator[Prediction]:
    """The class of each video: of a long one the mean over its windows, which overlap by half.

    Args:
        loaded: the run's model and preprocessing.
        paths: videos, folders of pictures, and folders of those.
        asked: ``out`` names a folder for a CSV a video, with a row a window.
        probs: inputs -> (n, C) probabilities.
        batch_size: views at a time.

    Raises:
        ValueError: no videos, or one that can't be read; it is named.
    """
    videos = find_clips(paths)
    names = _names(videos)
    for path, name in zip(videos, names, strict=True):
        windows = windows_of(path, loaded.classes, loaded.preprocessing.seconds)
        batches = EvalClips(windows, loaded.preprocessing, batch_size, cache=0, device=asked.device, channels_last=True)
        found = torch.cat([probs(inputs) for inputs, _, _ in batches])
        if asked.out is not None:
            asked.out.mkdir(parents=True, exist_ok=True)
            with written_beside(asked.out / f"{name}.csv") as draft:
                _write(draft, windows, found)
        yield class_prediction(path, found.mean(0), loaded.classes)


def columns(classes: Sequence[str]) -> list[str]:
    """The classes."""
    return list(classes)


def _names(videos: Sequence[str]) -> list[str]:
    """A name for the output of each video: its own, with a number where several have it.

    Example:
        >>> _names(["a/x.mp4", "b/x.mp4", "y.mov"])
        ['x', 'x-2', 'y']
    """
    seen: dict[str, int] = {}
    names = []
    for path in videos:
        stem = Path(path).stem
        seen[stem] = seen.get(stem, 0) + 1
        names.append(stem if seen[stem] == 1 else f"{stem}-{seen[stem]}")
    return names


def _write(path: Path, windows: Clips, probs: Tensor) -> None:
    """A row a window: when it begins and ends, seconds from the video's beginning; its class; all probabilities."""
    first = windows.facts(0).start
    with path.open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow(["start", "end", "label", "confidence", *windows.classes])
        for row, shares in enumerate(probs):
            facts, best = windows.facts(row), int(shares.argmax())
            start = (facts.start - first) / 1e6
            span = [f"{start:.3f}", f"{start + facts.length / 1e6:.3f}"]
            scores = [f"{share:.6g}" for share in shares.tolist()]
            table.writerow([*span, windows.classes[best], f"{float(shares[best]):.6f}", *scores])
