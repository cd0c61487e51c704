"""A file becomes RGB: (height, width, 3) uint8, upright, no larger than asked for."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch.nn.functional import interpolate

#: What Pillow raises for a damaged file; which of them depends on the format and on where the damage lies.
DECODE_ERRORS = (OSError, SyntaxError, ValueError, struct.error, EOFError, IndexError, Image.DecompressionBombError)
_ALPHA_MODES = ("RGBA", "LA", "PA", "RGBa", "La")


def unreadable(path: str | Path, reason: object) -> ValueError:
    """The one line that names a file which can't be read.

    Example:
        >>> str(unreadable("a.jpg", "truncated"))
        "a.jpg can't be read as an image: truncated (skip_unreadable leaves such files out and counts them)"
    """
    return ValueError(
        f"{path} can't be read as an image: {reason} (skip_unreadable leaves such files out and counts them)"
    )


def read_image(
    path: str | Path, short_side: int | None = None, interpolation: str = "bilinear", peak: int = 65535
) -> torch.Tensor:
    """Decode an image file to RGB.

    EXIF orientation is applied. Alpha and transparent palettes are composited on white. 16-bit grey is divided by 257
    (the format's full range becomes 0..255; nothing is stretched to the photo's own range, so brightness stays
    comparable). Float pixels must lie in [0, 1]. CMYK is converted without its colour profile. Of an animation the
    first frame is taken.

    Args:
        path: the file; any format that Pillow reads.
        short_side: an image whose shorter side is longer is reduced to it, antialiased; a JPEG is decoded at a fraction
            of its size where that is enough. None keeps the size. Nothing is enlarged.
        interpolation: "bilinear", "bicubic" or "nearest".
        peak: what becomes white in grey of more than 8 bits: 4095 where 16 bits hold 12.

    Returns:
        (height, width, 3) uint8, contiguous.

    Raises:
        ValueError: the file can't be read; it is named.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGBA", (40, 20), (255, 0, 0, 0)).save(f"{folder}/clear.png")
        ...     read_image(f"{folder}/clear.png", short_side=10).shape
        torch.Size([10, 20, 3])
    """
    try:
        return decode(path, short_side, interpolation, peak)
    except DECODE_ERRORS as error:
        raise unreadable(path, unreadable_reason(error)) from None


def decode(
    path: str | Path, short_side: int | None = None, interpolation: str = "bilinear", peak: int = 65535
) -> torch.Tensor:
    """``read_image`` with Pillow's own errors (``DECODE_ERRORS``)."""
    with Image.open(path) as image:
        width, height = image.size
        if short_side is not None:
            # A large JPEG is decoded at 1/2, 1/4 or 1/8, but to no less than twice the size: what is then left to
            # reduce hides the difference. Turned or not, its short side is the same.
            image.draft(None, (2 * short_side, 2 * short_side))
        drafted = image.size
        upright = ImageOps.exif_transpose(_to_rgb(image, peak))
        pixels = torch.from_numpy(np.array(upright))
    if short_side is None:
        return pixels
    turned = upright.size != drafted
    # From the file's own size, not the drafted one, which is rounded: the result's size is known from the header alone.
    size = bounded_size(*((width, height) if turned else (height, width)), short_side)
    return resize(pixels, size, interpolation).contiguous()


def bounded_size(height: int, width: int, short_side: int) -> tuple[int, int]:
    """The size of an image after its short side is reduced to ``short_side``; the long side is cut to whole pixels.

    Example:
        >>> bounded_size(300, 400, 150), bounded_size(100, 400, 150)
        ((150, 200), (100, 400))
    """
    short = min(height, width)
    if short <= short_side:
        return height, width
    long_side = int(short_side * max(height, width) / short)
    return (short_side, long_side) if height <= width else (long_side, short_side)


def resize(image: torch.Tensor, size: tuple[int, int], interpolation: str = "bilinear") -> torch.Tensor:
    """Resize an (H, W, 3) uint8 image to ``size`` (height, width), antialiased; the image may be a view."""
    if tuple(image.shape[:2]) == size:
        return image
    # permute of a batch of one is channels_last to torch, which then takes its fast path for 3-channel bytes.
    batch = image.unsqueeze(0).permute(0, 3, 1, 2)
    if interpolation == "nearest":
        resized = interpolate(batch, size, mode="nearest-exact")
    else:
        resized = interpolate(batch, size, mode=interpolation, antialias=True)
    return resized[0].permute(1, 2, 0)


def _to_rgb(image: Image.Image, peak: int) -> Image.Image:
    mode = image.mode
    if mode == "RGB" and "transparency" not in image.info:
        image.load()
        return image
    if mode.startswith("I"):
        return _from_16_bit(image, peak)
    if mode == "F":
        return _from_float(image)
    if mode in _ALPHA_MODES or "transparency" in image.info:
        clear = image.convert("RGBA")
        white = Image.new("RGBA", clear.size, (255, 255, 255, 255))
        return _with_exif(Image.alpha_composite(white, clear).convert("RGB"), image)
    return image.convert("RGB")


def _from_16_bit(image: Image.Image, peak: int) -> Image.Image:
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ValueError(f"whole-number pixels must lie in 0..65535, got {values.min()}..{values.max()}")
    grey = Image.fromarray(((255 * values + peak // 2) // peak).clip(max=255).astype(np.uint8))
    return _with_exif(grey.convert("RGB"), image)


def _from_float(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= 1):
        raise ValueError(f"float pixels must lie in [0, 1], got {values.min():g}..{values.max():g}")
    return _with_exif(Image.fromarray(np.rint(values * 255).astype(np.uint8)).convert("RGB"), image)


def _with_exif(made: Image.Image, source: Image.Image) -> Image.Image:
    """Carry the orientation over to an image that was made from arrays."""
    orientation = source.getexif().get(0x0112)
    if orientation:
        made.getexif()[0x0112] = orientation
    return made


def unreadable_reason(error: BaseException) -> str:
    """What is wrong with a file, in a few words, from the error that it caused."""
    if isinstance(error, FileNotFoundError):
        return "there is no such file"
    if isinstance(error, UnidentifiedImageError):
        return "its content is not that of any known image format"
    if "truncated" in str(error).lower():
        return "it is truncated"
    return str(error).splitlines()[0] if str(error) else type(error).__name__
