"""What chance does to a training patch: mirroring, turning, scaling, and its intensities.

One affine map and one pass of interpolation a patch, in plain torch. MONAI's transforms for the same take 1.7 times as
long (docs/benchmarks/volumes.md), need the whole volume in memory, and draw from generators of their own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor

from ...checks import one_of
from .patches import choose_center, read_patch, read_transformed
from .preparing import Prepared

AUGMENTS = ("none", "light", "strong")


@dataclass(frozen=True)
class Ranges:
    """How far chance may go.

    Attributes:
        turned: share of the patches that are turned and scaled.
        angle: largest angle about each axis, degrees.
        scale: a side becomes 1 / (1 + scale) to 1 + scale times as long.
        mirrored: share of the patches that are mirrored along each axis.
        contrast: intensities are multiplied by 1 - contrast to 1 + contrast.
        brightness: so much is added at most, in standard deviations.
        noise: standard deviation of the noise of some patches (0.15 of them), at most.
        gamma: exponent of the intensities, of some patches (0.3 of them), between 1 / (1 + gamma) and 1 + gamma.
    """

    turned: float
    angle: float
    scale: float
    mirrored: float
    contrast: float = 0.25
    brightness: float = 0.2
    noise: float = 0.1
    gamma: float = 0.5


RANGES = {
    "light": Ranges(turned=0.5, angle=15, scale=0.15, mirrored=0.0),
    "strong": Ranges(turned=0.8, angle=30, scale=0.3, mirrored=0.5, contrast=0.35, brightness=0.3, gamma=0.8),
}


class VolumeAugmentation:
    """A random patch of a case, drawn from one seed.

    Args:
        augment: "none" (chance decides only where the patch stands), "light" or "strong".
        patch_size: (X, Y, Z), voxels.
        foreground: share of the patches that stand on a class.
        hflip: False mirrors nothing.

    Raises:
        ValueError: an unknown name.
    """

    def __init__(self, augment: str, patch_size: Sequence[int], foreground: float, *, hflip: bool = True) -> None:
        ranges = RANGES.get(one_of("augment", augment, AUGMENTS))
        self.ranges = ranges if hflip or ranges is None else replace(ranges, mirrored=0.0)
        self.patch_size, self.foreground = tuple(patch_size), foreground

    def __call__(self, case: Prepared, spacing: Sequence[float], seed: int) -> tuple[Tensor, Tensor | None]:
        """(channels, *patch_size) float32 and its labels, as a function of the case and the seed.

        Args:
            case: prepared.
            spacing: of its voxels, mm: what is turned keeps its shape in space.
            seed: of everything random.
        """
        chance = np.random.Generator(np.random.Philox(seed))
        center = choose_center(case, self.patch_size, chance, self.foreground)
        if self.ranges is None:
            return read_patch(case, center, self.patch_size)
        if chance.random() < self.ranges.turned:
            matrix = random_matrix(self.ranges, spacing, chance)
            image, label = read_transformed(case, center, self.patch_size, matrix)
        else:
            image, label = read_patch(case, center, self.patch_size)
        axes = [axis for axis in range(3) if chance.random() < self.ranges.mirrored]
        if axes:
            image = image.flip([axis + 1 for axis in axes])
            label = label.flip(axes) if label is not None else None
        return change_intensities(image, self.ranges, chance), label


def random_matrix(ranges: Ranges, spacing: Sequence[float], chance: np.random.Generator) -> np.ndarray:
    """(3, 3): a turn about each axis in mm, times one scale, as a map of voxels."""
    angles = np.radians(chance.uniform(-ranges.angle, ranges.angle, 3))
    reach = math.log(1 + ranges.scale)
    scale = math.exp(chance.uniform(-reach, reach))
    turn = np.eye(3)
    for axis, angle in enumerate(angles):
        a, b = (axis + 1) % 3, (axis + 2) % 3
        about = np.eye(3)
        about[[a, a, b, b], [a, b, a, b]] = math.cos(angle), -math.sin(angle), math.sin(angle), math.cos(angle)
        turn = turn @ about
    mm = np.asarray(spacing)
    matrix: np.ndarray = scale * turn * mm[None, :] / mm[:, None]
    return matrix


def change_intensities(image: Tensor, ranges: Ranges, chance: np.random.Generator) -> Tensor:
    """Contrast and brightness of each channel; of some patches gamma, and noise."""
    channels = len(image)
    contrast, brightness = chance.uniform(-1, 1, (2, channels)).astype(np.float32)
    with_noise, with_gamma = chance.random(2)
    strength = chance.uniform(0, ranges.noise)
    reach = math.log(1 + ranges.gamma)
    exponent = math.exp(chance.uniform(-reach, reach))
    if with_gamma < 0.3:
        low = image.amin(dim=(1, 2, 3), keepdim=True)
        width = (image.amax(dim=(1, 2, 3), keepdim=True) - low).clamp_(min=1e-6)
        image = ((image - low) / width) ** exponent * width + low
    factor, shift = (torch.from_numpy(values)[:, None, None, None] for values in (contrast, brightness))
    image = image * (1 + ranges.contrast * factor) + ranges.brightness * shift
    if with_noise < 0.15:
        image = image + torch.from_numpy(chance.standard_normal(tuple(image.shape), dtype=np.float32)) * strength
    return image
