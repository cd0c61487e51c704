"""The cache of decoded photos: it saves time and changes nothing else."""

from __future__ import annotations

import errno
import multiprocessing
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from hone.data import Examples, photos, read_image
from hone.data.decoded_cache import DecodedCache, parse_bytes
from hone.data.photos import Photos
from hone.data.scan import scan_all

from .conftest import photo


@pytest.fixture
def paths(tmp_path: Path) -> list[str]:
    made = [str(tmp_path / f"{k}.png") for k in range(6)]
    for k, path in enumerate(made):
        photo(k, 40 + k, 30).save(path)
    return made


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are decoded."""
    names: list[str] = []

    def counted(path: str, *options: object) -> torch.Tensor:
        names.append(Path(path).name)
        return read_image(path, *options)

    monkeypatch.setattr(photos, "read_image", counted)
    return names


Open = Callable[..., Photos]


def opened(paths: list[str], side: int = 20, cache: str | int = "1MB") -> Photos:
    return Photos(Examples(paths, torch.zeros(len(paths)), [], "regress"), side, "bilinear", cache)


def test_each_photo_is_decoded_once_even_by_the_next_run(paths: list[str], decoded: list[str]) -> None:
    plain = [read_image(path, 20) for path in paths]
    for _ in range(3):
        cached = opened(paths)
        for _ in range(2):
            assert all(torch.equal(cached[row], plain[row]) for row in range(6))
    assert len(decoded) == 6


def test_a_changed_file_is_decoded_anew(paths: list[str], decoded: list[str]) -> None:
    assert opened(paths)[2].shape == (20, 28, 3)
    photo(77, 60, 30).save(paths[2])
    assert torch.equal(opened(paths)[2], read_image(paths[2], 20))
    os.utime(paths[2], ns=(5, 5))
    opened(paths)[2]
    assert decoded == ["2.png"] * 3


def test_another_size_has_its_own_cache(paths: list[str], decoded: list[str]) -> None:
    assert opened(paths, 20)[0].shape[0] == 20 and opened(paths, 16)[0].shape[0] == 16
    assert len(decoded) == 2


def test_the_budget_bounds_the_file(paths: list[str], decoded: list[str], tmp_path: Path) -> None:
    budget = 3 * (4 + 20 * 28 * 3)
    for _ in range(2):
        cached = opened(paths, cache=budget)
        assert all(torch.equal(cached[row], read_image(paths[row], 20)) for row in range(6))
    (file,) = (tmp_path / "cache" / "decoded").iterdir()
    assert file.stat().st_size <= budget
    # Two or three fit; they stay, the others are decoded each time.
    assert 6 + 3 <= len(decoded) <= 6 + 4
    assert cached.cache is not None and 2 <= cached.cache.kept.sum() <= 3


def test_no_cache_writes_nothing(paths: list[str], tmp_path: Path) -> None:
    opened(paths, cache=0)[0]
    assert not (tmp_path / "cache").exists()


def test_old_caches_make_room(paths: list[str], tmp_path: Path) -> None:
    for side in range(10, 20):
        cached = opened(paths, side, cache=12_000)
        for row in range(6):
            cached[row]
    total = sum(file.stat().st_blocks * 512 for file in (tmp_path / "cache" / "decoded").iterdir())
    assert total <= 3 * 12_000


@pytest.mark.parametrize("damage", ["flipped", "half", "gone"])
def test_a_damaged_cache_is_decoded_anew(paths: list[str], tmp_path: Path, damage: str) -> None:
    cached = opened(paths)
    plain = [cached[row].clone() for row in range(6)]
    (file,) = (tmp_path / "cache" / "decoded").iterdir()
    content = bytearray(file.read_bytes())
    if damage == "flipped":
        content[len(content) // 2] ^= 1
        file.write_bytes(content)
    elif damage == "half":
        file.write_bytes(content[: len(content) // 2])
    else:
        file.unlink()
    again = opened(paths)
    assert all(torch.equal(again[row], plain[row]) for row in range(6))


def test_a_full_disk_stops_the_cache_not_the_run(
    paths: list[str], decoded: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = opened(paths)
    cached[0], cached[0]

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "pwritev", full)
    assert all(torch.equal(cached[row], read_image(paths[row], 20)) for row in (0, 1, 1, 2))
    assert decoded == ["0.png", "1.png", "1.png", "2.png"]


def test_a_folder_that_cannot_be_written_is_no_error(paths: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_CACHE", f"{paths[0]}/below-a-file")
    assert torch.equal(opened(paths)[1], read_image(paths[1], 20))


def test_a_size_that_the_header_did_not_say_is_not_kept(paths: list[str], tmp_path: Path) -> None:
    cache = DecodedCache(paths, scan_all(paths), 20, "bilinear", 10**6, tmp_path / "own")
    cache.put(0, torch.zeros(5, 5, 3, dtype=torch.uint8))
    assert cache.get(0) is None


def read_row(cached: Photos, row: int) -> int:
    return int(cached[row].sum())


def test_processes_share_one_file(paths: list[str], decoded: list[str]) -> None:
    cached = opened(paths)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        sums = pool.starmap(read_row, [(cached, row) for row in range(6)])
    assert sums == [read_row(cached, row) for row in range(6)]
    # They were decoded over there; here all of them come from the file.
    assert decoded == []


def test_slots_do_not_overlap(paths: list[str], tmp_path: Path) -> None:
    cache = DecodedCache(paths, scan_all(paths), 20, "bilinear", 10**6, tmp_path / "own")
    lengths = np.array([4 + 3 * height * width for height, width in cache.shapes])
    order = np.argsort(cache.starts)
    assert (cache.starts[order][1:] == (cache.starts + lengths)[order][:-1]).all()


@pytest.mark.parametrize(
    ("text", "number"),
    [("2GB", 2 * 10**9), ("1.5 MiB", 3 * 2**19), ("7", 7), (0, 0), ("10kb", 10_000), ("3 TB", 3 * 10**12)],
)
def test_bytes_are_understood(text: str | int, number: int) -> None:
    assert parse_bytes(text) == number


@pytest.mark.parametrize("text", ["", "-1", "2 pints", "GB", True, "1e3"])
def test_bytes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="cache must be a number of bytes"):
        parse_bytes(text)
