"""Convolutions of images that also see the frames before and after."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hone import checks
from hone.transfer.resizing import inflate


class Clock:
    """How many frames the clips of the batch at hand have: set by the network, read by its convolutions."""

    def __init__(self) -> None:
        self.frames = 1


class TimeConv(nn.Conv3d):
    r"""A 2D convolution inflated in time, in a network whose batches are frames: clip after clip, frame after frame.

    The image's filters are repeated over ``length`` frames and divided by it, and a clip goes on before its beginning
    and after its end as it begins and ends (replicated frames), so a clip in which nothing moves gives at every frame
    exactly what the image gave:

    .. math:: y_t = \sum_{d=-D}^{D} w_d * x_{\min(\max(t + d, 1), T)}, \qquad w_d = w / (2 D + 1).

    Args:
        image: the convolution that it takes the place of.
        length: frames that it sees, odd.
        clock: says how many frames a clip has.

    Example:
        >>> clock = Clock()
        >>> layer = TimeConv(image := nn.Conv2d(3, 4, 3, padding=1), 3, clock)
        >>> clock.frames = 5
        >>> still = torch.randn(1, 3, 8, 8).expand(5, -1, -1, -1)
        >>> torch.allclose(layer(still), image(still), atol=1e-5)
        True
    """

    def __init__(self, image: nn.Conv2d, length: int, clock: Clock) -> None:
        padding = image.padding if isinstance(image.padding, tuple) else (0, 0)  # "valid"
        (high, wide), (down, across), (tall, broad) = image.kernel_size, image.stride, image.dilation
        super().__init__(
            image.in_channels,
            image.out_channels,
            (length, high, wide),
            (1, down, across),
            (0, padding[0], padding[1]),
            (1, tall, broad),
            image.groups,
            bias=image.bias is not None,
            device=image.weight.device,
            dtype=image.weight.dtype,
        )
        self.clock = clock
        with torch.no_grad():
            self.weight.copy_(inflate(image.weight, length))
            if self.bias is not None and image.bias is not None:
                self.bias.copy_(image.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(N x T, C, H, W) -> (N x T, C', H', W')."""
        frames = self.clock.frames
        clip = input.view(-1, frames, *input.shape[1:]).transpose(1, 2)
        beyond = self.kernel_size[0] // 2
        ends = (clip[:, :, :1].expand(-1, -1, beyond, -1, -1), clip[:, :, -1:].expand(-1, -1, beyond, -1, -1))
        seen = torch.cat([ends[0], clip, ends[1]], dim=2)
        made = F.conv3d(seen, self.weight, self.bias, self.stride, self.padding, self.dilation, self.groups)
        return made.transpose(1, 2).flatten(0, 1)


def inflate_convolutions(network: nn.Module, length: int, clock: Clock) -> None:
    """Put a :class:`TimeConv` in the place of every plain 2D convolution larger than 1x1.

    Args:
        network: of images; changed in place.
        length: frames that a convolution sees, odd.
        clock: says how many frames a clip has.

    Raises:
        ValueError: there is no such convolution.

    Example:
        >>> network = nn.Sequential(nn.Conv2d(3, 8, 3), nn.Conv2d(8, 8, 1))
        >>> inflate_convolutions(network, 3, Clock())
        >>> [type(layer).__name__ for layer in network]
        ['TimeConv', 'Conv2d']
    """
    found = [
        (owner, name, layer)
        for owner in network.modules()
        for name, layer in owner.named_children()
        if type(layer) is nn.Conv2d and max(layer.kernel_size) > 1 and _is_plain(layer)
    ]
    if not found:
        raise checks.invalid("model", "have plain convolutions larger than 1x1 to inflate", type(network).__name__)
    for owner, name, layer in found:
        setattr(owner, name, TimeConv(layer, length, clock))


def _is_plain(layer: nn.Conv2d) -> bool:
    return layer.padding_mode == "zeros" and layer.padding != "same"
