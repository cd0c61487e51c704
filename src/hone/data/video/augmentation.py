"""What chance does to a clip, the same to each of its frames; and the fixed crops of evaluation."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import torch
from torch.nn.functional import interpolate

from ...checks import one_of
from ..augmentation import AREA, AUGMENTS, Mixing, random_box
from ..preprocessing import Preprocessing
from ..seeding import seed_generators

Transform = Callable[[torch.Tensor], torch.Tensor]


def resize_frames(frames: torch.Tensor, size: tuple[int, int], interpolation: str) -> torch.Tensor:
    """Resize (T, H, W, 3) uint8 frames to ``size`` (height, width), antialiased; they may be a view."""
    if tuple(frames.shape[1:3]) == size:
        return frames
    batch = frames.permute(0, 3, 1, 2)
    if interpolation == "nearest":
        return interpolate(batch, size, mode="nearest-exact").permute(0, 2, 3, 1)
    return interpolate(batch, size, mode=interpolation, antialias=True).permute(0, 2, 3, 1)


def fixed_crops(frames: torch.Tensor, preprocessing: Preprocessing, crops: int) -> list[torch.Tensor]:
    """Short side to ``resize``, then squares: (T, H, W, 3) uint8 -> ``crops`` of (T, image_size, image_size, 3).

    One crop is the middle of the frame, as for photos; three lie along its longer side.

    Example:
        >>> frames = torch.zeros(2, 60, 90, 3, dtype=torch.uint8)
        >>> [tuple(crop.shape) for crop in fixed_crops(frames, Preprocessing(image_size=40), 3)]
        [(2, 40, 40, 3), (2, 40, 40, 3), (2, 40, 40, 3)]
    """
    height, width = frames.shape[1:3]
    side, size = preprocessing.resize, preprocessing.image_size
    if min(height, width) != side:
        long_side = int(side * max(height, width) / min(height, width))
        height, width = (side, long_side) if height <= width else (long_side, side)
        frames = resize_frames(frames, (height, width), preprocessing.interpolation)
    top, left = round((height - size) / 2), round((width - size) / 2)
    if crops == 1:
        places = [(top, left)]
    elif height > width:
        places = [(0, left), (top, left), (height - size, left)]
    else:
        places = [(top, 0), (top, left), (top, width - size)]
    return [frames[:, y : y + size, x : x + size] for y, x in places]


class ClipAugmentation:
    """The random transform of one clip, drawn from one seed, the same for all its frames.

    Args:
        augment: "none" (the centre crop of evaluation), "light" (random resized crop, flip), "strong" (the same with
            smaller crops, then RandAugment), or a function from (T, 3, H, W) uint8 to (T, 3, image_size, image_size)
            uint8: its random numbers may come from torch, numpy or random.
        preprocessing: of a frame: gives the size and the interpolation.
        flip: whether half of the clips are mirrored.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> augmentation = ClipAugmentation("light", Preprocessing(image_size=8))
        >>> frame = torch.randint(0, 256, (1, 10, 10, 3), dtype=torch.uint8)
        >>> made = augmentation(frame.expand(3, -1, -1, -1), seed=5)
        >>> torch.equal(made[0], made[2])
        True
    """

    def __init__(self, augment: str | Transform, preprocessing: Preprocessing, *, flip: bool = True) -> None:
        self.preprocessing, self.flip = preprocessing, flip
        self.name = augment if isinstance(augment, str) else "own"
        self.after: Transform | None = None
        if not isinstance(augment, str):
            self.after = augment
        elif one_of("augment", augment, AUGMENTS) == "strong":
            self.after = _rand_augment()

    @property
    def uses_generators(self) -> bool:
        """Whether a sample draws from the default generators, which must be put back afterwards."""
        return self.after is not None

    def __call__(self, frames: torch.Tensor, seed: int) -> torch.Tensor:
        """Turn (T, H, W, 3) uint8 frames into (T, image_size, image_size, 3) uint8."""
        if self.name == "none":
            return fixed_crops(frames, self.preprocessing, 1)[0]
        if self.name != "own":
            frames = self._crop_and_flip(frames, random.Random(seed))
        if self.after is None:
            return frames
        seed_generators(seed)
        made = self.after(frames.permute(0, 3, 1, 2).contiguous())
        size = self.preprocessing.image_size
        if made.dtype != torch.uint8 or tuple(made.shape) != (len(frames), 3, size, size):
            raise ValueError(
                f"augment must return uint8 of shape ({len(frames)}, 3, {size}, {size}),"
                f" got {made.dtype} of {tuple(made.shape)}"
            )
        return made.permute(0, 2, 3, 1)

    def _crop_and_flip(self, frames: torch.Tensor, generator: random.Random) -> torch.Tensor:
        size = self.preprocessing.image_size
        top, left, height, width = random_box(frames.shape[1], frames.shape[2], generator, AREA[self.name])
        crop = frames[:, top : top + height, left : left + width]
        crop = resize_frames(crop, (size, size), self.preprocessing.interpolation)
        return crop.flip(2) if self.flip and generator.random() < 0.5 else crop


class ClipMixing:
    """Mixup or CutMix of a batch of clips: that of photos, each frame's channels taken for channels of one photo.

    Args:
        num_classes: of the index targets.
        seed: the run's seed.

    Example:
        >>> mixing = ClipMixing(2, seed=0)
        >>> clips, target = mixing(torch.rand(3, 3, 5, 4, 4), torch.tensor([0, 1, 0]), attempt=0)
        >>> clips.shape, target.sum(1).tolist()
        (torch.Size([2, 3, 5, 4, 4]), [1.0, 1.0])
    """

    def __init__(self, num_classes: int, seed: int) -> None:
        self.mixing = Mixing(num_classes, seed)

    def __call__(self, clips: torch.Tensor, target: torch.Tensor, attempt: int) -> tuple[torch.Tensor, torch.Tensor]:
        """Mix (1 + n, 3, T, H, W) float clips and their targets; returns the last n, targets (n, C) float."""
        mixed, target = self.mixing(clips.flatten(1, 2), target, attempt)
        return mixed.view(len(mixed), *clips.shape[1:]), target


def _rand_augment() -> Any:
    from torchvision.transforms import v2

    return v2.RandAugment(num_ops=2, magnitude=9)
