"""From a key to a batch of bytes (in a worker), and from bytes to the model's input (where the model is)."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import torch

from .augmentation import Augmentation, Chance, center_crop
from .device_augmentation import Crops
from .passes import Share
from .photos import Photos
from .preprocessing import Preprocessing
from .seeding import restored_generators


class TrainAssembly:
    """Augmented photos, ready but for their normalisation.

    Args:
        photos: decoded photos by index.
        targets: (n, ...) targets of all samples.
        share: the samples of a key.
        augmentation: the random transform of one photo.
    """

    def __init__(self, photos: Photos, targets: torch.Tensor, share: Share, augmentation: Augmentation) -> None:
        self.photos, self.targets, self.share, self.augmentation = photos, targets, share, augmentation

    def __call__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(share, size, size, 3) uint8 and their targets."""
        samples, size = self.share(key), self.augmentation.preprocessing.image_size
        images = torch.empty((len(samples), size, size, 3), dtype=torch.uint8)
        guard = restored_generators() if self.augmentation.uses_generators else contextlib.nullcontext()
        with guard:
            for line, (row, seed) in zip(images, samples, strict=True):
                line.copy_(self.augmentation(self.photos[row], seed))
        return images, self.targets[[row for row, _ in samples]]


class CropAssembly:
    """The same photos, cut to their boxes only: what is left to do is done where the model is.

    Args:
        photos: decoded photos by index.
        targets: (n, ...) targets of all samples.
        share: the samples of a key.
        chance: what becomes of a photo.
    """

    def __init__(self, photos: Photos, targets: torch.Tensor, share: Share, chance: Chance) -> None:
        self.photos, self.targets, self.share, self.chance = photos, targets, share, chance

    def __call__(self, key: tuple[int, int]) -> tuple[Any, torch.Tensor]:
        """The parts of :class:`Crops` and the targets."""
        samples = self.share(key)
        photos = [self.photos[row] for row, _ in samples]
        drawn = [
            self.chance(photo.shape[0], photo.shape[1], seed) for photo, (_, seed) in zip(photos, samples, strict=True)
        ]
        return Crops.of(photos, drawn).parts(), self.targets[[row for row, _ in samples]]


class EvalAssembly:
    """Centre crops of some samples: key (n,) int64 indices."""

    def __init__(self, photos: Photos, targets: torch.Tensor, preprocessing: Preprocessing) -> None:
        self.photos, self.targets, self.preprocessing = photos, targets, preprocessing

    def __call__(self, key: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(n, size, size, 3) uint8, their targets, their indices."""
        size = self.preprocessing.image_size
        images = torch.empty((len(key), size, size, 3), dtype=torch.uint8)
        for line, row in enumerate(key.tolist()):
            images[line] = center_crop(self.photos[row], self.preprocessing)
        rows = torch.from_numpy(key)
        return images, self.targets[rows], rows


class Normalize:
    """``(x / 255 - mean) / std`` of a whole batch of bytes, on its device.

    Args:
        preprocessing: gives mean and std.
        device: where the batches will be.
        channels_last: lay the result out channels last.

    Example:
        >>> normalize = Normalize(Preprocessing(image_size=2, mean=(0.5,) * 3, std=(0.25,) * 3), torch.device("cpu"))
        >>> normalize(torch.zeros(1, 2, 2, 3, dtype=torch.uint8)).mean().item()
        -2.0
    """

    def __init__(self, preprocessing: Preprocessing, device: torch.device, channels_last: bool = False) -> None:
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        # One image row holds the three channels again and again: with the constants tiled to a row's length the
        # arithmetic runs over long contiguous vectors, twice as fast as broadcasting over three.
        self.scale = (1 / (255 * std)).repeat(preprocessing.image_size).to(device)
        self.shift = (-mean / std).repeat(preprocessing.image_size).to(device)
        self.channels_last = channels_last

    def __call__(self, images: torch.Tensor) -> torch.Tensor:
        """(n, size, size, 3) uint8 -> (n, 3, size, size) float32."""
        rows = images.reshape(images.shape[0], images.shape[1], -1).float()
        # In place: a second buffer of this size would cost more in page faults than the arithmetic does.
        torch.addcmul(self.shift, rows, self.scale, out=rows)
        return self.lay_out(rows.view(images.shape).permute(0, 3, 1, 2))

    def lay_out(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs in the memory format that was asked for."""
        return inputs.contiguous(memory_format=torch.channels_last if self.channels_last else torch.contiguous_format)
