"""Pictures of label maps over their image: a tinted area with a line around it for each class."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from PIL import Image

#: Colours that stay apart on grey, for people who see red and green alike too (after Okabe and Ito).
COLORS = ("#ff9f1c", "#2ec4ff", "#3ddc97", "#ff5d8f", "#ffe45e", "#b388ff", "#00d5c8", "#ff7a45")
#: Of a tinted area; and the margin around what is labelled, as a share of its longest side.
_OPACITY, _MARGIN = 0.34, 0.3
_LINE = 3
#: The longer side of an image that is shown three times in a row, and what is between, pixels.
_PANEL, _GAP = 420, 8


def legend_colors(count: int) -> list[str]:
    """The colour of each of some classes; after eight they come again.

    Example:
        >>> legend_colors(2)
        ['#ff9f1c', '#2ec4ff']
    """
    return [COLORS[k % len(COLORS)] for k in range(count)]


def three_planes(
    image: np.ndarray, truth: np.ndarray, predicted: np.ndarray, spacing: Sequence[float], *, side: int = 260
) -> Image.Image:
    """A volume in three planes, above with the truth and below with the prediction.

    Seen as radiologists see: sagittal (front to the left), coronal and axial (the patient's right to the left). The
    planes go through where most is labelled.

    Args:
        image: (X, Y, Z), in RAS axes.
        truth: (X, Y, Z) labels.
        predicted: (X, Y, Z) labels.
        spacing: of the voxels, mm.
        side: of a plane, pixels; the shorter sides are as long as they are in mm.

    Returns:
        An RGB picture, two rows of three planes.
    """
    import numpy as np
    from PIL import Image

    labelled = truth if truth.any() else predicted
    around = _around((truth > 0) | (predicted > 0))
    image, truth, predicted, labelled = (volume[around] for volume in (image, truth, predicted, labelled))
    low, high = np.percentile(image, (0.5, 99.5))
    grey = np.clip((image - low) / max(float(high - low), 1e-6), 0, 1).astype(np.float32)
    gap = max(4, side // 32)
    sheet = Image.new("RGB", (3 * side + 2 * gap, 2 * side + gap), "#0b0d10")
    for column, axis in enumerate(range(3)):
        at = _fullest(labelled, axis)
        for row, labels in enumerate((truth, predicted)):
            plane = _drawn(_upright(grey, axis, at), _upright(labels, axis, at), _plane_mm(axis, spacing), side)
            left = column * (side + gap) + (side - plane.width) // 2
            sheet.paste(plane, (left, row * (side + gap) + (side - plane.height) // 2))
    return sheet


def _around(labelled: np.ndarray) -> tuple[slice, ...]:
    """The part of a volume that shows what is labelled, with a margin: a cube as far as the volume goes."""
    import numpy as np

    places = np.argwhere(labelled)
    if not len(places):
        return (slice(None),) * 3
    low, high = places.min(0), places.max(0) + 1
    half = (high - low).max() * (1 + 2 * _MARGIN) / 2
    first, last = np.floor((low + high) / 2 - half), np.ceil((low + high) / 2 + half)
    return tuple(slice(max(int(a), 0), int(b)) for a, b in zip(first, last, strict=True))


def _fullest(labels: np.ndarray, axis: int) -> int:
    """The plane with the most labelled voxels; the middle one where there are none."""
    counts = (labels > 0).sum(axis=tuple(other for other in range(3) if other != axis))
    return int(counts.argmax()) if counts.any() else labels.shape[axis] // 2


def _upright(volume: np.ndarray, axis: int, at: int) -> np.ndarray:
    """(rows, columns) of a plane: up is up (of an axial plane, up is front), right and front are left."""
    plane: np.ndarray = volume.take(at, axis).T[::-1, ::-1]
    return plane


def _plane_mm(axis: int, spacing: Sequence[float]) -> tuple[float, float]:
    """Distance of rows and of columns."""
    columns, rows = (spacing[other] for other in range(3) if other != axis)
    return rows, columns


def _drawn(grey: np.ndarray, labels: np.ndarray, mm: tuple[float, float], side: int) -> Image.Image:
    """One plane: smooth grey, each class tinted, with a line around it."""
    import numpy as np
    from PIL import Image

    scale = side / max(grey.shape[0] * mm[0], grey.shape[1] * mm[1])
    size = (max(1, round(grey.shape[1] * mm[1] * scale)), max(1, round(grey.shape[0] * mm[0] * scale)))
    picture = Image.fromarray((grey * 255).astype(np.uint8)).resize(size, Image.Resampling.BICUBIC).convert("RGB")
    shown = int(labels.max(initial=0))
    return tint(picture, [labels == value for value in range(1, shown + 1)])


def tint(picture: Image.Image, areas: Sequence[np.ndarray]) -> Image.Image:
    """Draw areas over a picture, each in the next colour: tinted, with a line around.

    Args:
        picture: RGB; drawn on.
        areas: each (H, W) bool, of any size: it is stretched over the picture.

    Returns:
        The picture.

    Example:
        >>> import numpy as np
        >>> from PIL import Image
        >>> tint(Image.new("RGB", (8, 8)), [np.ones((4, 4), bool)]).getpixel((0, 0))
        (255, 159, 28)
    """
    import numpy as np
    from PIL import Image, ImageColor, ImageFilter

    for area, name in zip(areas, legend_colors(len(areas)), strict=True):
        if not area.any():
            continue
        # A frame of nothing: an area that reaches the border has its line there, too.
        framed = Image.fromarray((area * 255).astype(np.uint8)).resize(picture.size, Image.Resampling.BILINEAR)
        mask = Image.new("L", (picture.width + 2 * _LINE, picture.height + 2 * _LINE))
        mask.paste(framed.point(lambda shade: 255 if shade >= 128 else 0), (_LINE, _LINE))
        inner = mask.filter(ImageFilter.MinFilter(2 * _LINE + 1))
        inside = (_LINE, _LINE, _LINE + picture.width, _LINE + picture.height)
        line = Image.fromarray(np.asarray(mask) - np.asarray(inner)).crop(inside)
        color = Image.new("RGB", picture.size, ImageColor.getrgb(name))
        picture.paste(color, mask=mask.crop(inside).point(lambda shade: round(shade * _OPACITY)))
        picture.paste(color, mask=line)
    return picture


def beside(image: np.ndarray, truth: Sequence[np.ndarray], predicted: Sequence[np.ndarray]) -> Image.Image:
    """An image, the image with the truth, and the image with the prediction, in a row.

    Args:
        image: (H, W, 3) uint8.
        truth: (H, W) bool of each class.
        predicted: likewise.

    Returns:
        A picture, clear between the three; small images are enlarged, so that lines are thin, large ones reduced.
    """
    from PIL import Image

    plain = Image.fromarray(image)
    scale = _PANEL / max(plain.size)
    size = (max(1, round(plain.width * scale)), max(1, round(plain.height * scale)))
    plain = plain.resize(size, Image.Resampling.BICUBIC if scale > 1 else Image.Resampling.LANCZOS)
    panels = [plain, tint(plain.copy(), truth), tint(plain.copy(), predicted)]
    sheet = Image.new("RGBA", (3 * plain.width + 2 * _GAP, plain.height))
    for place, panel in enumerate(panels):
        sheet.paste(panel, (place * (plain.width + _GAP), 0))
    return sheet
