"""Which mask belongs to which image, from the names in a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path, PurePath

from ...checks import invalid
from ..folders import split_folders
from ..listing import SUFFIXES

#: Of many files without a partner, so many are named.
_NAMED = 20


@dataclass(frozen=True)
class Pair:
    """An image and its mask.

    Attributes:
        image: the file.
        masks: one file of class indices; or a file for each label, "" where the image has none for it.
        kind: "train", "val", "test", or "" where the data leaves it open.
    """

    image: str
    masks: tuple[str, ...]
    kind: str


@dataclass(frozen=True)
class MaskListing:
    """The pairs of a data set.

    Attributes:
        pairs: by part, then by name.
        labels: the names of the labels where a pixel may have several; None where masks hold class indices.
        ignored: files that are no images by their name.
        notes: what a person should know about how the layout was understood.
    """

    pairs: list[Pair]
    labels: list[str] | None
    ignored: int = 0
    notes: list[str] = field(default_factory=list)


def list_masks(root: Path) -> MaskListing:
    """List ``images/STEM.*`` with ``masks/STEM.*`` in ``train``, ``val`` and ``test``, or in the folder itself.

    Where ``masks`` holds folders of which ``images`` has none, each is a label: ``masks/LABEL/STEM.png``.

    Args:
        root: the folder.

    Raises:
        ValueError: an image without a mask or a mask without an image (all of them are named), two images or masks of
            one name, parts that differ in layout.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     for name in ("images/a.jpg", "masks/a.png"):
        ...         (Path(folder) / name).parent.mkdir()
        ...         (Path(folder) / name).touch()
        ...     [PurePath(mask).name for mask in list_masks(Path(folder)).pairs[0].masks]
        ['a.png']
    """
    if not root.is_dir():
        raise invalid("DATA", "be a folder of images/ and masks/", str(root))
    parts = {kind: folder for kind, folder in split_folders(root).items() if _holds_pairs(folder, kind)}
    labels = {kind: _labels(folder) for kind, folder in parts.items()}
    kinds = {found is not None for found in labels.values()}
    if len(kinds) > 1:
        raise invalid("masks/", "hold label folders in every part or in none", ", ".join(map(str, parts.values())))
    names = sorted({name for found in labels.values() for name in found or []}) if True in kinds else None
    pairs: list[Pair] = []
    alone: dict[str, list[str]] = {"image": [], "mask": []}
    ignored = missing = 0
    for kind, folder in parts.items():
        images, others = _files(folder / "images")
        masks, more = _masks(folder / "masks", names)
        ignored += others + more
        alone["image"] += [path for stem, path in images.items() if not any(masks.get(stem, ()))]
        alone["mask"] += [path for stem, found in masks.items() if stem not in images for path in found if path]
        pairs += [Pair(images[stem], masks[stem], kind) for stem in sorted(images) if stem in masks]
        missing += sum(not path for stem in images for path in masks.get(stem, ()))
    _check_partners(alone)
    notes = (
        [f"{missing:,} masks of single labels are not there: those images have none of the label"] if missing else []
    )
    return MaskListing(pairs, names, ignored, notes)


def _holds_pairs(folder: Path, kind: str) -> bool:
    """Whether there are both; a test part without masks is no part to measure on."""
    missing = [name for name in ("images", "masks") if not (folder / name).is_dir()]
    if missing and not (kind == "test" and missing == ["masks"]):
        raise invalid("DATA", f"hold the folder {missing[0]}/ for task segment", str(folder))
    return not missing


def _labels(folder: Path) -> list[str] | None:
    """The label folders in ``masks``, or None."""
    inside = {name: _folders_in(folder / name) for name in ("images", "masks")}
    return inside["masks"] if inside["masks"] and not set(inside["masks"]) & set(inside["images"]) else None


def _folders_in(folder: Path) -> list[str]:
    return sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))


def _masks(folder: Path, labels: list[str] | None) -> tuple[dict[str, tuple[str, ...]], int]:
    """The mask, or the masks of all labels, of each stem."""
    if labels is None:
        found, ignored = _files(folder)
        return {stem: (path,) for stem, path in found.items()}, ignored
    listed = [_files(folder / name) if (folder / name).is_dir() else ({}, 0) for name in labels]
    stems = {stem for found, _ in listed for stem in found}
    return {stem: tuple(found.get(stem, "") for found, _ in listed) for stem in stems}, sum(n for _, n in listed)


def _files(folder: Path) -> tuple[dict[str, str], int]:
    """The image files below a folder by their place in it less the suffix, and how many others there are."""
    found: dict[str, str] = {}
    ignored = 0
    for directory, folders, names in os.walk(folder, followlinks=True):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(name for name in names if not name.startswith(".")):
            path = PurePath(directory, name)
            if path.suffix.lower() not in SUFFIXES:
                ignored += 1
                continue
            stem = path.relative_to(folder).with_suffix("").as_posix()
            if stem in found:
                raise invalid(str(folder), f"hold one file named {stem}", f"{PurePath(found[stem]).name} and {name}")
            found[stem] = str(path)
    return found, ignored


def _check_partners(alone: dict[str, list[str]]) -> None:
    parts = [f"{what}s without {other}: {_named(alone[what])}" for what, other in _PARTNERS if alone[what]]
    if parts:
        raise ValueError(f"every image needs a mask of the same name, and every mask an image; {'; '.join(parts)}")


_PARTNERS = (("image", "mask"), ("mask", "image"))


def _named(paths: list[str]) -> str:
    more = f" and {len(paths) - _NAMED:,} more" if len(paths) > _NAMED else ""
    return ", ".join(paths[:_NAMED]) + more
