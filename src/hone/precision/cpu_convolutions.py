"""Convolutions whose gradients torch gets wrong, or gets very slowly, on AVX-512 processors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)
#: Numbers that are float32 at a time: 4 MiB, which the cache holds and the system needn't hand out anew.
_AT_ONCE = 1 << 20


def has_faulty_convolutions(device: torch.device) -> bool:
    """Whether torch's convolutions on ``device`` need :func:`mend_convolutions`.

    Example:
        >>> has_faulty_convolutions(torch.device("meta"))
        False
    """
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AVX10"))


def mend_convolutions(model: nn.Module) -> list[str]:
    """Make convolutions go around two faults of oneDNN on AVX-512, in place.

    **Wrong**: where a kernel is larger than the volume (the last level of a 3-D U-Net, 2 frames under a kernel of 3),
    or as large and strided, or an image is one pixel wide, the gradient of the weights has entries that nothing wrote,
    which are then whatever the memory held (in bfloat16, NaN once in a while); strided ones write beyond their buffer,
    in float32 too. Such an input is padded beforehand, and where transposed the output cropped afterwards: the same
    convolution by a path without these faults.

    **Slow**: in bfloat16 the gradients of depthwise convolutions with a stride or a kernel above 3 take 10 to 20 times
    as long as in float32, more than all else in an EfficientNet. They are computed in float32 here, from the same
    bfloat16 values; the forward, and what it keeps, stay in bfloat16.

    Everything else is left as it is. State dict keys, and ``isinstance``, stay.

    Args:
        model: any model; convolutions with a forward of their own (timm's weight standardisation, TensorFlow's "same"
            padding) are left.

    Returns:
        The names of the convolutions that were changed: those over neighbours.

    Example:
        >>> model = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 4, 3, padding=1))
        >>> mend_convolutions(model)
        ['1']
        >>> model(torch.ones(1, 1, 2, 8, 8)).shape
        torch.Size([1, 4, 2, 8, 8])

    Reference:
        Seen with torch 2.14.1 (oneDNN) on AMD Zen 4 by ``benchmarks/layers.py wrong``: 31 of 491 random convolutions
        wrong in bfloat16 and 3 of 509 in float32, none of 492 and 504 after this function.
    """
    names = []
    for name, module in model.named_modules():
        before = _class_before(module)
        if before is not None:
            kind = type(module)
            # A subclass, not a wrapper or a hook: see ``checkpoint_blocks``.
            module.__class__ = type(kind.__name__, (before, kind), {"__module__": kind.__module__})
            names.append(name)
    return names


class _Mended(nn.Module):
    """Put before a convolution's own class."""

    def _conv_forward(self: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        is_small = _is_small(self, inputs)
        is_slow = _is_slow(self, inputs) and _learns_in_bf16(inputs, weight)
        if not (is_small or is_slow):
            return super()._conv_forward(inputs, weight, bias)  # type: ignore[misc, no-any-return]
        nothing = len(self.kernel_size) * (0,)
        padding = nothing if is_small else self.padding
        given = F.pad(inputs, self._reversed_padding_repeated_twice) if is_small else inputs
        options = self.stride, padding, self.dilation, False, nothing, self.groups
        if is_slow:
            return _Float32Gradients.apply(given, weight, bias, options)  # type: ignore[no-any-return]
        run = F.conv2d if len(nothing) == 2 else F.conv3d
        return run(given, weight, bias, self.stride, padding, self.dilation, self.groups)


class _Cropped(nn.Module):
    """Put before a transposed convolution's own class: its padding is a crop of the output."""

    def forward(self: Any, inputs: Tensor, output_size: list[int] | None = None) -> Tensor:
        if output_size is not None or not _is_small(self, inputs):
            return super().forward(inputs, output_size)  # type: ignore[no-any-return]
        run = F.conv_transpose2d if len(self.kernel_size) == 2 else F.conv_transpose3d
        whole = run(inputs, self.weight, self.bias, self.stride, 0, self.output_padding, self.groups, self.dilation)
        for dim, padding in enumerate(self.padding, start=-len(self.padding)):
            whole = whole.narrow(dim, padding, whole.shape[dim] - 2 * padding)
        return whole


class _Float32Gradients(torch.autograd.Function):
    """A convolution of bfloat16 numbers whose gradients are computed in float32."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, options: tuple[Any, ...]) -> Tensor:
        half = inputs.to(torch.bfloat16), weight.to(torch.bfloat16)
        ctx.save_for_backward(*half)
        ctx.options, ctx.kinds = options, (inputs.dtype, weight.dtype)
        return torch.convolution(*half, None if bias is None else bias.to(torch.bfloat16), *options)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        asked = list(ctx.needs_input_grad[:3])
        whole = torch.empty_like(inputs, dtype=ctx.kinds[0]) if asked[0] else None
        of_weight, of_bias = torch.zeros_like(weight, dtype=torch.float32), weight.new_zeros(len(weight)).float()
        count = max(1, _AT_ONCE // max(1, inputs.shape[1:].numel()))
        for first in range(0, len(inputs), count):
            part = slice(first, first + count)
            given = gradient[part].float(), inputs[part].float(), weight.float()
            found = torch.ops.aten.convolution_backward(*given, [len(weight)], *ctx.options, asked)
            if whole is not None:
                whole[part] = found[0]
            of_weight += found[1] if asked[1] else 0
            of_bias += found[2] if asked[2] else 0
        kind = ctx.kinds[1]
        return whole, of_weight.to(kind) if asked[1] else None, of_bias.to(kind) if asked[2] else None, None


def _class_before(module: nn.Module) -> type[nn.Module] | None:
    """The class that goes before the module's own, if it is one of torch's convolutions over neighbours."""
    kind: Any = type(module)
    if not isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)) or issubclass(kind, (_Mended, _Cropped)):
        return None
    if max(module.kernel_size) == 1 or module.padding_mode != "zeros":
        return None
    if isinstance(module, _TRANSPOSED):
        return _Cropped if kind.forward in {base.forward for base in _TRANSPOSED} else None
    own = kind.forward, kind._conv_forward
    return _Mended if own in {(base.forward, base._conv_forward) for base in _CONVOLUTIONS} else None


def _is_small(layer: Any, inputs: Tensor) -> bool:
    """Whether the kernel, with the gaps that dilation leaves in it, is larger than the volume in some direction; or as
    large where it is strided.

    Of images only a width of one pixel is affected.
    """
    *_, width = sizes = inputs.shape[-len(layer.kernel_size) :]
    if len(sizes) == 2:
        return width == 1 and layer.kernel_size[1] > 1
    reach = zip(sizes, layer.kernel_size, layer.dilation, layer.stride, strict=True)
    return any(size <= (kernel - 1) * dilation + (stride > 1) for size, kernel, dilation, stride in reach)


def _is_slow(layer: Any, inputs: Tensor) -> bool:
    """Whether the gradients take long in bfloat16: depthwise, with a stride or a kernel above 3."""
    is_depthwise = layer.groups == layer.in_channels > 1 and (max(layer.stride) > 1 or max(layer.kernel_size) > 3)
    return is_depthwise and not isinstance(layer.padding, str) and inputs.ndim == len(layer.kernel_size) + 2


def _learns_in_bf16(inputs: Tensor, weight: Tensor) -> bool:
    """Whether autocast would run a convolution of these in bfloat16, and gradients of it will be asked for."""
    if not torch.is_grad_enabled() or not (inputs.requires_grad or weight.requires_grad):
        return False
    return bool(torch.is_autocast_enabled("cpu")) and torch.get_autocast_dtype("cpu") is torch.bfloat16
