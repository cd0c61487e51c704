"""What one look at a file's voxels says: enough to normalise an image and to check a label map, a few numbers each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from ...checks import invalid
from .nifti import Nifti

#: Values that are kept of the labelled voxels of a channel: as many of each volume, so that each counts alike.
_KEPT = 200
#: Label maps of more values than this are no label maps.
_MOST_VALUES = 1024


@dataclass(frozen=True)
class ChannelFacts:
    """A channel's intensities.

    Attributes:
        voxels: how many there are.
        not_finite: how many are NaN or infinite.
        low: the smallest finite one.
        high: the largest.
        mean: of all.
        std: of all.
        zeros: the share that is exactly 0.
        other_mean: of those that are not 0.
        other_std: of those.
    """

    voxels: int
    not_finite: int
    low: float
    high: float
    mean: float
    std: float
    zeros: float
    other_mean: float
    other_std: float


@dataclass(frozen=True)
class ImageFacts:
    """An image file's geometry, in RAS axes, and the intensities of its channels."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    affine: tuple[tuple[float, ...], ...]
    channels: tuple[ChannelFacts, ...]

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> ImageFacts:
        """Facts as they come out of JSON."""
        affine = tuple(tuple(row) for row in values["affine"])
        channels = tuple(ChannelFacts(**channel) for channel in values["channels"])
        return cls(tuple(values["shape"]), tuple(values["spacing"]), affine, channels)


@dataclass(frozen=True)
class LabelFacts:
    """A label file's geometry, in RAS axes, and its values.

    Attributes:
        counts: value -> voxels; of values that are not whole, some.
        whole: whether all values are whole numbers.
        samples: of each of the image's channels, up to 200 values where the label is above 0, evenly chosen by rank.
    """

    shape: tuple[int, int, int]
    affine: tuple[tuple[float, ...], ...]
    counts: dict[float, int]
    whole: bool
    samples: tuple[tuple[float, ...], ...] = ()

    @classmethod
    def from_plain(cls, values: Mapping[str, Any]) -> LabelFacts:
        """Facts as they come out of JSON."""
        affine, samples = (tuple(tuple(row) for row in values[name]) for name in ("affine", "samples"))
        counts = {float(value): int(number) for value, number in values["counts"].items()}
        return cls(tuple(values["shape"]), affine, counts, values["whole"], samples)


def image_facts(volume: Nifti) -> ImageFacts:
    """Read every voxel once, slab by slab.

    Raises:
        ValueError: the file is damaged.
    """
    channels = tuple(_channel(volume, channel) for channel in range(volume.channels))
    return ImageFacts(volume.ras_shape, volume.spacing, _rows(volume.ras_affine), channels)


def label_facts(label: Nifti, images: tuple[Nifti, ...]) -> LabelFacts:
    """Read every label once, and the intensities below those above 0 where the sizes fit.

    Raises:
        ValueError: a file is damaged, or the label map has channels.
    """
    if label.channels != 1:
        raise invalid(label.path, "be a label map of one channel", label.channels)
    counts: dict[float, int] = {}
    whole = True
    for _, slab in label.slabs():
        values, numbers = np.unique(slab, return_counts=True)
        whole = whole and bool((values == np.rint(values)).all())
        for value, number in zip(values.tolist()[:_MOST_VALUES], numbers.tolist(), strict=False):
            counts[value] = counts.get(value, 0) + number
    samples: tuple[tuple[float, ...], ...] = ()
    if all(image.shape == label.shape and _runs_alike(image, label) for image in images):
        pairs = [(image, channel) for image in images for channel in range(image.channels)]
        samples = tuple(_sample(image, channel, label) for image, channel in pairs)
    return LabelFacts(label.ras_shape, _rows(label.ras_affine), counts, whole, samples)


def _rows(affine: np.ndarray) -> tuple[tuple[float, ...], ...]:
    """An affine as plain numbers."""
    return tuple(tuple(row) for row in affine.tolist())


def _runs_alike(one: Nifti, other: Nifti) -> bool:
    return bool((one.orientation == other.orientation).all())


def _channel(volume: Nifti, channel: int) -> ChannelFacts:
    count = not_finite = zeros = 0
    low, high = np.inf, -np.inf
    sums = np.zeros(2)
    # Of values that lie far from 0 the plain sum of squares would keep few digits.
    center: float | None = None
    for _, slab in volume.slabs(channel):
        finite = np.isfinite(slab)
        bad = slab.size - int(np.count_nonzero(finite))
        values = slab[finite] if bad else slab
        count, not_finite = count + slab.size, not_finite + bad
        if not values.size:
            continue
        if center is None:
            center = float(values.mean(dtype=np.float64))
        zeros += values.size - int(np.count_nonzero(values))
        low, high = min(low, float(values.min())), max(high, float(values.max()))
        from_center = values.astype(np.float64) - center
        sums += from_center.sum(), np.square(from_center).sum()
    if center is None:
        return ChannelFacts(count, not_finite, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)
    good = count - not_finite
    # Without the zeros, each of which lies at -center.
    others = sums - zeros * np.array([-center, center**2])
    return ChannelFacts(
        count,
        not_finite,
        low,
        high,
        *_moments(sums, good, center),
        zeros / good,
        *_moments(others, good - zeros, center),
    )


def _moments(sums: np.ndarray, count: int, center: float) -> tuple[float, float]:
    """Mean and standard deviation of ``count`` values from the sums of ``v - center`` and of its square."""
    if not count:
        return 0.0, 0.0
    mean = sums[0] / count
    return float(center + mean), float(np.sqrt(max(sums[1] / count - mean**2, 0.0)))


def _sample(image: Nifti, channel: int, label: Nifti) -> tuple[float, ...]:
    found = [
        values[(mask > 0) & np.isfinite(values)]
        for (_, values), (_, mask) in zip(image.slabs(channel), label.slabs(), strict=True)
    ]
    values = np.sort(np.concatenate(found))
    rows = np.linspace(0, len(values) - 1, min(len(values), _KEPT)).round().astype(np.int64)
    return tuple(float(value) for value in values[rows])
