"""What chance does to a training photo, and to a batch of them."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from PIL import Image

from ..checks import one_of
from .decoding import resize
from .preprocessing import Preprocessing
from .rand_augment import Draw, RandAugment
from .seeding import derive, restored_generators, seed_generators

AUGMENTS = ("none", "light", "strong")
#: Share of the photo's area that a random crop keeps. Fine-tuning has few photos and few updates: "light" stays near
#: the photo; "strong" is the published range for long runs from scratch.
AREA = {"light": (0.35, 1.0), "strong": (0.08, 1.0)}
ASPECT = (3 / 4, 4 / 3)
#: Beta(alpha, alpha) of the mixing share: mixup's 0.2 and CutMix's 1.0 are those of their papers.
MIXUP_ALPHA, CUTMIX_ALPHA = 0.2, 1.0

Transform = Callable[[torch.Tensor], torch.Tensor]


def center_crop(image: torch.Tensor, preprocessing: Preprocessing) -> torch.Tensor:
    """Short side to ``resize``, then the centre square: (H, W, 3) uint8 -> (image_size, image_size, 3) uint8.

    Example:
        >>> center_crop(torch.zeros(300, 400, 3, dtype=torch.uint8), Preprocessing(image_size=160)).shape
        torch.Size([160, 160, 3])
    """
    height, width = image.shape[:2]
    side, size = preprocessing.resize, preprocessing.image_size
    if min(height, width) != side:
        long_side = int(side * max(height, width) / min(height, width))
        height, width = (side, long_side) if height <= width else (long_side, side)
        image = resize(image, (height, width), preprocessing.interpolation)
    top, left = round((height - size) / 2), round((width - size) / 2)
    return image[top : top + size, left : left + size]


def random_box(
    height: int, width: int, generator: random.Random, area: tuple[float, float]
) -> tuple[int, int, int, int]:
    """The box of a random resized crop: (top, left, height, width), pixels.

    Area uniform in ``area`` of the photo, aspect ratio log-uniform in 3/4..4/3; after ten boxes that do not fit, the
    largest centred box whose aspect does.

    Reference:
        Szegedy et al. 2015, "Going deeper with convolutions", section 6; torchvision's RandomResizedCrop.

    Example:
        >>> random_box(100, 200, random.Random(0), (1.0, 1.0))
        (0, 33, 100, 133)
    """
    low, high = math.log(ASPECT[0]), math.log(ASPECT[1])
    for _ in range(10):
        target = height * width * generator.uniform(*area)
        aspect = math.exp(generator.uniform(low, high))
        box_width, box_height = round(math.sqrt(target * aspect)), round(math.sqrt(target / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            top = generator.randint(0, height - box_height)
            left = generator.randint(0, width - box_width)
            return top, left, box_height, box_width
    box_width = min(width, round(height * ASPECT[1]))
    box_height = min(height, round(width / ASPECT[0]))
    return (height - box_height) // 2, (width - box_width) // 2, box_height, box_width


@dataclass(frozen=True)
class Drawn:
    """What chance says of one photo.

    Attributes:
        box: top, left, height and width of the crop, pixels.
        flip: whether left and right change places.
        operations: of RandAugment; empty without.
    """

    box: tuple[int, int, int, int]
    flip: bool
    operations: Draw


class Chance:
    """Draws what becomes of one photo from one seed.

    Args:
        augment: "light" or "strong".
        hflip: whether left and right change places, by a coin.

    Example:
        >>> chance = Chance("light")
        >>> chance(100, 200, seed=5) == chance(100, 200, seed=5)
        True
    """

    def __init__(self, augment: str, hflip: bool = True) -> None:
        self.area, self.hflip = AREA[augment], hflip
        self.operations = RandAugment() if augment == "strong" else None

    def __call__(self, height: int, width: int, seed: int) -> Drawn:
        """For a photo of this size."""
        generator = random.Random(seed)
        box = random_box(height, width, generator, self.area)
        coin = generator.random() < 0.5
        return Drawn(box, coin and self.hflip, self.operations.draw(generator) if self.operations else ())


class Augmentation:
    """The random transform of one decoded photo, drawn from one seed.

    Args:
        augment: "none" (the centre crop of evaluation), "light" (random resized crop, flip), "strong" (the same with
            smaller crops, then RandAugment), or a function from (3, H, W) uint8 to (3, image_size, image_size) uint8:
            its random numbers may come from torch, numpy or random.
        preprocessing: gives the size and the interpolation.
        hflip: whether half of the photos are mirrored, where the augmentation is a name.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> augmentation = Augmentation("light", Preprocessing(image_size=8))
        >>> photo = torch.arange(300, dtype=torch.uint8).reshape(10, 10, 3)
        >>> torch.equal(augmentation(photo, seed=5), augmentation(photo, seed=5))
        True
    """

    def __init__(self, augment: str | Transform, preprocessing: Preprocessing, hflip: bool = True) -> None:
        self.preprocessing = preprocessing
        self.own = None if isinstance(augment, str) else _Own(augment, preprocessing.image_size)
        self.chance: Chance | None = None
        if isinstance(augment, str) and one_of("augment", augment, AUGMENTS) != "none":
            self.chance = Chance(augment, hflip)

    @property
    def uses_generators(self) -> bool:
        """Whether a sample draws from the default generators, which must be put back afterwards."""
        return self.own is not None

    def __call__(self, image: torch.Tensor, seed: int) -> torch.Tensor:
        """Turn an (H, W, 3) uint8 photo into (image_size, image_size, 3) uint8."""
        if self.own is not None:
            seed_generators(seed)
            return self.own(image)
        if self.chance is None:
            return center_crop(image, self.preprocessing)
        drawn, size = self.chance(image.shape[0], image.shape[1], seed), self.preprocessing.image_size
        crop = resize(cropped(image, drawn), (size, size), self.preprocessing.interpolation)
        if drawn.flip:
            crop = crop.flip(1)
        if self.chance.operations is None:
            return crop
        made = self.chance.operations.one(Image.fromarray(crop.numpy()), drawn.operations)
        return torch.from_numpy(np.array(made))


def cropped(image: torch.Tensor, drawn: Drawn) -> torch.Tensor:
    """The box of an (H, W, 3) photo, as a view."""
    top, left, height, width = drawn.box
    return image[top : top + height, left : left + width]


class Mixing:
    """Mixup or CutMix of a batch with the batch shifted by one place, one draw an attempt.

    ``x_i <- share x_i + (1 - share) x_(i-1)`` (mixup) or a box of ``x_(i-1)`` pasted into ``x_i`` (CutMix); targets are
    mixed by the same share. The partner of a sample is the one before it in the *global* batch, whatever the
    accumulation and the number of processes: each share of a batch is assembled with one sample more in front, which is
    dropped here.

    Args:
        num_classes: classes of index targets; None where targets are multi-hot.
        seed: the run's seed.

    Reference:
        Zhang et al. 2018, "mixup", equation 2; Yun et al. 2019, "CutMix", equation 1.

    Example:
        >>> mixing = Mixing(num_classes=2, seed=0)
        >>> images, target = mixing(torch.rand(3, 3, 4, 4), torch.tensor([0, 1, 0]), attempt=0)
        >>> images.shape, target.shape, target.sum(1).tolist()
        (torch.Size([2, 3, 4, 4]), torch.Size([2, 2]), [1.0, 1.0])
    """

    def __init__(self, num_classes: int | None, seed: int) -> None:
        from torchvision.transforms import v2

        self.seed = seed
        self.kinds: list[Any] = [
            v2.MixUp(alpha=MIXUP_ALPHA, num_classes=num_classes),
            v2.CutMix(alpha=CUTMIX_ALPHA, num_classes=num_classes),
        ]

    def __call__(self, images: torch.Tensor, target: torch.Tensor, attempt: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix (1 + n, 3, H, W) float images and their targets; returns the last n, targets (n, C) float."""
        value = derive("mixing", self.seed, attempt)
        with restored_generators():
            seed_generators(value)
            images, target = self.kinds[value % 2](images, target)
        return images[1:], target[1:]


class _Own:
    """A user's transform of (3, H, W), given and giving (H, W, 3)."""

    def __init__(self, transform: Transform, size: int) -> None:
        self.transform, self.size = transform, size

    def __call__(self, image: torch.Tensor) -> torch.Tensor:
        made = self.transform(image.permute(2, 0, 1).contiguous())
        if made.dtype != torch.uint8 or tuple(made.shape) != (3, self.size, self.size):
            raise ValueError(
                f"augment must return uint8 of shape (3, {self.size}, {self.size}),"
                f" got {made.dtype} of {tuple(made.shape)}"
            )
        return made.permute(1, 2, 0)
