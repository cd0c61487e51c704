"""Where windows stand on an input, and how much each place in a window counts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise

import torch
from torch import Tensor
from torch.nn.functional import pad

from hone import checks

WEIGHTS = ("gaussian", "constant")
#: The Gaussian's standard deviation as a share of the window, and the least weight, so that no sum of weights is 0.
_SIGMA, _LEAST = 0.125, 1e-3


def blend_weights(window: Sequence[int], weights: str = "gaussian") -> Tensor:
    r"""The weight of each place in a window: 1, or :math:`\prod_i e^{-d_i^2 / 2 (s_i / 8)^2}`, at least 0.001.

    Args:
        window: size along each axis; ``d_i`` is the distance from its middle, ``s_i`` its size.
        weights: "gaussian" or "constant".

    Returns:
        (*window) float32.

    Example:
        >>> blend_weights((3,)).tolist()[1]
        1.0
    """
    shape = tuple(window)
    if checks.one_of("weights", weights, WEIGHTS) == "constant":
        return torch.ones(shape)
    found = torch.ones(())
    for size in shape:
        distance = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        found = found.unsqueeze(-1) * torch.exp(-(distance**2) / (2 * (_SIGMA * size) ** 2))
    return found.clamp_(min=_LEAST)


@dataclass(frozen=True)
class Grid:
    """Where the windows stand on an input, padded where it is smaller than a window.

    Attributes:
        window: size of a window.
        size: of the padded input.
        starts: along each axis, where windows begin.
        margins: along each axis, what was padded before and after.
    """

    window: tuple[int, ...]
    size: tuple[int, ...]
    starts: tuple[tuple[int, ...], ...]
    margins: tuple[tuple[int, int], ...]

    @staticmethod
    def of(spatial: Sequence[int], window: Sequence[int], overlap: float) -> Grid:
        """The grid of an input of the size ``spatial``.

        Example:
            >>> Grid.of((10, 3), (4, 4), 0.25).starts
            ((0, 3, 6), (0,))
        """
        missing = [max(0, need - have) for have, need in zip(spatial, window, strict=True)]
        size = tuple(have + more for have, more in zip(spatial, missing, strict=True))
        starts = tuple(_starts(whole, part, overlap) for whole, part in zip(size, window, strict=True))
        return Grid(tuple(window), size, starts, tuple((more // 2, more - more // 2) for more in missing))

    def pad(self, inputs: Tensor) -> Tensor:
        """The inputs, with zeros around them where they are smaller than a window."""
        if not any(chain(*self.margins)):
            return inputs
        return pad(inputs, [side for margin in reversed(self.margins) for side in margin])

    def crop(self, logits: Tensor) -> Tensor:
        """Less what was padded."""
        return logits[(slice(None), slice(None), *self.inside())]

    def inside(self) -> tuple[slice, ...]:
        """Along each axis, where the input lies in the padded one."""
        return tuple(slice(before, size - after) for (before, after), size in zip(self.margins, self.size, strict=True))

    def layers(self) -> list[tuple[int, int]]:
        """Along the first axis, the rows from each window's start to that of the next; the last in equal steps.

        Example:
            >>> Grid.of((10,), (4,), 0.5).layers()
            [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]
        """
        first = self.starts[0]
        step = max((after - before for before, after in pairwise(first)), default=self.window[0])
        bounds = [*first, *range(first[-1] + step, self.size[0], step), self.size[0]]
        return list(pairwise(bounds))

    def region(self, place: Sequence[int]) -> tuple[slice, ...]:
        """The slices of the window at a place."""
        return tuple(slice(start, start + length) for start, length in zip(place, self.window, strict=True))


def _starts(size: int, window: int, overlap: float) -> tuple[int, ...]:
    step = max(1, int(window * (1 - overlap)))
    before_last = range(0, size - window, step)
    return (*before_last, size - window)
