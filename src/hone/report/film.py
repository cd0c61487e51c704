"""Clips as strips of film: what a video shows, from its beginning to its end, in one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

#: Height of a frame, of the perforated edges and of a hole, and the gap between frames, pixels.
_FRAME, _EDGE, _HOLE, _GAP = 132, 20, 8, 6
_FILM, _LIGHT = "#0b0d10", "#3a4048"


def film_strip(frames: np.ndarray) -> Image.Image:
    """Frames side by side between perforated edges.

    Args:
        frames: (T, H, W, 3) uint8, in their order.

    Returns:
        An RGB picture, 172 pixels high.

    Example:
        >>> import numpy as np
        >>> film_strip(np.zeros((3, 30, 40, 3), np.uint8)).size
        (552, 172)
    """
    from PIL import Image

    width = max(1, round(frames.shape[2] * _FRAME / frames.shape[1]))
    strip = Image.new("RGB", (len(frames) * (width + _GAP) + _GAP, _FRAME + 2 * _EDGE), _FILM)
    for place, frame in enumerate(frames):
        picture = Image.fromarray(frame).resize((width, _FRAME), Image.Resampling.LANCZOS)
        strip.paste(picture, (_GAP + place * (width + _GAP), _EDGE))
    return _perforated(strip)


def _perforated(strip: Image.Image) -> Image.Image:
    from PIL import ImageDraw

    draw = ImageDraw.Draw(strip)
    step, margin = 2 * _HOLE + 4, (_EDGE - _HOLE) // 2
    count = (strip.width - _GAP) // step
    first = (strip.width - count * step + step - int(1.5 * _HOLE)) // 2
    for place in range(count):
        left = first + place * step
        for top in (margin, strip.height - _EDGE + margin):
            draw.rounded_rectangle((left, top, left + int(1.5 * _HOLE), top + _HOLE), radius=2, fill=_LIGHT)
    return strip
