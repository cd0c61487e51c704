"""RandAugment: operations drawn for one photo, applied to that photo or to a batch of bytes on any device."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any

import torch

#: Operations a photo, and their strength in [0, 1]: torchvision's defaults (magnitude 9 of 0..30).
NUM_OPS, STRENGTH = 2, 9 / 30
#: (operation, sign of its magnitude) for each of a photo's operations.
Draw = Sequence[tuple[int, int]]


def _tables() -> tuple[Callable[[Any, float], Any], ...]:
    """The operations of torchvision's RandAugment in its order, each a function of images and signed strength."""
    from torchvision.transforms.v2 import functional as f

    def affine(image: Any, *, shear: tuple[float, float] = (0.0, 0.0), shift: tuple[float, float] = (0.0, 0.0)) -> Any:
        # As torchvision's: shears are about the corner, shifts in whole pixels.
        degrees = [math.degrees(math.atan(value)) for value in shear]
        height, width = f.get_size(image)
        moved = [int(shift[0] * width), int(shift[1] * height)]
        center = [0.0, 0.0] if any(shear) else None
        return f.affine(image, angle=0.0, translate=moved, scale=1.0, shear=degrees, center=center)

    return (
        lambda image, m: image,
        lambda image, m: affine(image, shear=(0.3 * m, 0.0)),
        lambda image, m: affine(image, shear=(0.0, 0.3 * m)),
        lambda image, m: affine(image, shift=(150 / 331 * m, 0.0)),
        lambda image, m: affine(image, shift=(0.0, 150 / 331 * m)),
        lambda image, m: f.rotate(image, 30.0 * m),
        lambda image, m: f.adjust_brightness(image, 1 + 0.9 * m),
        lambda image, m: f.adjust_saturation(image, 1 + 0.9 * m),
        lambda image, m: f.adjust_contrast(image, 1 + 0.9 * m),
        lambda image, m: f.adjust_sharpness(image, 1 + 0.9 * m),
        lambda image, m: f.posterize(image, round(8 - 4 * abs(m))),
        lambda image, m: f.solarize(image, 255 * (1 - abs(m))),
        lambda image, m: f.autocontrast(image),
        lambda image, m: f.equalize(image),
    )


class RandAugment:
    """Two random operations of fourteen, at one strength.

    Reference:
        Cubuk et al. 2019, "RandAugment: Practical automated data augmentation with a reduced search space"; the
        operations and their ranges are torchvision's.

    Example:
        >>> augment = RandAugment()
        >>> images = torch.randint(0, 256, (5, 3, 8, 8), dtype=torch.uint8)
        >>> draws = [augment.draw(random.Random(seed)) for seed in range(5)]
        >>> augment(images, draws).shape
        torch.Size([5, 3, 8, 8])
    """

    def __init__(self) -> None:
        self.operations = _tables()

    def draw(self, generator: random.Random) -> Draw:
        """The operations of one photo."""
        return [(generator.randrange(len(self.operations)), generator.choice((-1, 1))) for _ in range(NUM_OPS)]

    def one(self, image: Any, draw: Draw) -> Any:
        """One Pillow image: 40 % of the time that the same operations take on tensors of a CPU."""
        for operation, sign in draw:
            image = self.operations[operation](image, sign * STRENGTH)
        return image

    def __call__(self, images: torch.Tensor, draws: Sequence[Draw]) -> torch.Tensor:
        """(n, 3, H, W) uint8: photos that drew the same operation go through it together.

        Args:
            images: on any device.
            draws: of each of them.
        """
        for turn in range(NUM_OPS):
            alike: dict[tuple[int, int], list[int]] = {}
            for row, draw in enumerate(draws):
                alike.setdefault(draw[turn], []).append(row)
            made = torch.empty_like(images)
            for (operation, sign), members in alike.items():
                rows = torch.tensor(members).to(images.device, non_blocking=True)
                made[rows] = self.operations[operation](images[rows], sign * STRENGTH)
            images = made
        return images
