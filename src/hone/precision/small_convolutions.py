"""Convolutions of inputs smaller than their kernel, whose gradients torch gets wrong on AVX-512 processors."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_CONVOLUTIONS = (nn.Conv2d, nn.Conv3d)
_TRANSPOSED = (nn.ConvTranspose2d, nn.ConvTranspose3d)


def has_faulty_convolutions(device: torch.device) -> bool:
    """Whether torch's convolutions on ``device`` need :func:`pad_small_convolutions`.

    Example:
        >>> has_faulty_convolutions(torch.device("meta"))
        False
    """
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability().startswith(("AVX512", "AVX10"))


def pad_small_convolutions(model: nn.Module) -> list[str]:
    """Make convolutions whose input is smaller than their kernel pad it themselves, in place.

    Where a kernel reaches over both ends of its input (the last level of a 3-D U-Net, the late layers of a video
    network: 2 frames under a kernel of 3), oneDNN's gradient of the weights on AVX-512 leaves entries unwritten, which
    are then whatever the memory held (in bfloat16, NaN once in a while), or writes beyond its buffer (strided ones, in
    float32 too). Padded beforehand, and cropped afterwards where transposed, the same convolution takes a path without
    these faults; one whose input is large enough is left as it is. State dict keys, and ``isinstance``, stay.

    Args:
        model: any model; convolutions with a forward of their own (weight standardisation, "same" padding) are left.

    Returns:
        The names of the convolutions that look at the size of their input.

    Example:
        >>> model = nn.Sequential(nn.Conv3d(1, 4, 1), nn.Conv3d(4, 4, 3, padding=1))
        >>> pad_small_convolutions(model)
        ['1']
        >>> model(torch.ones(1, 1, 2, 8, 8)).shape
        torch.Size([1, 4, 2, 8, 8])

    Reference:
        Seen with torch 2.14.1 (oneDNN) on AMD Zen 4: 111 of 1,677 random shapes, none of them with inputs as large as
        the kernel; none of 760 when padded.
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


class _Padded(nn.Module):
    """Put before a convolution's own class."""

    def _conv_forward(self: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        if not _is_small(self, inputs):
            return super()._conv_forward(inputs, weight, bias)  # type: ignore[misc, no-any-return]
        padded = F.pad(inputs, self._reversed_padding_repeated_twice)
        run = F.conv2d if len(self.kernel_size) == 2 else F.conv3d
        return run(padded, weight, bias, self.stride, 0, self.dilation, self.groups)


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


def _class_before(module: nn.Module) -> type[nn.Module] | None:
    """The class that goes before the module's own, if it is one of torch's convolutions over neighbours."""
    kind: Any = type(module)
    if not isinstance(module, (*_CONVOLUTIONS, *_TRANSPOSED)) or issubclass(kind, (_Padded, _Cropped)):
        return None
    if max(module.kernel_size) == 1 or module.padding_mode != "zeros":
        return None
    if isinstance(module, _TRANSPOSED):
        return _Cropped if kind.forward in {base.forward for base in _TRANSPOSED} else None
    own = kind.forward, kind._conv_forward
    return _Padded if own in {(base.forward, base._conv_forward) for base in _CONVOLUTIONS} else None


def _is_small(layer: Any, inputs: Tensor) -> bool:
    """Whether the kernel, with the gaps that dilation leaves in it, is larger than the input in some direction."""
    sizes = inputs.shape[-len(layer.kernel_size) :]
    reach = zip(sizes, layer.kernel_size, layer.dilation, strict=True)
    return any(size <= (kernel - 1) * dilation for size, kernel, dilation in reach)
