"""Which files belong together: folders of images and labels, Medical Segmentation Decathlon, nnU-Net, class folders."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ...checks import invalid
from ..listing import SPLIT_NAMES
from .cases import Case, VolumeListing

SUFFIXES = (".nii.gz", ".nii")
#: nnU-Net's names of the files of one case: CASE_0000.nii.gz is its first modality.
_MODALITY = re.compile(r"(.+)_(\d{4})")
#: Of many wrong files, so many are named.
_NAMED = 12


def list_segmentation(root: Path) -> VolumeListing:
    """Pair images and labels of a folder.

    ``train/images`` and ``train/labels`` with ``val`` and perhaps ``test`` beside them; ``images`` and ``labels``
    alone; or ``imagesTr`` and ``labelsTr`` (with ``imagesTs`` and ``labelsTs``, where there are both, as test). A
    ``dataset.json`` beside them names classes and modalities.

    Raises:
        ValueError: an image without its label or a label without its image (all are named), or no volumes.
    """
    known = _dataset_json(root / "dataset.json")
    if (root / "imagesTr").is_dir():
        folders = [("", root / "imagesTr", root / "labelsTr")]
        if (root / "imagesTs").is_dir() and (root / "labelsTs").is_dir():
            folders.append(("test", root / "imagesTs", root / "labelsTs"))
    else:
        folders = [(kind, part / "images", part / "labels") for kind, part in _parts(root)]
        folders = [each for each in folders if each[1].is_dir()]
    cases = [case for kind, images, labels in folders for case in _paired(images, labels, kind)]
    if not cases:
        wanted = "hold volumes: images/*.nii.gz and labels/*.nii.gz, or imagesTr and labelsTr"
        raise invalid("DATA", wanted, str(root))
    ignored = sum(len(_others(folder)) for _, *pair in folders for folder in pair)
    return VolumeListing(cases, *known, ignored)


def list_classification(root: Path) -> VolumeListing:
    """Volumes in the folders of their classes: ``train/CLASS/*.nii.gz`` with ``val`` beside it, or ``CLASS/*`` alone.

    Raises:
        ValueError: a class folder holds no volume, or there is none.
    """
    cases: list[Case] = []
    ignored = 0
    for kind, part in _parts(root):
        for folder in sorted(path for path in part.iterdir() if path.is_dir() and not path.name.startswith(".")):
            files = sorted(path for path in folder.rglob("*") if is_volume(path))
            if not files:
                raise invalid("class folder", "hold at least one volume", str(folder), "remove it, or fill it")
            cases += [Case((str(path),), None, kind, folder.name) for path in files]
            ignored += len(_others(folder))
    if not cases:
        raise invalid("DATA", "hold volumes in class folders, CLASS/*.nii.gz or train/CLASS/*.nii.gz", str(root))
    return VolumeListing(cases, sorted({case.name for case in cases}), ignored=ignored)


def find_volumes(paths: Sequence[str | Path]) -> list[Case]:
    """The volumes that a person means by files and folders; files named CASE_0000, CASE_0001 are one volume's.

    Raises:
        ValueError: a path is not there, or a folder holds no volume.
    """
    found: list[Case] = []
    for path in map(Path, paths):
        inside = [path] if path.is_file() else sorted(file for file in path.rglob("*") if is_volume(file))
        if not inside:
            raise invalid("PATH", "be a volume (.nii, .nii.gz) or a folder of them", str(path))
        found += [Case(tuple(map(str, files))) for files in _grouped(inside, set()).values()]
    return found


def is_volume(path: Path) -> bool:
    """Whether a file counts as a volume by its name; names that begin with a dot are passed over."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file()


def stem(path: str | Path) -> str:
    """The file's name without what says that it is NIfTI.

    Example:
        >>> stem("images/case.1.nii.gz")
        'case.1'
    """
    name = Path(path).name
    return name[: -len(next(suffix for suffix in SUFFIXES if name.lower().endswith(suffix)))]


def _parts(root: Path) -> list[tuple[str, Path]]:
    """("train", root/train), ("val", root/val), ...; ("", root) where there is no train folder.

    Where train has no val beside it, its kind is "" too: it will be divided.
    """
    found: dict[str, Path] = {}
    for name, kind in SPLIT_NAMES.items():
        if (root / name).is_dir():
            if kind in found:
                raise invalid("DATA", f"hold one {kind} folder", f"{found[kind].name} and {name}")
            found[kind] = root / name
    if "train" not in found:
        return [("", root)]
    if "val" not in found:
        found = {"": found.pop("train")} | found
    return list(found.items())


def _others(folder: Path) -> list[Path]:
    inside = folder.iterdir() if folder.is_dir() else ()
    return [path for path in inside if path.is_file() and not path.name.startswith(".") and not is_volume(path)]


def _paired(images: Path, labels: Path, kind: str) -> list[Case]:
    maps = {stem(path): path for path in sorted(labels.iterdir()) if is_volume(path)} if labels.is_dir() else {}
    volumes = _grouped(sorted(path for path in images.iterdir() if is_volume(path)), set(maps))
    alone = [str(files[0]) for name, files in volumes.items() if name not in maps]
    orphans = [str(path) for name, path in maps.items() if name not in volumes]
    if alone or orphans:
        said = [f"no label for {_named(alone)}"] * bool(alone) + [f"no image for {_named(orphans)}"] * bool(orphans)
        raise ValueError(f"each image must have a label of its name in {labels.name}: {'; '.join(said)}")
    return [Case(tuple(map(str, files)), str(maps[name]), kind) for name, files in volumes.items()]


def _grouped(paths: Sequence[Path], labelled: set[str]) -> dict[str, list[Path]]:
    """Name of a case -> its files, a modality each, in the order of their numbers."""
    groups: dict[str, list[Path]] = {}
    for path in paths:
        match = _MODALITY.fullmatch(stem(path))
        # A file whose own name has a label is a case by itself, whatever it ends in.
        name = match[1] if match and stem(path) not in labelled else stem(path)
        groups.setdefault(name, []).append(path)
    return groups


def _named(files: Sequence[str]) -> str:
    more = f" and {len(files) - _NAMED} more" if len(files) > _NAMED else ""
    return ", ".join(files[:_NAMED]) + more


def _dataset_json(file: Path) -> tuple[list[str] | None, tuple[str, ...], int | None]:
    """Classes, modalities and the value to ignore that a ``dataset.json`` names, of either generation."""
    if not file.is_file():
        return None, (), None
    try:
        content = json.loads(file.read_text())
        channels = content.get("channel_names") or content.get("modality") or {}
        modalities = tuple(str(channels[key]) for key in sorted(channels, key=int))
        labels = _by_value(content["labels"], file) if "labels" in content else {}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{file} can't be read as a dataset.json of nnU-Net or the Decathlon: {error}") from None
    ignore = next((value for value, name in labels.items() if name == "ignore"), None)
    values = sorted(value for value in labels if value != ignore)
    if values != list(range(len(values))):
        raise invalid(f"{file}: labels", "count from 0 without gaps", labels)
    return [labels[value] for value in values] or None, modalities, ignore


def _by_value(labels: dict[str, Any], file: Path) -> dict[int, str]:
    """{1: "liver"} of {"1": "liver"} (Decathlon) or {"liver": 1} (nnU-Net)."""
    if any(isinstance(value, list) for value in labels.values()):
        raise ValueError(
            f"{file}: labels that are regions of several values are not supported; give each value its class"
        )
    if all(str(key).isdecimal() for key in labels):
        return {int(key): str(name) for key, name in labels.items()}
    return {int(value): name for name, value in labels.items()}
