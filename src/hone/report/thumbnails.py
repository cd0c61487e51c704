"""Small pictures that lie inside the page itself."""

from __future__ import annotations

import base64
import io
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from PIL import Image

#: Side of a thumbnail in pixels and its JPEG quality: about 8 kB each.
SIDE, QUALITY = 208, 76


def thumbnail(path: str | Path, side: int = SIDE) -> str | None:
    """A photo, or the frame in the middle of a clip: its middle square, as a JPEG data URI.

    Args:
        path: of the photo, the video, or the folder of pictures.
        side: of the square, in pixels.

    Returns:
        The data URI, or None where the file is not there or is no picture.
    """
    from PIL import Image, ImageOps

    try:
        with warnings.catch_warnings():
            # A huge or odd photo is not the reader's business here: what training read is what counts.
            warnings.simplefilter("ignore")
            with _opened(Path(path), side) as photo:
                photo.draft("RGB", (2 * side, 2 * side))
                upright = ImageOps.exif_transpose(photo)
                square = ImageOps.fit(_rgb(upright), (side, side), Image.Resampling.LANCZOS)
    except (OSError, ValueError, SyntaxError, ModuleNotFoundError, Image.DecompressionBombError):
        return None
    buffer = io.BytesIO()
    square.save(buffer, "JPEG", quality=QUALITY, optimize=True)
    return data_uri(buffer.getvalue(), "image/jpeg")


def _opened(path: Path, side: int) -> Image.Image:
    from PIL import Image

    from hone.data.layout import VIDEO_SUFFIXES

    if not (path.is_dir() or path.name.lower().endswith(VIDEO_SUFFIXES)):
        return Image.open(path)
    from hone.data.video.decoding import read_frames
    from hone.data.video.reading import look_at_clip

    facts = look_at_clip(str(path))
    return Image.fromarray(read_frames(path, [facts.frames // 2], facts, 2 * side)[0].numpy())


def _rgb(image: Image.Image) -> Image.Image:
    """Eight bits a colour; the values of deeper greys are stretched, for their range is not known."""
    if image.mode.startswith(("I", "F")):
        import numpy as np

        image = _stretched(np.asarray(image))
    return image.convert("RGB")


def _stretched(values: ArrayLike) -> Image.Image:
    """A grey image of a 2D array: the smallest value black, the largest white."""
    import numpy as np
    from PIL import Image

    array = np.asarray(values, dtype=np.float64)
    reach = array.max() - array.min()
    return Image.fromarray(np.rint((array - array.min()) * (255 / reach if reach > 0 else 0)).astype(np.uint8))


def grey_picture(rows: Sequence[Sequence[float]]) -> str:
    """A small grey picture, one pixel a value, as a PNG data URI.

    Args:
        rows: values; the smallest becomes black, the largest white.
    """
    return png_uri(_stretched(rows))


def png_uri(image: Image.Image) -> str:
    """A PIL image as a PNG data URI."""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", optimize=True)
    return data_uri(buffer.getvalue(), "image/png")


def data_uri(content: bytes, kind: str) -> str:
    """Bytes as a data URI of a MIME type."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
