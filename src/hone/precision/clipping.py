"""What is done to several optimizers together: their gradients clipped to one norm, their parameters looked at."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim import Optimizer

from hone.checks import invalid


def refuse_half_parameters(optimizer: Optimizer) -> None:
    """Raise where a parameter that trains is half precision."""
    for group in optimizer.param_groups:
        for parameter in group["params"]:
            if parameter.requires_grad and parameter.dtype in (torch.float16, torch.bfloat16):
                raise TypeError(
                    f"parameters must be float32 where they are trained, got {parameter.dtype}: small updates vanish "
                    "in half precision; call model.float() and let autocast choose the half"
                )


def clip_together(optimizers: Sequence[Optimizer], max_norm: float) -> Tensor:
    """Scale all gradients of all optimizers down to the joint norm ``max_norm``, and return the norm before."""
    if not max_norm > 0:
        raise invalid("max_norm", "be above 0", max_norm, "leave it out to train without clipping")
    params = [p for optimizer in optimizers for group in optimizer.param_groups for p in group["params"]]
    grads = [p.grad for p in params if p.grad is not None]
    if math.isinf(max_norm):
        return torch.nn.utils.get_total_norm(grads)
    if not _are_alike(grads):
        return torch.nn.utils.clip_grad_norm_(params, max_norm)
    # The operations of clip_grad_norm_ without its sorting by device and dtype, which costs more than they do where the
    # gradients are small.
    with torch.no_grad():
        norm: Tensor = torch.linalg.vector_norm(torch.stack(torch._foreach_norm(grads)))
        torch._foreach_mul_(grads, (max_norm / (norm + 1e-6)).clamp(max=1.0))
    return norm


def _are_alike(grads: Sequence[Tensor]) -> bool:
    """Whether they are plain dense tensors of one device and dtype."""
    if not grads:
        return False
    device, dtype = grads[0].device, grads[0].dtype
    return all(
        type(g) is Tensor and g.layout is torch.strided and g.dtype is dtype and g.device == device for g in grads
    )
