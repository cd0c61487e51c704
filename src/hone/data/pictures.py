"""A few examples to look at, for the report."""

from __future__ import annotations

import torch

from ..checks import integer
from .decoding import read_image
from .examples import Examples, sample_rows


def sample_images(examples: Examples, n: int, *, short_side: int = 128) -> list[tuple[torch.Tensor, str]]:
    """Decode a few examples, spread over the classes, always the same ones.

    Args:
        examples: where they are taken from.
        n: how many at most.
        short_side: longest allowed short side, pixels.

    Returns:
        Pairs of an (H, W, 3) uint8 image and its label as text.

    Raises:
        ValueError: a file can't be read; it is named.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     Image.new("RGB", (40, 30)).save(f"{folder}/a.png")
        ...     [(image, label)] = sample_images(Examples([f"{folder}/a.png"], torch.tensor([0]), ["daisy"]), 3)
        >>> image.shape, label
        (torch.Size([30, 40, 3]), 'daisy')
    """
    rows = sample_rows(examples, integer("n", n, at_least=0))
    return [(read_image(examples.paths[row], short_side), examples.label(row)) for row in rows]
