"""The first layer for another number of input channels: grey, RGBA, multispectral."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from hone import checks
from hone.transfer.layers import LAYERS, memory_format, unwrap
from hone.transfer.resizing import adapt_channels
from hone.transfer.trace import trace_input


def adapt_input(
    model: nn.Module, channels: int, *, layer: str | Sequence[str] | None = None, example: Tensor | None = None
) -> nn.Module:
    """Let a model take ``channels`` input channels, its weights adapted by :func:`adapt_channels`.

    All layers that take the input are adapted (a shortcut around the first block, too). Dtype, device and memory
    format stay.

    Args:
        model: any network; changed in place.
        channels: the new number of input channels, at least 1.
        layer: the name or names of the convolutions that take the input, where a forward should not look for them.
        example: an input of the old number of channels, where its shape can't be guessed.

    Returns:
        The model.

    Raises:
        ValueError: ``channels`` is less than 1, or no such convolution is found; the model is as it was.

    Example:
        >>> from torchvision.models import resnet18
        >>> adapt_input(resnet18(), 1).conv1
        Conv2d(1, 64, kernel_size=(7, 7), stride=(2, 2), padding=(3, 3), bias=False)
    """
    checks.integer("channels", channels, at_least=1)
    inner = unwrap(model)
    tried: list[str] = []
    modules = dict(inner.named_modules())
    if layer is None:
        found = trace_input(inner, example, tried)
    else:
        found = [(name, modules.get(name, inner)) for name in ([layer] if isinstance(layer, str) else layer)]
    if not found:
        raise ValueError(
            f"the layer that takes the input of {type(model).__name__} was not found (tried: {'; '.join(tried[:4])}); "
            "name it with layer=, or give an input with example="
        )
    for name, convolution in found:
        if not isinstance(convolution, LAYERS) or isinstance(convolution, nn.Linear) or convolution.groups != 1:
            raise checks.invalid("layer", "name an ungrouped convolution", name)
    for _, convolution in found:
        _adapt(convolution, channels)
    for attribute in ("in_channels", "in_chans"):
        if isinstance(getattr(inner, attribute, None), int):
            setattr(inner, attribute, channels)
    return model


def _adapt(convolution: nn.Module, channels: int) -> None:
    weight = convolution.weight
    transposed = isinstance(convolution, (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d))
    if not isinstance(weight, Tensor) or transposed:
        raise checks.invalid("layer", "be a plain convolution", type(convolution).__name__)
    adapted = adapt_channels(weight.detach(), channels)
    convolution.weight = nn.Parameter(adapted.contiguous(memory_format=memory_format(weight)), weight.requires_grad)
    convolution.in_channels = channels  # type: ignore[assignment]
