"""Head and loss in one: a 1x1 convolution whose logits never exist as a whole."""

from __future__ import annotations

from typing import Any, Unpack

import torch
from torch import Tensor

from hone.checks import invalid
from hone.losses.compound import SoftmaxDiceCELoss, SoftmaxDiceCEOptions
from hone.losses.kernels import native
from hone.losses.kernels.choice import is_plain
from hone.losses.plain_sums import Sums
from hone.losses.processes import add_over_processes
from hone.losses.sums import compute_sums
from hone.losses.sums_loss import SumsLoss
from hone.losses.targets import fit_mask, working_dtype

#: Logits that exist at once: small enough to stay near the processor, large enough to keep its cores busy.
BLOCK_LOGITS = 1 << 20


def conv1x1_dice_ce(
    features: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    target: Tensor,
    /,
    *,
    mask: Tensor | None = None,
    **options: Unpack[SoftmaxDiceCEOptions],
) -> Tensor:
    r"""`SoftmaxDiceCELoss` of a 1x1 convolution, without its logits ever being in memory.

    .. math:: L\bigl(W f_v + b,\ t\bigr)

    Block by block of voxels the logits are computed, summed and dropped; backward does so again and writes the
    gradients of features, weight and bias.

    Args:
        features: ``(N, F, *spatial)``, float32, float64 or half precision.
        weight: ``(C, F)`` or ``(C, F, 1, ...)``, of the features' dtype.
        bias: ``(C,)`` or None.
        target: labels ``(N, *spatial)``.
        mask: true where voxels count, ``(N, *spatial)``.
        options: those of `SoftmaxDiceCELoss`.

    Returns:
        A float32 scalar (float64 for float64 features).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit.

    Example:
        >>> features, weight = torch.ones(1, 3, 4), torch.zeros(2, 3)
        >>> round(conv1x1_dice_ce(features, weight, None, torch.tensor([[0, 1, 1, 0]])).item(), 4)
        1.0931
    """
    return conv1x1_loss(SoftmaxDiceCELoss(**options), features, weight, bias, target, mask=mask)


def conv1x1_loss(
    loss: SumsLoss, features: Tensor, weight: Tensor, bias: Tensor | None, target: Tensor, *, mask: Tensor | None = None
) -> Tensor:
    """Any loss of sums over the softmax of a 1x1 convolution; the arguments are those of `conv1x1_dice_ce`.

    Args:
        loss: a softmax loss that is a function of sums: Dice, Tversky, cross-entropy, focal and their compounds.
        features, weight, bias, target, mask: as for `conv1x1_dice_ce`.

    Returns:
        A float32 scalar (float64 for float64 features).

    Raises:
        ValueError: shapes, dtypes or labels that don't fit, or a loss that needs whole logits.

    Example:
        >>> from hone.losses import SoftmaxTverskyLoss
        >>> features, weight = torch.ones(1, 3, 4), torch.zeros(2, 3)
        >>> conv1x1_loss(SoftmaxTverskyLoss(), features, weight, None, torch.tensor([[0, 1, 1, 0]])).item()
        0.3333333432674408
    """
    if not (isinstance(loss, SumsLoss) and loss.softmax and loss.shares):
        raise invalid("loss", "be a softmax loss that is a function of sums", type(loss).__name__)
    n, channels, *spatial = features.shape
    matrix = weight.reshape(weight.shape[0], -1)
    if matrix.shape[1] != channels:
        raise invalid("weight", f"have shape (C, {channels}) for these features", tuple(weight.shape))
    if bias is not None and tuple(bias.shape) != (weight.shape[0],):
        raise invalid("bias", f"have shape {(weight.shape[0],)}", tuple(bias.shape))
    if tuple(target.shape) not in ((n, *spatial), (n, 1, *spatial)):
        raise invalid("target", f"hold labels of shape {(n, *spatial)}", tuple(target.shape))
    kept = fit_mask(features, mask)
    flat = features.reshape(n, channels, -1)
    options = (loss.ignore_index, loss.wants.flags, loss.wants.gamma)
    sums: Tensor = _HeadSums.apply(
        flat, matrix, bias, target.reshape(n, -1), None if kept is None else kept.reshape(n, -1), *options
    )
    parts = Sums(*sums.unbind())
    if loss.across_processes:
        parts = add_over_processes(parts)
    return loss.from_sums(parts, True).to(working_dtype(features))


