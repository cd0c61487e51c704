"""Thumbnails of photos as they come: turned, deep, with alpha, truncated, gone."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hone.report.thumbnails import SIDE, grey_picture, thumbnail


def opened(uri: str | None) -> Image.Image:
    assert uri is not None
    head, content = uri.split(",")
    assert head in ("data:image/jpeg;base64", "data:image/png;base64")
    return Image.open(io.BytesIO(base64.b64decode(content)))


@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "LA", "P", "CMYK", "1", "I;16", "I", "F"])
def test_every_kind_of_picture_becomes_a_square(mode: str, tmp_path: Path) -> None:
    ramp = np.linspace(0, 1, 60 * 90).reshape(60, 90)
    deep = {"I;16": np.uint16, "I": np.int32, "F": np.float32}
    if mode in deep:
        image = Image.fromarray((ramp * 60_000).astype(deep[mode]))
    else:
        image = (
            Image.fromarray((ramp * 255).astype(np.uint8))
            .convert("RGB" if mode in ("CMYK", "RGBA") else "L")
            .convert(mode)
        )
    assert image.mode == mode
    path = tmp_path / "photo.tiff"
    image.save(path)
    small = opened(thumbnail(path))
    assert small.size == (SIDE, SIDE) and small.mode == "RGB"
    values = np.asarray(small.convert("L"), dtype=float)
    assert values[-20:].mean() > values[:20].mean() + 60


def test_a_photo_turned_by_its_camera_is_upright(tmp_path: Path) -> None:
    array = np.zeros((80, 80, 3), np.uint8)
    array[:, 40:] = 255  # bright on the right; turned by 90 degrees clockwise: bright below
    exif = Image.Exif()
    exif[0x0112] = 6
    path = tmp_path / "turned.jpg"
    Image.fromarray(array).save(path, exif=exif)
    values = np.asarray(opened(thumbnail(path)).convert("L"), dtype=float)
    assert values[-40:].mean() > 200 and values[:40].mean() < 55


def test_what_is_no_picture_gives_none(tmp_path: Path) -> None:
    assert thumbnail(tmp_path / "gone.jpg") is None
    assert thumbnail(tmp_path) is None
    (tmp_path / "text.jpg").write_text("not a picture")
    assert thumbnail(tmp_path / "text.jpg") is None
    whole = io.BytesIO()
    Image.effect_noise((200, 200), 80).save(whole, "JPEG")
    (tmp_path / "half.jpg").write_bytes(whole.getvalue()[: len(whole.getvalue()) // 2])
    assert thumbnail(tmp_path / "half.jpg") is None
    assert thumbnail("nul\0byte.jpg") is None


def test_a_real_photo_is_a_few_kilobytes(shared_data: Path) -> None:
    path = next((shared_data / "flowers5" / "val" / "tulips").glob("*.jpg"))
    uri = thumbnail(path)
    assert uri is not None and 2_000 < len(uri) < 40_000


def test_a_grey_picture_keeps_its_pixels() -> None:
    digit = [[0.0, 8.0], [16.0, 4.0]]
    np.testing.assert_array_equal(np.asarray(opened(grey_picture(digit))), [[0, 128], [255, 64]])
    assert np.asarray(opened(grey_picture([[3.0, 3.0]]))).tolist() == [[0, 0]]
