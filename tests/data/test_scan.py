"""The quick look: right about size and wholeness, remembered as long as the file stays as it is."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from PIL import Image

from hone.data import headers, read_image, scan
from hone.data.headers import look_at

from .conftest import photo


def exif(orientation: int) -> Image.Exif:
    made = Image.Exif()
    made[0x0112] = orientation
    made[0x010F] = "A maker of cameras"
    made.get_ifd(0x8769)[0x9286] = b"c" * 5000
    return made


FORMS = {
    "plain.jpg": {},
    "progressive.jpg": {"progressive": True},
    "grey.jpg": {"mode": "L"},
    "cmyk.jpg": {"mode": "CMYK"},
    "profile.jpg": {"icc_profile": b"p" * 70000},
    "comment.jpg": {"comment": b"c" * 3000},
    **{f"turned{k}.jpg": {"exif": k} for k in range(1, 9)},
    "plain.png": {},
    "turned6.png": {"exif": 6},
    "turned8.tif": {"exif": 8},
    "plain.webp": {},
    "turned5.webp": {"exif": 5},
    "plain.bmp": {},
    "plain.gif": {"mode": "P"},
    "png_inside.jpg": {"format": "PNG"},
}


@pytest.mark.parametrize("name", FORMS)
def test_the_size_is_that_of_the_decoded_image(tmp_path: Path, name: str) -> None:
    options = dict(FORMS[name])
    image = photo(1, 70, 40).convert(options.pop("mode", "RGB"))
    if "exif" in options:
        options["exif"] = exif(options["exif"])
    image.save(tmp_path / name, **options)
    height, width = read_image(tmp_path / name).shape[:2]
    assert look_at(str(tmp_path / name)) == (width, height)


def test_whole_jpegs_and_pngs_are_not_decoded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photo(1, 70, 40).save(tmp_path / "a.jpg", exif=exif(6))
    photo(1, 70, 40).save(tmp_path / "a.png")
    monkeypatch.setattr(headers, "decode", lambda path: pytest.fail("decoded"))
    monkeypatch.setattr(Image, "open", lambda path: pytest.fail("opened by Pillow"))
    assert look_at(str(tmp_path / "a.jpg")) == (40, 70)
    assert look_at(str(tmp_path / "a.png")) == (70, 40)


def test_bytes_after_the_end_marker_are_no_damage(tmp_path: Path) -> None:
    photo(1, 70, 40).save(tmp_path / "a.jpg")
    with (tmp_path / "a.jpg").open("ab") as file:
        file.write(b"trailer of a phone")
    assert look_at(str(tmp_path / "a.jpg")) == (70, 40)


@pytest.mark.parametrize("suffix", ["jpg", "png"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.95])
def test_every_cut_is_found(tmp_path: Path, suffix: str, share: float) -> None:
    photo(2, 200, 160).save(tmp_path / f"a.{suffix}")
    whole = (tmp_path / f"a.{suffix}").read_bytes()
    (tmp_path / f"a.{suffix}").write_bytes(whole[: int(share * len(whole))])
    with pytest.raises(ValueError, match=r"truncated|content is not"):
        look_at(str(tmp_path / f"a.{suffix}"))


@pytest.mark.parametrize(
    ("content", "reason"), [(b"", "the file is empty"), (b"hello\n" * 9, "content is not"), (b"\xff\xd8\xff\xd9", ".")]
)
def test_what_is_no_image(tmp_path: Path, content: bytes, reason: str) -> None:
    (tmp_path / "a.jpg").write_bytes(content)
    with pytest.raises(ValueError, match=reason):
        look_at(str(tmp_path / "a.jpg"))


@pytest.fixture
def looks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[list[str], list[str]]:
    """Five photos that count as many enough, and the list of those that are looked at."""
    paths = [str(tmp_path / f"{k}.jpg") for k in range(5)]
    for k, path in enumerate(paths):
        photo(k).save(path)
    seen: list[str] = []
    monkeypatch.setattr(scan, "_WORTH_REMEMBERING", 5)
    monkeypatch.setattr(scan, "look_at", lambda path: seen.append(path) or look_at(path))
    return paths, seen


def test_a_second_scan_opens_only_what_changed(looks: tuple[list[str], list[str]], tmp_path: Path) -> None:
    paths, seen = looks
    first, _ = scan.scan(paths, tmp_path)
    assert seen == paths
    seen.clear()
    second, _ = scan.scan(paths, tmp_path)
    assert seen == [] and (second == first).all()
    photo(9, 80, 90).save(paths[1])
    os.utime(paths[3], ns=(1, 1))
    third, _ = scan.scan(paths, tmp_path)
    assert seen == [paths[1], paths[3]] and third[1, 2:].tolist() == [80, 90]


def test_unreadable_files_are_looked_at_again(looks: tuple[list[str], list[str]], tmp_path: Path) -> None:
    paths, seen = looks
    Path(paths[2]).write_text("x")
    for _ in range(2):
        _, wrong = scan.scan(paths, tmp_path)
        assert list(wrong) == [2]
    assert seen == [*paths, paths[2]]


def test_a_damaged_memory_is_no_harm(looks: tuple[list[str], list[str]], tmp_path: Path) -> None:
    paths, seen = looks
    first, _ = scan.scan(paths, tmp_path)
    (memory,) = (tmp_path / "cache" / "scans").iterdir()
    memory.write_bytes(memory.read_bytes()[:50])
    again, _ = scan.scan(paths, tmp_path)
    assert (first == again).all() and len(seen) == 10


def test_a_cache_folder_that_cannot_be_written_is_no_error(
    looks: tuple[list[str], list[str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("HONE_CACHE", str(tmp_path / "file"))
    stats, wrong = scan.scan(looks[0], tmp_path)
    assert len(stats) == 5 and not wrong