class _HeadSums(torch.autograd.Function):
    """The sums ``(8, N, C)`` of the logits ``W f + b``, block by block, in both directions."""

    @staticmethod
    def forward(
        ctx: Any,
        features: Tensor,
        weight: Tensor,
        bias: Tensor | None,
        target: Tensor,
        mask: Tensor | None,
        *options: Any,
    ) -> Tensor:
        ctx.options = options
        ctx.save_for_backward(features, weight, bias, target, mask)
        rows = []
        for sample in range(features.shape[0]):
            total = None
            for block in _blocks(features, weight):
                part = torch.stack(
                    tuple(_sums(_logits(features, weight, bias, sample, block), target, mask, sample, block, options))
                )
                total = part if total is None else total + part
            rows.append(total)
        return torch.cat([row for row in rows if row is not None], 1)

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        features, weight, bias, target, mask = ctx.saved_tensors
        upstream = grads[0]
        of_features = torch.empty_like(features)
        of_weight = torch.zeros_like(weight, dtype=working_dtype(weight))
        of_bias = None if bias is None else torch.zeros_like(bias, dtype=of_weight.dtype)
        for sample in range(features.shape[0]):
            for block in _blocks(features, weight):
                logits = _logits(features, weight, bias, sample, block).detach()
                grad = _grad(upstream[:, sample : sample + 1], logits, target, mask, sample, block, ctx.options)
                grad = grad[0].to(features.dtype)
                torch.mm(weight.T, grad, out=of_features[sample, :, block])
                of_weight += grad @ features[sample, :, block].T
                if of_bias is not None:
                    of_bias += grad.sum(1, dtype=of_bias.dtype)
        of_bias = None if bias is None or of_bias is None else of_bias.to(bias.dtype)
        return (of_features, of_weight.to(weight.dtype), of_bias, *[None] * (2 + len(ctx.options)))


def _blocks(features: Tensor, weight: Tensor) -> list[slice]:
    voxels, step = features.shape[2], max(BLOCK_LOGITS // weight.shape[0], 256)
    return [slice(first, min(first + step, voxels)) for first in range(0, max(voxels, 1), step)]


def _logits(features: Tensor, weight: Tensor, bias: Tensor | None, sample: int, block: slice) -> Tensor:
    part = features[sample, :, block]
    logits = weight @ part if bias is None else torch.addmm(bias[:, None], weight, part)
    return logits.unsqueeze(0)


def _sums(
    logits: Tensor, target: Tensor, mask: Tensor | None, sample: int, block: slice, options: tuple[Any, ...]
) -> Sums:
    ignore_index, flags, gamma = options
    labels = target[sample : sample + 1, block]
    kept = None if mask is None else mask[sample : sample + 1, block]
    return compute_sums(
        logits, labels, kept, sigmoid=False, ignore_index=ignore_index, flags=flags, gamma=gamma, inplace=False
    )


def _grad(
    upstream: Tensor,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    sample: int,
    block: slice,
    options: tuple[Any, ...],
) -> Tensor:
    """The gradient of a block of logits, over the logits themselves where a kernel writes it."""
    labels = target[sample : sample + 1, block]
    if native.serves(logits, labels, sigmoid=False) and not is_plain():
        kept = None if mask is None else mask[sample : sample + 1, block]
        return native.compute_grad(upstream, logits, labels, kept, False, *options, inplace=True)
    with torch.enable_grad():
        sums = torch.stack(tuple(_sums(logits.requires_grad_(), target, mask, sample, block, options)))
    (grad,) = torch.autograd.grad(sums, logits, upstream)
    return grad
