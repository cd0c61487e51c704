"""Look at every volume once; what was seen is remembered until a file changes."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..cache_folder import cache_folder, write_whole
from .cases import Case
from .facts import ImageFacts, LabelFacts, image_facts, label_facts
from .nifti import open_nifti

#: Of what is remembered; a change of meaning gets a new number.
_VERSION = 1


@dataclasses.dataclass(frozen=True)
class CaseFacts:
    """What is known of a case's voxels: of each image file, and of its label map."""

    images: tuple[ImageFacts, ...]
    label: LabelFacts | None


def scan_cases(cases: Sequence[Case], source: str | Path) -> tuple[dict[int, CaseFacts], dict[int, str]]:
    """The facts of each case by row, and of those that can't be read the reason.

    Args:
        cases: what to look at.
        source: the folder that they come from; what was seen is kept in the cache folder under its name.
    """
    memory = _Memory(source)
    found: dict[int, CaseFacts] = {}
    wrong: dict[int, str] = {}
    for row, case in enumerate(cases):
        try:
            found[row] = memory.facts(case)
        except ValueError as error:
            wrong[row] = str(error)
    memory.keep()
    return found, wrong


class _Memory:
    """Facts of cases by the state of their files."""

    def __init__(self, source: str | Path) -> None:
        name = hashlib.blake2b(os.fspath(Path(source).resolve()).encode(), digest_size=10).hexdigest()
        self.file = cache_folder() / "volume-scans" / f"{name}.json"
        self.known = _recall(self.file)
        self.used: dict[str, CaseFacts] = {}

    def facts(self, case: Case) -> CaseFacts:
        """What is remembered of a case, else what a look at it says."""
        key = state_of(case.files)
        self.used[key] = self.known[key] if key in self.known else look_at(case)
        return self.used[key]

    def keep(self) -> None:
        """Write down what was asked for, unless it is what was there."""
        if self.used.keys() != self.known.keys():
            cases = {key: dataclasses.asdict(facts) for key, facts in self.used.items()}
            write_whole(self.file, json.dumps({"version": _VERSION, "cases": cases}, separators=(",", ":")).encode())


def look_at(case: Case) -> CaseFacts:
    """Read every voxel of a case once.

    Raises:
        ValueError: a file can't be read; it is named.
    """
    images = tuple(open_nifti(path) for path in case.images)
    label = open_nifti(case.label) if case.label is not None else None
    return CaseFacts(
        tuple(image_facts(image) for image in images), label_facts(label, images) if label is not None else None
    )


def _recall(file: Path) -> dict[str, CaseFacts]:
    try:
        content = json.loads(file.read_bytes())
        if content["version"] != _VERSION:
            return {}
        return {key: _from_plain(facts) for key, facts in content["cases"].items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        # Not there, half a file, of another version: looking again is always right.
        return {}


def _from_plain(values: dict[str, Any]) -> CaseFacts:
    label = values["label"]
    images = tuple(ImageFacts.from_plain(image) for image in values["images"])
    return CaseFacts(images, LabelFacts.from_plain(label) if label is not None else None)


def state_of(files: Sequence[str]) -> str:
    """A name for some files as they are now: it changes with their lengths, times of change, and places.

    Raises:
        ValueError: a file is not there.
    """
    parts: list[str] = []
    for path in files:
        try:
            state = os.stat(path)  # noqa: PTH116 (as everywhere that many files are looked at)
        except OSError:
            raise ValueError(f"{path}: there is no such file") from None
        parts.append(f"{Path(path).absolute()}\0{state.st_size}\0{state.st_mtime_ns}")
    return hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=12).hexdigest()
