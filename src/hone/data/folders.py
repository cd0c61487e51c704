"""Read a folder of class folders."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

from ..checks import invalid

#: Names by which a file counts as an image. What is inside is found out by reading it.
SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".jpe", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff", ".ppm", ".pgm", ".jfif")
)
TRAIN, VAL, TEST = ("train", "training"), ("val", "valid", "validation"), ("test",)


@dataclass(frozen=True)
class Listing:
    """The files of one folder of class folders.

    Args:
        paths: the image files, sorted within each class.
        labels: the class folder of each.
        ignored: files that are no images by their name.
    """

    paths: list[str] = field(default_factory=list)
    labels: list[str] = field(default_factory=list)
    ignored: int = 0


def list_split_folders(root: Path) -> dict[str, Listing]:
    """List ``train/CLASS/*`` with ``val`` and ``test`` beside it, or ``CLASS/*`` alone, as {"train", "val", "test"}.

    Class folders are searched to any depth. Names that begin with a dot are passed over.

    Raises:
        ValueError: a class folder holds no image, or there is none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         (Path(folder) / name).mkdir()
        ...         (Path(folder) / name / "1.jpg").touch()
        ...     list_split_folders(Path(folder))["train"].labels
        ['cat', 'dog']
    """
    found = {kind: _first_folder(root, names) for kind, names in (("train", TRAIN), ("val", VAL), ("test", TEST))}
    if found["train"] is None:
        return {"train": _list_classes(root)}
    return {kind: _list_classes(folder) for kind, folder in found.items() if folder is not None}


def _first_folder(root: Path, names: tuple[str, ...]) -> Path | None:
    return next((root / name for name in names if (root / name).is_dir()), None)


def _list_classes(root: Path) -> Listing:
    paths: list[str] = []
    labels: list[str] = []
    ignored = 0
    for entry in sorted(os.scandir(root), key=lambda entry: entry.name):
        if entry.name.startswith("."):
            continue
        if not entry.is_dir():
            ignored += 1
            continue
        images, others = _images_below(entry.path)
        if not images:
            raise invalid("class folder", "hold at least one image", entry.path, "remove it, or fill it")
        paths += sorted(images)
        labels += [entry.name] * len(images)
        ignored += others
    if not paths:
        raise invalid("DATA", "hold images in class folders: CLASS/*.jpg or train/CLASS/*.jpg", str(root))
    return Listing(paths, labels, ignored)


def _images_below(folder: str) -> tuple[list[str], int]:
    images: list[str] = []
    ignored = 0
    for directory, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in names:
            if name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122 (Path costs ten times as much a file)
                images.append(f"{directory}/{name}")
            else:
                ignored += 1
    return images, ignored
