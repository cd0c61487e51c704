"""A network that sees its input mirrored, too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations

import torch
from torch import Tensor

Network = Callable[[Tensor], Tensor]


def mirrored(network: Network, axes: Sequence[int]) -> Network:
    """The mean of a network's outputs over its input mirrored in every combination of some axes, in float32 at least.

    Args:
        network: (N, channels, *spatial) -> (N, C, *spatial).
        axes: spatial ones, from 0; none leaves the network as it is.

    Example:
        >>> mirrored(lambda x: x + torch.tensor([0.0, 1.0]), [0])(torch.zeros(1, 1, 2))
        tensor([[[0.5000, 0.5000]]])
    """
    dims = [axis + 2 for axis in axes]
    further = [some for count in range(1, len(dims) + 1) for some in combinations(dims, count)]

    def mean(inputs: Tensor) -> Tensor:
        found = network(inputs)
        found = found.to(torch.promote_types(found.dtype, torch.float32))
        for some in further:
            found = found + network(inputs.flip(some)).flip(some)
        return found / (1 + len(further))

    return mean if further else network
