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

    A clip goes on before its beginning and after its end as it begins and ends (replicated frames):

    .. math:: y_t = \sum_{d=-D}^{D} w_d * x_{\min(\max(t + d, 1), T)}, \qquad \sum_d w_d = w.

    So a clip in which nothing moves gives at every frame exactly what the image gave, however the image's filters
    :math:`w` are divided over the frames. At first each frame gets the same share; :meth:`look_aside` divides them
    otherwise.

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
        self.sides = (image.stride, padding, image.dilation)
        with torch.no_grad():
            self.weight.copy_(inflate(image.weight, length))
            if self.bias is not None and image.bias is not None:
                self.bias.copy_(image.bias)

    def forward(self, input: Tensor) -> Tensor:
        """(N x T, C, H, W) -> (N x T, C', H', W')."""
        frames = self.clock.frames
        if self.groups > 1:
            return self._tap_by_tap(input, frames)
        clip = _beyond_ends(input.view(-1, frames, *input.shape[1:]), self.kernel_size[0] // 2).transpose(1, 2)
        made = F.conv3d(clip, self.weight, self.bias, self.stride, self.padding, self.dilation)
        return made.transpose(1, 2).flatten(0, 1)

    def _tap_by_tap(self, input: Tensor, frames: int) -> Tensor:
        """The sum of a 2D convolution a frame of the kernel: grouped 3D ones have no fast kernel anywhere."""
        reach = self.kernel_size[0] // 2
        stride, padding, dilation = self.sides
        total: Tensor | None = None
        for tap in range(self.kernel_size[0]):
            bias = self.bias if tap == reach else None
            weight = self.weight[:, :, tap].contiguous(memory_format=torch.channels_last)
            made = F.conv2d(input, weight, bias, stride, padding, dilation, self.groups)
            clip = made.view(-1, frames, *made.shape[1:])
            if tap != reach:
                clip = _beyond_ends(clip, reach)[:, tap : tap + frames]
            total = clip if total is None else total + clip
        return total.flatten(0, 1) if total is not None else input

    @torch.no_grad()
    def look_aside(self) -> None:
        """Let one input channel in eight see the frame before, one the frame after, and the others the present one.

        Equal shares blur what moves, and see a clip played backwards as they see the clip: a network that starts so
        learns slowly what comes first. Single frames are what the image network knows, and a few channels that look
        aside tell before from after from the first update on.

        Reference:
            Lin, Gan and Han, "TSM: Temporal Shift Module for Efficient Video Understanding", ICCV 2019, section 3.
        """
        image, middle = self.weight.sum(2), self.kernel_size[0] // 2
        first = torch.arange(self.out_channels, device=image.device) // (self.out_channels // self.groups)
        channel = first[:, None] * image.shape[1] + torch.arange(image.shape[1], device=image.device)
        aside = torch.where(channel % 8 == 0, -1, torch.where(channel % 8 == 1, 1, 0))
        if self.in_channels <= 4:  # colours stay together
            aside.zero_()
        self.weight.zero_()
        for step in (-1, 0, 1):
            self.weight[:, :, middle + step] = image * (aside == step)[:, :, None, None]


def _beyond_ends(clip: Tensor, reach: int) -> Tensor:
    """(N, T, ...) -> (N, reach + T + reach, ...): the first and the last frame again and again."""
    before, after = clip[:, :1], clip[:, -1:]
    return torch.cat([before.expand(-1, reach, *clip.shape[2:]), clip, after.expand(-1, reach, *clip.shape[2:])], dim=1)


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
