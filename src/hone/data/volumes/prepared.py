"""Prepared cases by row, each made once and kept on disk, mapped and never loaded whole."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import numpy as np

from ...checks import invalid
from ..cache_folder import cache_folder
from ..decoded_cache import parse_bytes
from .examples import VolumeExamples
from .preparing import Prepared, class_places, fill_image, label_dtype, prepared_shape, read_label
from .preprocessing import VolumePreprocessing
from .scan import state_of

_VERSION = "1"


class PreparedVolumes:
    """The cases of some examples, prepared. The cache changes the time, never a voxel.

    A case is prepared when it is first asked for, by whichever worker, and kept in files that are named after the
    state of its files and the preprocessing. The first cases within the budget are kept; those beyond it are prepared
    each time. Other data's files make room when all together exceed twice the budget.

    Args:
        examples: whose cases.
        preprocessing: spacing and normalisation.
        cache: bytes to keep, such as "2GB"; 0 keeps none.

    Raises:
        ValueError: the cases have other channels than the preprocessing.
    """

    def __init__(self, examples: VolumeExamples, preprocessing: VolumePreprocessing, cache: str | int = "2GB") -> None:
        if len(examples) and examples.channels != len(preprocessing.channels):
            wanted = f"have the {len(preprocessing.channels)} channels that the model was trained on"
            raise invalid("volumes", wanted, examples.channels)
        self.examples, self.preprocessing = examples, preprocessing
        self.folder = cache_folder() / "volumes"
        self.shapes = [prepared_shape(facts, preprocessing) for facts in examples.facts]
        self.keys = [self._key(row) for row in range(len(examples))]
        ends = np.cumsum([self._bytes(row) for row in range(len(examples))], dtype=np.int64)
        budget = parse_bytes(cache)
        needed = int(ends[-1]) if len(ends) else 0
        self.kept = ends <= (_make_room(self.folder, set(self.keys), budget, needed) if budget else 0)

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, row: int) -> Prepared:
        """A case, mapped from disk where it is kept.

        Raises:
            ValueError: a file can't be read any more; it is named.
        """
        if not self.kept[row]:
            return self._made(row, np.empty)
        found = self._mapped(row)
        if found is None:
            try:
                self._keep(row)
                found = self._mapped(row)
            except OSError:
                # A full disk or a read-only home costs time, not the run.
                self.kept[row] = False
        return found if found is not None else self._made(row, np.empty)

    def _key(self, row: int) -> str:
        how = (
            _VERSION,
            state_of(self.examples.cases[row].files),
            self.preprocessing.spacing,
            self.preprocessing.channels,
        )
        return hashlib.blake2b(repr(how).encode(), digest_size=12).hexdigest()

    def _bytes(self, row: int) -> int:
        label = self.examples.facts[row].label
        a_voxel = 2 * self.examples.channels + (np.dtype(label_dtype(label)).itemsize if label is not None else 0)
        return int(np.prod(self.shapes[row])) * a_voxel

    def _made(self, row: int, empty: Callable[..., np.ndarray]) -> Prepared:
        case, facts = self.examples.cases[row], self.examples.facts[row]
        image = empty((self.examples.channels, *self.shapes[row]), dtype=np.float16)
        fill_image(case, facts, self.preprocessing, image)
        label = read_label(case, facts, self.shapes[row])
        return Prepared(image, label, class_places(label, len(self.examples.classes)))

    def _file(self, row: int, part: str) -> Path:
        return self.folder / f"{self.keys[row]}.{part}.npy"

    def _mapped(self, row: int) -> Prepared | None:
        """The case as it lies on disk; None where it does not, or not whole."""
        has_label = self.examples.facts[row].label is not None
        try:
            image, places = (np.load(self._file(row, part), mmap_mode="r") for part in ("image", "places"))
            label = np.load(self._file(row, "label"), mmap_mode="r") if has_label else None
        except (OSError, ValueError, EOFError):
            return None
        return Prepared(image, label, places)

    def _keep(self, row: int) -> None:
        """Make a case in files beside their places, and rename them when they are whole."""
        self.folder.mkdir(parents=True, exist_ok=True)
        drafts = {part: self.folder / f"{self.keys[row]}.{part}.{os.getpid()}" for part in ("image", "label", "places")}

        def mapped(shape: tuple[int, ...], dtype: type[np.generic]) -> np.ndarray:
            return np.lib.format.open_memmap(drafts["image"], "w+", np.dtype(dtype), shape)

        try:
            made = self._made(row, mapped)
            for part, array in (("label", made.label), ("places", made.places)):
                if array is not None:
                    with drafts[part].open("wb") as file:
                        np.save(file, array)
            made.image.flush()  # type: ignore[attr-defined]
            for part, draft in drafts.items():
                if draft.exists():
                    draft.replace(self._file(row, part))
        finally:
            for draft in drafts.values():
                draft.unlink(missing_ok=True)


def _make_room(folder: Path, keys: set[str], budget: int, needed: int) -> int:
    """Delete the oldest files of other data where they take too much; returns how many bytes these cases may take."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        states = [(path, path.stat()) for path in folder.iterdir()]
        others = sorted((state.st_mtime, path, state.st_size) for path, state in states if path.name[:24] not in keys)
        own = sum(state.st_size for path, state in states if path.name[:24] in keys)
        total = own + sum(size for _, _, size in others)
        for _, path, size in others:
            if total <= 2 * budget:
                break
            with suppress(OSError):
                path.unlink()
            total -= size
        free = shutil.disk_usage(folder).free + own
    except OSError:
        return 0
    return min(budget, needed, free // 2)
