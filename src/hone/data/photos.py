"""Decoded photos by index."""

from __future__ import annotations

import torch

from .decoding import read_image
from .examples import Examples


class Photos:
    """The photos of some examples, decoded to a bounded size.

    Args:
        examples: whose photos.
        short_side: longest allowed short side, pixels.
        interpolation: how larger ones are reduced.
    """

    def __init__(self, examples: Examples, short_side: int, interpolation: str) -> None:
        self.examples, self.short_side, self.interpolation = examples, short_side, interpolation

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> torch.Tensor:
        """(H, W, 3) uint8.

        Raises:
            ValueError: the file can't be read; it is named.
        """
        return read_image(self.examples.paths[index], self.short_side, self.interpolation)
