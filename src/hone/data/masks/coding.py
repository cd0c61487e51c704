"""How masks are held as bytes beside the pixels, and become the target that a loss takes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

#: What marks a pixel that counts nowhere: in the planes of bytes, and in the target of a loss.
IGNORED_BYTE, IGNORED = 255, -100


@dataclass(frozen=True)
class Coding:
    """From the values in mask files to planes of bytes, and from those to a target.

    Args:
        classes: how many there are: a class index above 254 takes two planes.
        labels: whether a pixel may have several: one plane of 0 and 1 for each.
        ignore: the value in the files of pixels that count nowhere.
        white: whether 255 in the files means class 1.

    Example:
        >>> coding = Coding(classes=2, white=True)
        >>> planes = coding.encode([np.array([[0, 255, 255]], np.uint8)], (1, 3))
        >>> coding.target(torch.from_numpy(planes)[None]).tolist()
        [[[0, 1, 1]]]
    """

    classes: int
    labels: bool = False
    ignore: int | None = None
    white: bool = False

    @property
    def planes(self) -> int:
        """Bytes a pixel."""
        return self.classes if self.labels else 1 if self.classes <= IGNORED_BYTE else 2

    def encode(self, masks: Sequence[np.ndarray | None], size: tuple[int, int]) -> np.ndarray:
        """The values of an image's mask files (None: a label that it lacks) as (height, width, planes) uint8."""
        if self.labels:
            planes = [np.zeros(size, np.uint8) if mask is None else self._bits(mask) for mask in masks]
            return np.stack(planes, axis=2)
        mask = masks[0]
        if mask is None:
            return np.zeros((*size, self.planes), np.uint8)
        index = mask.astype(np.uint16)
        if self.white:
            index[mask == 255] = 1
        parts = [index & 255, index >> 8][: self.planes]
        found = np.stack(parts, axis=2).astype(np.uint8)
        if self.ignore is not None:
            found[mask == self.ignore] = IGNORED_BYTE
        return found

    def _bits(self, mask: np.ndarray) -> np.ndarray:
        bits: np.ndarray = (mask != 0).astype(np.uint8)
        if self.ignore is not None:
            bits[mask == self.ignore] = IGNORED_BYTE
        return bits

    def target(self, planes: Tensor) -> Tensor:
        """(n, H, W, planes) uint8 -> (n, H, W) int64 indices, or (n, C, H, W) float32; ignored pixels are -100."""
        if self.labels:
            bits = planes.permute(0, 3, 1, 2).to(torch.float32, memory_format=torch.contiguous_format)
            return bits.masked_fill_(bits == IGNORED_BYTE, IGNORED)
        index = planes[..., 0].long()
        if self.planes == 1:
            return index.masked_fill_(index == IGNORED_BYTE, IGNORED)
        index += planes[..., 1].long() << 8
        return index.masked_fill_(index == (IGNORED_BYTE << 8) + IGNORED_BYTE, IGNORED)
