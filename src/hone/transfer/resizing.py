"""The same weights in another shape: position embeddings, input channels, and from images to volumes and clips."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from hone import checks


def adapt_channels(weight: Tensor, channels: int) -> Tensor:
    r"""Change a convolution's input channels, keeping how strongly it answers.

    For one channel the filters are summed, so a grey image gives what it gave as three equal channels. For more, the
    filters are repeated in turn and scaled,

    .. math:: w'_c = w_{c \bmod C} \cdot C / C'.

    Args:
        weight: shape ``(out, C, *kernel)``.
        channels: the new number of channels :math:`C'`, at least 1.

    Returns:
        Shape ``(out, channels, *kernel)``.

    Raises:
        ValueError: ``channels`` is less than 1.

    Example:
        >>> adapt_channels(torch.tensor([[[[1.0]], [[2.0]], [[3.0]]]]), 1).flatten()
        tensor([6.])

    Reference:
        timm's ``adapt_input_conv``, for images of 1 and of more than 3 channels.
    """
    checks.integer("channels", channels, at_least=1)
    old = weight.shape[1]
    if channels == old:
        return weight
    if channels == 1:
        return weight.sum(1, keepdim=True)
    index = torch.arange(channels, device=weight.device) % old
    return weight[:, index] * (old / channels)


def inflate(weight: Tensor, depth: int) -> Tensor:
    r"""Turn a filter for images into one for volumes or clips: repeated along the new axis and divided by its length.

    A volume of equal slices then gives, away from its ends, what the slice gave:
    :math:`w'_{z} = w / D` for each of the :math:`D` slices.

    Args:
        weight: shape ``(out, in, height, width)``.
        depth: the length of the new axis, at least 1.

    Returns:
        Shape ``(out, in, depth, height, width)``.

    Raises:
        ValueError: the weight is not four-dimensional, or ``depth`` is less than 1.

    Example:
        >>> inflate(torch.ones(1, 1, 1, 1), 4).flatten()
        tensor([0.2500, 0.2500, 0.2500, 0.2500])

    Reference:
        Carreira and Zisserman, "Quo Vadis, Action Recognition?", CVPR 2017, section 2.4.1.
    """
    checks.integer("depth", depth, at_least=1)
    if weight.ndim != 4:
        raise checks.invalid(
            "weight", "be the filters of a 2D convolution, (out, in, height, width)", tuple(weight.shape)
        )
    return (weight.unsqueeze(2) / depth).repeat(1, 1, depth, 1, 1)


def resize_positions(table: Tensor, tokens: int, prefix: int = 0) -> Tensor:
    """Interpolate a square grid of position embeddings (bicubic, antialiased) to another number of tokens.

    Args:
        table: shape ``(1, prefix + n * n, width)``.
        tokens: the new length, ``prefix + m * m``.
        prefix: leading embeddings that are no position (class and register tokens); kept as they are.

    Returns:
        Shape ``(1, tokens, width)``.

    Raises:
        ValueError: a length is not a square after the prefix.

    Example:
        >>> resize_positions(torch.ones(1, 1 + 4, 8), 1 + 9, prefix=1).shape
        torch.Size([1, 10, 8])

    Reference:
        Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021, section 3.2.
    """
    old, new = math.isqrt(table.shape[1] - prefix), math.isqrt(tokens - prefix)
    if old * old != table.shape[1] - prefix or new * new != tokens - prefix:
        raise checks.invalid("tokens", f"be {prefix} more than a square, as the table must", (table.shape[1], tokens))
    grid = table[:, prefix:].reshape(1, old, old, -1).permute(0, 3, 1, 2).float()
    grid = F.interpolate(grid, (new, new), mode="bicubic", antialias=True, align_corners=False)
    grid = grid.permute(0, 2, 3, 1).reshape(1, new * new, -1).to(table.dtype)
    return torch.cat([table[:, :prefix], grid], dim=1)


def fit(name: str, source: Tensor, shape: tuple[int, ...], is_input: bool) -> tuple[Tensor, str] | None:
    """The source's tensor in the model's shape and how it got there (empty: as it was); None where nothing fits."""
    old = tuple(source.shape)
    if old == shape:
        return source, ""
    if len(shape) == 5 and len(old) == 4 and old[2:] == shape[3:]:
        inflated = fit(name, inflate(source, shape[2]), shape, is_input)
        return None if inflated is None else (inflated[0], ", ".join(filter(None, ("inflated to 3D", inflated[1]))))
    if is_input and len(shape) == len(old) >= 3 and (old[0], *old[2:]) == (shape[0], *shape[2:]):
        return adapt_channels(source, shape[1]), f"{old[1]} -> {shape[1]} input channels"
    if (
        "pos" in name.lower()
        and len(old) == len(shape) == 3
        and (old[0], old[2]) == (shape[0], shape[2]) == (1, old[2])
    ):
        for prefix in range(8):
            squares = [n - prefix == math.isqrt(max(n - prefix, 0)) ** 2 for n in (old[1], shape[1])]
            if all(squares) and min(old[1], shape[1]) > prefix:
                return resize_positions(source, shape[1], prefix), f"{old[1]} -> {shape[1]} positions"
    is_table = name.endswith("relative_position_bias_table") and len(old) == len(shape) == 2 and old[1] == shape[1]
    if is_table and all(math.isqrt(n) ** 2 == n for n in (old[0], shape[0])):
        return resize_positions(source[None], shape[0])[0], f"{old[0]} -> {shape[0]} relative positions"
    if [n for n in old if n != 1] == [n for n in shape if n != 1]:
        return source.reshape(shape), f"reshaped from {old}"
    return None
