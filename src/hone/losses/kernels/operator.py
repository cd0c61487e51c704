"""The operator ``hone::region_sums`` and its gradient, as torch sees them: compiled, faked, differentiated."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from hone.losses.kernels import native
from hone.losses.kernels.choice import is_plain, is_triton


@torch.library.custom_op("hone::region_sums", mutates_args=())
def region_sums(
    logits: Tensor, target: Tensor, mask: Tensor | None, sigmoid: bool, ignore_index: int, flags: int, gamma: float
) -> Tensor:
    """The sums ``(8, N, C)`` of logits ``(N, C, *spatial)``, float64, in the order of `hone.losses.sums.Sums`."""
    if logits.is_cuda:
        from hone.losses.kernels import gpu  # Triton is there only where `use_triton` was asked for

        return gpu.compute_sums(logits, target, mask, ignore_index, flags, gamma)
    return native.compute_sums(logits, target, mask, sigmoid, ignore_index, flags, gamma)


@region_sums.register_fake
def _(
    logits: Tensor, target: Tensor, mask: Tensor | None, sigmoid: bool, ignore_index: int, flags: int, gamma: float
) -> Tensor:
    return logits.new_empty((native.ROWS, *logits.shape[:2]), dtype=torch.float64)


@torch.library.custom_op("hone::region_sums_grad", mutates_args=())
def region_sums_grad(
    upstream: Tensor,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    sigmoid: bool,
    ignore_index: int,
    flags: int,
    gamma: float,
) -> Tensor:
    """The gradient of the logits from that of the sums."""
    if logits.is_cuda:
        from hone.losses.kernels import gpu

        return gpu.compute_grad(upstream, logits, target, mask, ignore_index, flags, gamma)
    return native.compute_grad(upstream, logits, target, mask, sigmoid, ignore_index, flags, gamma)


@region_sums_grad.register_fake
def _(
    upstream: Tensor,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    sigmoid: bool,
    ignore_index: int,
    flags: int,
    gamma: float,
) -> Tensor:
    if not sigmoid and not logits.is_cuda and native.is_channels_last(logits):
        return torch.empty_like(logits)
    return torch.empty_like(logits, memory_format=torch.contiguous_format)


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    logits, target, mask, *ctx.options = inputs
    ctx.save_for_backward(logits, target, mask)


def _backward(ctx: Any, upstream: Tensor) -> tuple[Tensor | None, ...]:
    logits, target, mask = ctx.saved_tensors
    if torch.is_grad_enabled() and not torch.compiler.is_compiling():
        grad = _twice_differentiable(upstream, logits, target, mask, *ctx.options)
    else:
        grad = region_sums_grad(upstream, logits, target, mask, *ctx.options)
    return grad, None, None, None, None, None, None


region_sums.register_autograd(_backward, setup_context=_remember)


class _InPlace(torch.autograd.Function):
    """`region_sums` whose gradient is written over the logits: nothing else may need them afterwards."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, target: Tensor, mask: Tensor | None, *options: Any) -> Tensor:
        ctx.options = options
        ctx.save_for_backward(logits, target, mask)
        return native.compute_sums(logits, target, mask, *options)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        logits, target, mask = ctx.saved_tensors
        # Whoever else saved the logits now learns from autograd that they have changed, instead of using the gradient.
        torch.autograd.graph.increment_version(logits)
        grad = native.compute_grad(grads[0], logits.detach(), target, mask, *ctx.options, inplace=True)
        return grad, None, None, None, None, None, None


def fused_sums(
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    *,
    sigmoid: bool,
    ignore_index: int,
    flags: int,
    gamma: float,
    inplace: bool,
) -> Tensor | None:
    """The sums by a kernel, or None where none takes these tensors (or `plain_torch` asks for torch)."""
    if is_plain() or not (native.serves(logits, target, sigmoid=sigmoid) or _triton_serves(logits, target, sigmoid)):
        return None
    options = (sigmoid, ignore_index, flags, gamma)
    # Over a copy (of logits that are not contiguous) nothing would be saved; a compiled graph owns its memory itself.
    if (
        inplace
        and not logits.is_cuda
        and (logits.is_contiguous() or (not sigmoid and native.is_channels_last(logits)))
        and not logits.is_leaf
        and not torch.compiler.is_compiling()
    ):
        sums: Tensor = _InPlace.apply(logits, target, mask, *options)
        return sums
    computed: Tensor = region_sums(logits, target, mask, *options)
    return computed


def _triton_serves(logits: Tensor, target: Tensor, sigmoid: bool) -> bool:
    known = (torch.float32, torch.bfloat16, torch.float16)
    return is_triton() and logits.is_cuda and logits.numel() > 0 and not sigmoid and logits.dtype in known


def _twice_differentiable(
    upstream: Tensor,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    sigmoid: bool,
    ignore_index: int,
    flags: int,
    gamma: float,
) -> Tensor:
    """The gradient as plain torch operations, for a second derivative, which the kernels don't have."""
    from hone.losses.kernels.choice import plain_torch
    from hone.losses.sums import compute_sums

    with plain_torch():
        sums = compute_sums(
            logits, target, mask, sigmoid=sigmoid, ignore_index=ignore_index, flags=flags, gamma=gamma, inplace=False
        )
    (grad,) = torch.autograd.grad(torch.stack(tuple(sums)), logits, upstream, create_graph=True, allow_unused=True)
    return torch.zeros_like(logits) if grad is None else grad
