"""Decoded photos by index, from the cache where they are there."""

from __future__ import annotations

import os

import torch

from .decoded_cache import DecodedCache, parse_bytes
from .decoding import read_image
from .examples import Examples
from .scan import scan_all


class Photos:
    """The photos of some examples, decoded to a bounded size. The cache changes the time, never a pixel.

    Args:
        examples: whose photos.
        short_side: longest allowed short side, pixels.
        interpolation: how larger ones are reduced.
        cache: bytes of decoded photos to keep, such as "2GB"; 0 keeps none.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (40, 30)).save(f"{folder}/a.png")
        ...     Photos(Examples([f"{folder}/a.png"], torch.tensor([0]), ["cat"]), 15, "bilinear")[0].shape
        torch.Size([15, 20, 3])
    """

    def __init__(self, examples: Examples, short_side: int, interpolation: str, cache: str | int = 0) -> None:
        self.paths, self.short_side, self.interpolation = examples.paths, short_side, interpolation
        self.cache: DecodedCache | None = None
        budget = parse_bytes(cache)
        # Without positioned reads (Windows) processes would have to agree on a file's place.
        if budget and hasattr(os, "preadv"):
            stats = scan_all(examples.paths) if examples.stats is None else examples.stats
            self.cache = DecodedCache(examples.paths, stats, short_side, interpolation, budget)

    def __len__(self) -> int:
        return len(self.paths)

    def __getitem__(self, index: int) -> torch.Tensor:
        """(H, W, 3) uint8.

        Raises:
            ValueError: the file can't be read; it is named.
        """
        image = self.cache.get(index) if self.cache else None
        if image is None:
            image = read_image(self.paths[index], self.short_side, self.interpolation)
            if self.cache:
                self.cache.put(index, image)
        return image
