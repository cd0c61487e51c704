"""What chance does to a training image and its mask together."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, replace

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import interpolate

from ...checks import one_of
from .coding import IGNORED_BYTE


@dataclass(frozen=True)
class Strength:
    """How far augmentation goes.

    Attributes:
        scale: an image is reduced or enlarged by a factor log-uniform in this range.
        brightness: factor on the distance from black, in a pale crop from white: at most 1 + this, at least 1 - this.
        contrast: factor on the distance from the crop's mean, likewise.
        colour: factor on each channel, likewise.
        mirror: whether images are mirrored left and right.
        turns: whether they are mirrored up and down and turned by quarters too, as microscopes and satellites allow.
    """

    scale: tuple[float, float] = (1.0, 1.0)
    brightness: float = 0.0
    contrast: float = 0.0
    colour: float = 0.0
    mirror: bool = False
    turns: bool = False


AUGMENTS = {
    "none": Strength(),
    "light": Strength((0.75, 1.5), 0.2, 0.2, 0.05, mirror=True),
    "strong": Strength((0.5, 2.0), 0.4, 0.4, 0.1, mirror=True, turns=True),
}
#: Share of the crops that are laid over a pixel of a class that is drawn from those the image shows, each as likely.
AIMED = 0.33


class MaskAugmentation:
    """The random crop of one decoded image and its mask, drawn from one seed.

    Args:
        augment: "none" (a crop of the image as it is), "light" (scale, crop, mirror, a little colour), "strong"
            (further in all, up and down and by quarter turns too), or a :class:`Strength`.
        size: of the crop, pixels.
        mean: of each channel in [0, 1]: what is around an image smaller than the crop.
        labels: the planes of the mask are labels of 0 and 1; False: they hold class indices.
        hflip: False leaves out what changes left for right: all that mirrors, and the quarter turns that go with it.

    Raises:
        ValueError: an unknown name.

    Example:
        >>> augmentation = MaskAugmentation("light", 8, (0.5, 0.5, 0.5))
        >>> pair = torch.arange(400, dtype=torch.uint8).reshape(10, 10, 4)
        >>> torch.equal(augmentation(pair, seed=5), augmentation(pair, seed=5))
        True
    """

    def __init__(
        self, augment: str | Strength, size: int, mean: tuple[float, ...], *, labels: bool = False, hflip: bool = True
    ) -> None:
        strength = AUGMENTS[one_of("augment", augment, AUGMENTS)] if isinstance(augment, str) else augment
        self.strength = strength if hflip else replace(strength, mirror=False, turns=False)
        self.size, self.labels = size, labels
        self.border = torch.tensor([round(255 * value) for value in mean], dtype=torch.uint8)

    def __call__(self, pair: Tensor, seed: int) -> Tensor:
        """Turn (H, W, 3 + planes) uint8 into (size, size, 3 + planes) uint8."""
        chance = random.Random(seed)
        crop = self._resized(*self._cut(pair, chance))
        crop = self._placed(crop, chance)
        crop = self._mirrored(crop, chance)
        return self._coloured(crop, chance)

    def _cut(self, pair: Tensor, chance: random.Random) -> tuple[Tensor, float]:
        """The part of the image that will be the crop, and the factor on its size."""
        factor = math.exp(chance.uniform(*map(math.log, self.strength.scale)))
        sides = [min(max(1, round(self.size / factor)), side) for side in pair.shape[:2]]
        free = [side - inside for side, inside in zip(pair.shape[:2], sides, strict=True)]
        corner = [chance.randint(0, rest) for rest in free]
        # Where there is little to choose between, looking for a pixel is not worth its time.
        if chance.random() < AIMED and pair.shape[0] * pair.shape[1] >= 2 * sides[0] * sides[1]:
            corner = self._aimed(pair, sides, free, corner, chance)
        top, left = corner
        return pair[top : top + sides[0], left : left + sides[1]], factor

    def _aimed(
        self, pair: Tensor, sides: list[int], free: list[int], corner: list[int], chance: random.Random
    ) -> list[int]:
        """The corner of a crop that holds a pixel of a class that is drawn; the same corner where none is shown."""
        if self.labels:
            shown = [place for place in range(3, pair.shape[2]) if (pair[..., place] == 1).any()]
            hits = (pair[..., chance.choice(shown)] == 1).nonzero() if shown else None
        else:
            counts = np.bincount(pair[..., 3].numpy().ravel(), minlength=IGNORED_BYTE + 1)
            classes = counts[:IGNORED_BYTE].nonzero()[0].tolist()
            hits = (pair[..., 3] == chance.choice(classes)).nonzero() if classes else None
        if hits is None:
            return corner
        target = hits[chance.randrange(len(hits))].tolist()
        return [
            min(max(0, place - chance.randrange(side)), rest)
            for place, side, rest in zip(target, sides, free, strict=True)
        ]

    def _resized(self, part: Tensor, factor: float) -> Tensor:
        """The part at its new size, which is at most the crop's: pixels smoothed, classes taken as they are."""
        size = [min(self.size, max(1, round(side * factor))) for side in part.shape[:2]]
        if size == list(part.shape[:2]):
            return part
        # permute of a batch of one is channels_last to torch, which then takes its fast path for 3-channel bytes.
        image = part[..., :3].unsqueeze(0).permute(0, 3, 1, 2)
        planes = part[..., 3:].unsqueeze(0).permute(0, 3, 1, 2)
        image = interpolate(image, size, mode="bilinear", antialias=True)
        planes = interpolate(planes, size, mode="nearest-exact")
        return torch.cat([image[0], planes[0]]).permute(1, 2, 0)

    def _placed(self, crop: Tensor, chance: random.Random) -> Tensor:
        """The crop, at a random place in one of full size where it is smaller."""
        height, width = crop.shape[:2]
        if (height, width) == (self.size, self.size):
            return crop
        whole = torch.full((self.size, self.size, crop.shape[2]), IGNORED_BYTE, dtype=torch.uint8)
        whole[..., :3] = self.border
        top, left = chance.randint(0, self.size - height), chance.randint(0, self.size - width)
        whole[top : top + height, left : left + width] = crop
        return whole

    def _mirrored(self, crop: Tensor, chance: random.Random) -> Tensor:
        crop = crop.flip(1) if self.strength.mirror and chance.random() < 0.5 else crop
        if not self.strength.turns:
            return crop
        crop = crop.flip(0) if chance.random() < 0.5 else crop
        return crop.transpose(0, 1) if chance.random() < 0.5 else crop

    def _coloured(self, crop: Tensor, chance: random.Random) -> Tensor:
        """``x <- m + (x - m) contrast``, then ``x <- e + (x - e) brightness colour_c``, of the image alone.

        m is the crop's mean, and e the end of the range that is nearer to it, black or white: a dark micrograph and a
        pale one keep what they show, where shifts and a middle that suit photos would leave nothing of it.
        """
        strength = self.strength
        if not (strength.brightness or strength.contrast or strength.colour):
            return crop
        contrast = 1 + chance.uniform(-strength.contrast, strength.contrast)
        factor = torch.tensor([1 + chance.uniform(-strength.colour, strength.colour) for _ in range(3)])
        factor *= 1 + chance.uniform(-strength.brightness, strength.brightness)
        image = crop[..., :3].float()
        mean = image.mean().item()
        end = 0.0 if mean <= 127.5 else 255.0
        # Both at once: ((x - m) contrast + m - e) factor + e.
        image.sub_(mean).mul_(contrast).add_(mean - end).mul_(factor).add_(end).round_().clamp_(0, 255)
        return torch.cat([image.to(torch.uint8), crop[..., 3:]], dim=2)
