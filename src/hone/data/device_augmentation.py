"""Augmentation of a whole batch where the model is: the same crops, flips and operations as photo by photo.

A crop of ``h`` rows that becomes ``s`` rows, antialiased by a filter ``f``, is a product with an (s, h) matrix: row
``i`` has its centre at ``c_i = (i + 1/2) h / s`` and the weights ``w_ij = f((j + 1/2 - c_i) / max(h / s, 1))``, divided
by their sum. So crop, resize and flip of all photos of a batch are two batched products, ``Y image X^T``, whatever
their boxes are; a flip turns the order of the rows of ``X`` round.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .augmentation import Chance, Drawn, cropped
from .preprocessing import Preprocessing
from .rand_augment import Draw


@dataclass(frozen=True)
class Crops:
    """The crops of a batch before they have one size, and what else chance says of them.

    Attributes:
        pixels: (n, H, W, 3) uint8: each crop in the upper left corner, the rest left as it is.
        sizes: (n, 2) int64: height and width of each.
        flips: (n,) bool.
        operations: of RandAugment, of each; numbers of the host, so that nobody waits for the device to read them.
    """

    pixels: Tensor
    sizes: Tensor
    flips: Tensor
    operations: list[Draw]

    @staticmethod
    def of(photos: Sequence[Tensor], drawn: Sequence[Drawn]) -> Crops:
        """Cut the boxes out of (H, W, 3) photos."""
        crops = [cropped(photo, draw) for photo, draw in zip(photos, drawn, strict=True)]
        sizes = torch.tensor([crop.shape[:2] for crop in crops])
        pixels = torch.empty((len(crops), *sizes.amax(0).tolist(), 3), dtype=torch.uint8)
        for line, crop in zip(pixels, crops, strict=True):
            line[: crop.shape[0], : crop.shape[1]] = crop
        flips = torch.tensor([draw.flip for draw in drawn])
        return Crops(pixels, sizes, flips, [draw.operations for draw in drawn])

    def parts(self) -> tuple[Tensor, Tensor, Tensor, list[Draw]]:
        """As a batch is sent: the arguments of the constructor."""
        return self.pixels, self.sizes, self.flips, self.operations


class DeviceAugmentation:
    """Crop, resize, flip, RandAugment of a batch, on whatever device its pixels are.

    Args:
        chance: what drew the crops.
        preprocessing: gives the size and the interpolation.

    Example:
        >>> chance, photo = Chance("light"), torch.zeros(40, 60, 3, dtype=torch.uint8)
        >>> crops = Crops.of([photo, photo], [chance(40, 60, seed) for seed in (0, 1)])
        >>> DeviceAugmentation(chance, Preprocessing(image_size=16))(crops).shape
        torch.Size([2, 16, 16, 3])
    """

    def __init__(self, chance: Chance, preprocessing: Preprocessing) -> None:
        self.operations = chance.operations
        self.size, self.interpolation = preprocessing.image_size, preprocessing.interpolation

    def __call__(self, crops: Crops) -> Tensor:
        """(n, image_size, image_size, 3) uint8."""
        height, width = crops.pixels.shape[1:3]
        down = resize_matrices(crops.sizes[:, 0], height, self.size, self.interpolation)
        along = resize_matrices(crops.sizes[:, 1], width, self.size, self.interpolation)
        along = torch.where(crops.flips[:, None, None], along.flip(1), along)
        channels = crops.pixels.permute(0, 3, 1, 2).float()
        made = down[:, None] @ channels @ along.mT[:, None]
        images = made.round_().clamp_(0, 255).to(torch.uint8)
        if self.operations is not None:
            images = self.operations(images, crops.operations)
        return images.permute(0, 2, 3, 1)


def resize_matrices(lengths: Tensor, longest: int, size: int, interpolation: str) -> Tensor:
    """For each length the (size, longest) matrix that resizes so many pixels to ``size``; weights beyond it are 0.

    Args:
        lengths: (n,) int64, at most ``longest``.
        longest: columns.
        size: rows.
        interpolation: "bilinear", "bicubic" or "nearest", as :func:`torch.nn.functional.interpolate` antialiases them.

    Returns:
        (n, size, longest) float32.

    Example:
        >>> resize_matrices(torch.tensor([4]), longest=5, size=2, interpolation="nearest")[0].tolist()
        [[0.0, 1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0, 0.0]]
    """
    place = torch.arange(longest, device=lengths.device)
    ratio = (lengths / size)[:, None, None]
    centre = (torch.arange(size, device=lengths.device) + 0.5)[None, :, None] * ratio
    if interpolation == "nearest":
        return (place == centre.floor()).float()
    away = ((place + 0.5 - centre) / ratio.clamp(min=1)).abs()
    weights = (_cubic(away) if interpolation == "bicubic" else (1 - away).clamp(min=0)) * (
        place < lengths[:, None, None]
    )
    return weights / weights.sum(-1, keepdim=True)


def _cubic(x: Tensor) -> Tensor:
    """Keys' kernel with a = -1/2, which Pillow and torch take where they antialias.

    Reference:
        Keys 1981, "Cubic convolution interpolation for digital image processing", equation 15.
    """
    near = (1.5 * x - 2.5) * x * x + 1
    far = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return torch.where(x < 1, near, torch.where(x < 2, far, 0.0))
