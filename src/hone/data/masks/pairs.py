"""Decoded images with their masks by index, from the cache where they are there."""

from __future__ import annotations

import os

import torch
from torch import Tensor

from ..decoded_cache import DecodedCache, parse_bytes
from ..decoding import read_image
from ..scan import scan_all
from .decoding import read_mask
from .examples import MaskExamples

#: Images are kept at their own size: the edges of a mask are worth their pixels.
_WHOLE = 1 << 30


class MaskedImages:
    """The images of some examples and their masks. The cache changes the time, never a pixel.

    Args:
        examples: whose images.
        peak: what becomes white in grey of more than 8 bits.
        cache: bytes of decoded images and masks to keep, such as "2GB"; 0 keeps none.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (40, 30)).save(f"{folder}/a.jpg")
        ...     Image.new("L", (40, 30), 1).save(f"{folder}/a.png")
        ...     files = [f"{folder}/a.jpg"], [(f"{folder}/a.png",)]
        ...     examples = MaskExamples(files[0], torch.tensor([[0, 1]]), ["background", "cat"], masks=files[1])
        ...     MaskedImages(examples)[0].shape
        torch.Size([30, 40, 4])
    """

    def __init__(self, examples: MaskExamples, peak: int = 65535, cache: str | int = 0) -> None:
        self.examples, self.peak = examples, peak
        self.cache: DecodedCache | None = None
        budget = parse_bytes(cache)
        # Without positioned reads (Windows) processes would have to agree on a file's place.
        if budget and hasattr(os, "preadv"):
            stats = scan_all(examples.paths) if examples.stats is None else examples.stats
            origin = [repr(examples.coding), str(peak), *examples.states]
            self.cache = DecodedCache(
                examples.paths, stats, _WHOLE, "", budget, planes=3 + examples.coding.planes, origin=origin
            )

    def __len__(self) -> int:
        return len(self.examples)

    def __getitem__(self, index: int) -> Tensor:
        """(H, W, 3 + planes) uint8: red, green, blue, and the planes of the mask.

        Raises:
            ValueError: a file can't be read; it is named.
        """
        found = self.cache.get(index) if self.cache else None
        if found is None:
            found = self._decode(index)
            if self.cache:
                self.cache.put(index, found)
        return found

    def _decode(self, index: int) -> Tensor:
        image = read_image(self.examples.paths[index], peak=self.peak)
        masks = [read_mask(path) if path else None for path in self.examples.masks[index]]
        planes = torch.from_numpy(self.examples.coding.encode(masks, (image.shape[0], image.shape[1])))
        return torch.cat([image, planes], dim=2)
