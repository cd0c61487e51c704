"""Runs of ``hone`` inside the test process, on made photos, with a user's own module beside them."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hone import cli
from hone.recipe import Run

from .made import OWN_PARTS, class_folders

#: A run of a fraction of a second.
SMALL = {"--model": "own_parts:normed", "--image-size": "32", "--batch-size": "8", "--updates": "6", "--device": "cpu"}


@pytest.fixture(scope="session")
def own_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder in which the user works, with ``own_parts.py`` in it."""
    folder = tmp_path_factory.mktemp("user")
    (folder / "own_parts.py").write_text(OWN_PARTS)
    return folder


@pytest.fixture(scope="session", autouse=True)
def _session(own_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """No run touches the user's own cache folder; ``own_parts`` can be imported."""
    before, os.environ["HONE_CACHE"] = os.environ.get("HONE_CACHE"), str(tmp_path_factory.mktemp("cache"))
    sys.path.insert(0, str(own_folder))
    yield
    sys.path.remove(str(own_folder))
    os.environ.pop("HONE_CACHE")
    if before is not None:
        os.environ["HONE_CACHE"] = before


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """train/CLASS of 12 each (ant 12, bee 8, cat 4), and val/CLASS of 5, 4, 2: an odd number."""
    root = tmp_path_factory.mktemp("photos")
    class_folders(root / "train", (12, 8, 4))
    class_folders(root / "val", (5, 4, 2), seed=1)
    return root


def small_words(data: Path | str, out: Path, *words: str) -> list[str]:
    """The words after ``hone``: a small run, unless they say otherwise."""
    stated = {*words, *(["--updates"] if "--epochs" in words else []), *(["--model"] if "--from" in words else [])}
    defaults = [part for option, value in SMALL.items() if option not in stated for part in (option, value)]
    return ["fit", str(data), *defaults, *words, "--out", str(out)]


@pytest.fixture(scope="module")
def fit(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """fit(DATA, "--option", "value", ...): a run that succeeds."""

    def run(data: Path | str, *words: str) -> Run:
        out = tmp_path_factory.mktemp("runs") / "run"
        assert cli.main(small_words(data, out, *words)) == 0
        return Run(out)

    return run
