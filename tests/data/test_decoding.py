"""Every kind of image that cameras, microscopes and designers leave behind becomes the right RGB."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.io import decode_image

from hone.data import read_image
from hone.data.decoding import bounded_size, resize

from .conftest import photo


def saved(path: Path, image: Image.Image, **options: object) -> Path:
    image.save(path, **options)
    return path


@pytest.mark.filterwarnings("ignore:The image decoding:DeprecationWarning")
def test_jpeg_and_png_equal_torchvisions_decoder(tmp_path: Path) -> None:
    png = saved(tmp_path / "a.png", photo(1))
    assert torch.equal(read_image(png).permute(2, 0, 1), decode_image(str(png)))
    jpeg = saved(tmp_path / "a.jpg", photo(1), quality=95)
    difference = read_image(jpeg).permute(2, 0, 1).int() - decode_image(str(jpeg)).int()
    assert difference.abs().max() <= 3  # two builds of libjpeg


@pytest.mark.parametrize("mode", ["L", "1", "P", "CMYK", "YCbCr"])
def test_other_modes_equal_pillows_conversion(tmp_path: Path, mode: str) -> None:
    image = photo(2).convert(mode)
    path = saved(tmp_path / ("a.tif" if mode in ("CMYK", "YCbCr") else "a.png"), image)
    with Image.open(path) as stored:
        assert stored.mode == mode
        expected = np.asarray(stored.convert("RGB"))
    assert np.array_equal(read_image(path).numpy(), expected)


def test_a_cmyk_jpeg_looks_like_the_photo(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.jpg", photo(3).convert("CMYK"), quality=98)
    difference = read_image(path).numpy().astype(int) - np.asarray(photo(3)).astype(int)
    assert np.abs(difference).mean() < 3


def test_16_bit_grey_is_scaled_by_the_formats_range(tmp_path: Path) -> None:
    values = np.linspace(0, 65535, 40 * 30).reshape(30, 40).astype(np.uint16)
    for name in ("a.png", "a.tif"):
        path = saved(tmp_path / name, Image.fromarray(values))
        expected = np.rint(values / 65535 * 255)
        for channel in range(3):
            assert np.array_equal(read_image(path)[..., channel].numpy(), expected)


def test_a_dark_16_bit_photo_stays_dark(tmp_path: Path) -> None:
    path = saved(tmp_path / "a.png", Image.fromarray(np.full((8, 8), 2570, dtype=np.uint16)))
    assert read_image(path).unique().tolist() == [10]


@pytest.mark.parametrize("mode", ["RGBA", "LA"])
def test_alpha_is_composited_on_white(tmp_path: Path, mode: str) -> None:
    alpha = Image.fromarray(np.linspace(0, 255, 44 * 60).reshape(44, 60).astype(np.uint8))
    image = photo(4).convert(mode[:-1])
    image.putalpha(alpha)
    got = read_image(saved(tmp_path / "a.png", image)).numpy().astype(float)
    share = np.asarray(alpha)[..., None] / 255
    colours = np.asarray(photo(4).convert(mode[:-1]).convert("RGB"))
    assert np.abs(got - (share * colours + (1 - share) * 255)).max() <= 1


def test_a_transparent_palette_colour_becomes_white(tmp_path: Path) -> None:
    image = Image.new("P", (4, 4), 1)
    image.putpalette([10, 20, 30, 200, 100, 0])
    image.putpixel((0, 0), 0)
    got = read_image(saved(tmp_path / "a.png", image, transparency=0))
    assert got[0, 0].tolist() == [255, 255, 255] and got[1, 1].tolist() == [200, 100, 0]


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", ["jpg", "png", "tif"])
def test_exif_orientation_is_applied(tmp_path: Path, orientation: int, suffix: str) -> None:
    # The EXIF standard's table, in array terms: what the stored rows and columns show.
    stored = np.asarray(photo(5, 32, 16))
    upright = {
        1: stored,
        2: stored[:, ::-1],
        3: stored[::-1, ::-1],
        4: stored[::-1],
        5: stored.transpose(1, 0, 2),
        6: np.rot90(stored, -1),
        7: np.rot90(stored, 2).transpose(1, 0, 2),
        8: np.rot90(stored, 1),
    }[orientation]
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"quality": 100, "subsampling": 0} if suffix == "jpg" else {}
    got = read_image(saved(tmp_path / f"a.{suffix}", Image.fromarray(stored), exif=exif, **options)).numpy()
    assert got.shape == upright.shape
    assert np.abs(got.astype(int) - upright).max() <= (3 if suffix == "jpg" else 0)


@pytest.mark.parametrize("interpolation", ["bilinear", "bicubic"])
@pytest.mark.parametrize("size", [(400, 300), (300, 400), (1200, 900), (901, 1203)])
def test_reducing_equals_pillow(tmp_path: Path, size: tuple[int, int], interpolation: str) -> None:
    path = saved(tmp_path / "a.jpg", photo(6, *size), quality=95)
    got = read_image(path, 100, interpolation).numpy().astype(int)
    with Image.open(path) as image:
        method = Image.Resampling[interpolation.upper()]
        expected = np.asarray(image.resize((got.shape[1], got.shape[0]), method)).astype(int)
    assert min(got.shape[:2]) == 100
    # Large photos are decoded at 1/2 or 1/4 of their size first, which costs a level or two; where that size is not
    # whole it is rounded up, and the far edge moves by a fraction of a pixel.
    whole = size[0] % 4 == size[1] % 4 == 0
    assert np.abs(got - expected).max() <= (4 if whole else 8)
    assert np.abs(got - expected).mean() < (0.6 if whole else 1.2)


def test_nothing_is_enlarged(tmp_path: Path) -> None:
    assert read_image(saved(tmp_path / "a.png", photo(7)), 500).shape == (44, 60, 3)


@pytest.mark.parametrize("orientation", [1, 6])
@pytest.mark.parametrize("size", [(1999, 1501), (1501, 1999), (333, 517)])
def test_the_size_follows_from_the_header(tmp_path: Path, size: tuple[int, int], orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = saved(tmp_path / "a.jpg", Image.new("RGB", size), exif=exif)
    width, height = size if orientation == 1 else size[::-1]
    assert tuple(read_image(path, 91).shape[:2]) == bounded_size(height, width, 91)


def test_resize_takes_views() -> None:
    image = torch.from_numpy(np.array(photo(8)))
    view = image[3:33, 5:45]
    assert torch.equal(resize(view, (20, 20)), resize(view.contiguous(), (20, 20)))


BROKEN = {
    "cut.jpg": "truncated",
    "cut.png": "truncated",
    "text.jpg": "content is not that of any known image format",
    "empty.jpg": "content is not that of any known image format",
    "absent.jpg": "there is no such file",
    "folder.jpg": "directory",
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_file_that_cannot_be_read_is_named_in_one_line(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("cut"):
        whole = saved(tmp_path / f"whole{path.suffix}", photo(9, 200, 150)).read_bytes()
        path.write_bytes(whole[: len(whole) // 2])
    elif name == "text.jpg":
        path.write_text("not a photo\n" * 20)
    elif name == "empty.jpg":
        path.touch()
    elif name == "folder.jpg":
        path.mkdir()
    with pytest.raises(ValueError, match=BROKEN[name]) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path} can't be read as an image: ") and "\n" not in str(caught.value)


def test_float_pixels_outside_0_to_1_are_refused(tmp_path: Path) -> None:
    good = saved(tmp_path / "a.tif", Image.fromarray(np.full((4, 4), 0.2, dtype=np.float32)))
    assert read_image(good).unique().tolist() == [51]
    bad = saved(tmp_path / "b.tif", Image.fromarray(np.full((4, 4), 20.0, dtype=np.float32)))
    with pytest.raises(ValueError, match=r"float pixels must lie in \[0, 1\], got 20..20"):
        read_image(bad)
