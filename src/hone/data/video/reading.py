"""Read a folder of clips by class: which clips, which targets, which split, and all that is wrong with them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from ...checks import invalid, number
from ..examples import Splits
from ..folders import split_folders
from ..layout import VIDEO_SUFFIXES
from ..scan import scan
from ..splitting import split_rows
from .clips import Clips
from .decoding import unreadable_clip
from .opening import VideoFacts, look_at_video
from .pictures import is_picture, is_picture_folder, look_at_pictures


def look_at_clip(path: str) -> VideoFacts:
    """The facts of a video file or a folder of pictures.

    Raises:
        ValueError: it can't be read; the message is the reason alone.
    """
    return look_at_pictures(path) if is_picture_folder(path) else look_at_video(path)


def read_clips(
    data: str | Path,
    *,
    val_fraction: float = 0.2,
    seed: int = 0,
    skip_unreadable: bool = False,
    classes: Sequence[str] | None = None,
) -> Splits:
    """Read the layout of a folder of clips and look at every file once; what was seen is remembered until it changes.

    ``train/CLASS/*`` with ``val/CLASS/*`` and perhaps ``test/CLASS/*``, or ``CLASS/*`` alone. A clip is a video file
    (mp4, m4v, mov, mkv, webm, avi), or a folder of pictures, at any depth below its class. Where the data holds no val,
    ``val_fraction`` of each class becomes it.

    Args:
        data: the folder.
        val_fraction: the share that validates where the data does not say it itself, in [0, 1).
        seed: of that division.
        skip_unreadable: leave clips out that can't be read, and name them in ``Splits.skipped``.
        classes: what the targets are counted in, for data that a trained model is tried on: not each of them must be
            shown, and no other one may be.

    Returns:
        Splits of :class:`Clips`.

    Raises:
        ValueError: no clips; one class only; a class in one part that another lacks; a clip that can't be read.
    """
    root = Path(data)
    number("val_fraction", val_fraction, at_least=0, below=1)
    if not root.is_dir():
        raise invalid("DATA", "be a folder that exists", str(root))
    paths, names, kinds, ignored = _list(root)
    stats, wrong = scan(paths, root, look_at_clip, columns=len(VideoFacts._fields))
    if wrong and not skip_unreadable:
        row, reason = next(iter(wrong.items()))
        raise unreadable_clip(paths[row], reason + (f", and {len(wrong) - 1} more clips" if len(wrong) > 1 else ""))
    known = _classes(sorted(set(names)), classes)
    targets = torch.tensor([known.index(name) for name in names], dtype=torch.int64)
    everything = Clips(paths, targets, known, "classify-video", stats)
    kept = np.array([row not in wrong for row in range(len(paths))])
    parts = {part: everything.take(rows) for part, rows in _rows(everything, kinds, kept, val_fraction, seed).items()}
    skipped = [f"{paths[row]}: {reason}" for row, reason in wrong.items()]
    if classes is None:
        _check(parts)
    return Splits(parts["train"], parts["val"], parts["test"], skipped, ignored)


def _list(root: Path) -> tuple[list[str], list[str], list[str], int]:
    """Paths, class names and parts of all clips, and how many files are none."""
    paths: list[str] = []
    names: list[str] = []
    kinds: list[str] = []
    ignored = 0
    for kind, folder in split_folders(root).items():
        classes = sorted(e.name for e in os.scandir(folder) if e.is_dir() and not e.name.startswith("."))
        for name in classes:
            clips, others = clips_below(f"{folder}/{name}", inside=True)
            if not clips:
                raise invalid(
                    "class folder",
                    "hold at least one clip (a video file, or a folder of pictures)",
                    f"{folder / name}",
                    "remove it, or fill it",
                )
            paths += clips
            names += [name] * len(clips)
            kinds += [kind] * len(clips)
            ignored += others
    if not paths:
        raise invalid("DATA", "hold clips in class folders, CLASS/*.mp4 or train/CLASS/*.mp4", str(root))
    return paths, names, kinds, ignored


def clips_below(folder: str, *, inside: bool) -> tuple[list[str], int]:
    """The clips below a folder, sorted, and how many other files it holds.

    Args:
        folder: where to look, to any depth.
        inside: whether pictures that lie in the folder itself are passed over (a class folder holds clips, and is
            none), or make the folder a clip.
    """
    clips: list[str] = []
    others = 0
    for directory, folders, files in os.walk(folder, followlinks=True):
        folders[:] = [each for each in folders if not each.startswith(".")]
        shown = [each for each in files if not each.startswith(".")]
        videos = [f"{directory}/{each}" for each in shown if each.lower().endswith(VIDEO_SUFFIXES)]
        pictures = 0 if videos or (inside and directory == folder) else sum(map(is_picture, shown))
        clips += [directory] if pictures else videos
        others += len(shown) - len(videos) - pictures
    return sorted(clips), others


def _classes(shown: list[str], known: Sequence[str] | None) -> list[str]:
    """The classes to count in."""
    if known is None:
        if len(shown) < 2:
            raise invalid("DATA", "hold at least 2 classes", f"{shown[0]} only", "one folder a class")
        return shown
    strange = [name for name in shown if name not in known]
    if strange:
        raise ValueError(
            f"DATA has classes that the run does not know: {', '.join(strange)}; it knows {', '.join(known)}"
        )
    return list(known)


def _rows(
    everything: Clips, kinds: list[str], kept: np.ndarray, val_fraction: float, seed: int
) -> dict[str, np.ndarray]:
    """The rows of each part."""
    parts = np.array(kinds)
    rows = {kind: np.flatnonzero(kept & (parts == kind)) for kind in ("train", "val", "test")}
    undecided = np.flatnonzero(kept & (parts == ""))
    if len(undecided):
        train, val = split_rows(everything.targets.numpy()[undecided], len(undecided), val_fraction, seed)
        rows["train"], rows["val"] = undecided[train], undecided[val]
    return rows


def _check(parts: dict[str, Clips]) -> None:
    """Every class must be trained on."""
    train = parts["train"]
    if not len(train):
        raise invalid("train", "hold at least one clip that can be read", 0)
    missing = [name for name, count in zip(train.classes, train.counts().tolist(), strict=True) if not count]
    if missing:
        raise invalid("train", "show every class", "none of " + ", ".join(missing))
