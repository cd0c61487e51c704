"""Read a folder of class folders."""

from __future__ import annotations

import os
from pathlib import Path

from ..checks import invalid
from .listing import SPLIT_NAMES, SUFFIXES, Listing


def list_folders(root: Path) -> Listing:
    """List ``train/CLASS/*`` with ``val`` and ``test`` beside it, or ``CLASS/*`` alone.

    Class folders are searched to any depth. Names that begin with a dot are passed over.

    Args:
        root: the folder.

    Raises:
        ValueError: a class folder holds no image, or there is none.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("cat", "dog"):
        ...         (Path(folder) / name).mkdir()
        ...         (Path(folder) / name / "1.jpg").touch()
        ...     list_folders(Path(folder)).labels
        [('cat',), ('dog',)]
    """
    parts = split_folders(root)
    listing = Listing([], [], [], "classify", [])
    ignored = 0
    for kind, folder in parts.items():
        for name, images, others in _classes(folder):
            if not images:
                raise invalid("class folder", "hold at least one image", f"{folder / name}", "remove it, or fill it")
            listing.paths.extend(images)
            listing.labels.extend([(name,)] * len(images))
            listing.kinds.extend([kind] * len(images))
            ignored += others
        ignored += sum(entry.is_file() and not entry.name.startswith(".") for entry in os.scandir(folder))
    if not listing.paths:
        raise invalid("DATA", "hold images in class folders, CLASS/*.jpg or train/CLASS/*.jpg", str(root))
    classes = sorted({name for (name,) in listing.labels})
    return Listing(listing.paths, listing.labels, listing.kinds, "classify", classes, ignored)


def split_folders(root: Path) -> dict[str, Path]:
    """{"train": root/train, "val": root/valid, ...}, or {"": root} where there is no train folder.

    Where train has no val beside it, its kind is "" too: it will be divided.
    """
    found: dict[str, Path] = {}
    for name, kind in SPLIT_NAMES.items():
        if (root / name).is_dir():
            if kind in found:
                raise invalid("DATA", f"hold one {kind} folder", f"{found[kind].name} and {name}")
            found[kind] = root / name
    if "train" not in found:
        return {"": root}
    if "val" not in found:
        found[""] = found.pop("train")
    return found


def _classes(root: Path) -> list[tuple[str, list[str], int]]:
    """(class, its image files sorted, how many other files it holds) of each class folder, sorted."""
    names = sorted(entry.name for entry in os.scandir(root) if entry.is_dir() and not entry.name.startswith("."))
    return [(name, *_images_below(f"{root}/{name}")) for name in names]


def _images_below(folder: str) -> tuple[list[str], int]:
    images: list[str] = []
    others = 0
    for directory, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if not name.startswith(".")]
        for name in names:
            # os.path: pathlib costs ten times as much a file, and there may be millions.
            if name.startswith("."):
                continue
            if os.path.splitext(name)[1].lower() in SUFFIXES:  # noqa: PTH122
                images.append(f"{directory}/{name}")
            else:
                others += 1
    return sorted(images), others
