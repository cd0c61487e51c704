"""Views of clips that training sees again and again: what a frozen part can run over once."""

from __future__ import annotations

import random

import torch
from torch import Tensor

from hone.data.seeding import derive
from hone.data.sides import mirrors
from hone.data.video.augmentation import ClipAugmentation
from hone.data.video.batches import NormalizeClips
from hone.data.video.clips import Clips
from hone.data.video.frames import Frames
from hone.data.video.preprocessing import ClipPreprocessing
from hone.recipe.schema import Recipe


class ClipViews:
    """Views of clips: frames, crop and flip.

    Args:
        recipe: says the augmentation, the cache and the layout.
        clips: whose views.
        preprocessing: of the input.
        device: where the inputs are wanted.
    """

    def __init__(self, recipe: Recipe, clips: Clips, preprocessing: ClipPreprocessing, device: torch.device) -> None:
        self.side, self.sampling = preprocessing.image.train_side, preprocessing.sampling
        self.frames = Frames(clips, self.side, recipe.cache)
        flip = mirrors(recipe.hflip, clips.classes)
        self.augmentation = ClipAugmentation(recipe.augment or "light", preprocessing.image, flip=flip)
        self.normalize = NormalizeClips(preprocessing, device, recipe.layout != "contiguous")

    def view(self, row: int, seed: int) -> Tensor:
        """(T, size, size, 3) uint8."""
        wanted = self.sampling.in_training(self.frames.facts(row), random.Random(derive("when", seed)))
        return self.augmentation(self.frames.read(row, wanted), seed)

    def inputs(self, views: Tensor) -> Tensor:
        """(n, 3, T, size, size) float32."""
        return self.normalize(views)
