"""A mask file becomes whole numbers: (height, width), upright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from ..decoding import DECODE_ERRORS, unreadable, unreadable_reason


def read_mask(path: str | Path) -> np.ndarray:
    """The value of each pixel of a mask: the index of a palette, a grey level, 0 and 1 of a bitmap.

    A colour file whose channels are equal is read as grey. EXIF orientation is applied, as to images.

    Args:
        path: the file; any format that Pillow reads.

    Returns:
        (height, width) uint8, or int32 where a file holds more.

    Raises:
        ValueError: the file can't be read, holds colours, or values that are not whole; it is named.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.fromarray(np.array([[0, 255]], np.uint8)).save(f"{folder}/a.png")
        ...     read_mask(f"{folder}/a.png").tolist()
        [[0, 255]]
    """
    try:
        with Image.open(path) as image:
            return _values(ImageOps.exif_transpose(image), path)
    except DECODE_ERRORS as error:
        if isinstance(error, _MaskError):
            raise ValueError(str(error)) from None
        raise unreadable(path, unreadable_reason(error)) from None


class _MaskError(ValueError):
    """A file that was read, but holds no mask."""


def _values(image: Image.Image, path: str | Path) -> np.ndarray:
    if image.mode == "1":
        return np.array(image).astype(np.uint8)
    pixels = np.array(image)  # of a palette: its indices
    if pixels.ndim == 3:
        colours = pixels[..., : 1 if image.mode in ("LA", "PA") else 3]
        if (colours != colours[..., :1]).any():
            raise _MaskError(f"mask {path} must hold class indices or a palette, got colours ({image.mode})")
        pixels = colours[..., 0]
    if pixels.dtype.kind == "f" and (pixels != np.rint(pixels)).any():
        wrong = np.unique(pixels[pixels != np.rint(pixels)])[:3]
        raise _MaskError(f"mask {path} must hold whole numbers, got {', '.join(f'{value:g}' for value in wrong)}")
    return pixels if pixels.dtype == np.uint8 else pixels.astype(np.int32)
