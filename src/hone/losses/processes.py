"""Sums over the batches of all processes, through which gradients flow."""

from __future__ import annotations

from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

from hone.losses.plain_sums import Sums


class _AllReduceSum(torch.autograd.Function):
    """Forward: the sum over processes. Backward: the sum of the gradients over processes.

    Every process then differentiates the sum of all (equal) losses; DistributedDataParallel's mean over processes
    divides that by their number again, and the gradient is that of one process with the whole batch.
    """

    @staticmethod
    def forward(_: Any, values: Tensor) -> Tensor:
        total = values.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total

    @staticmethod
    def backward(_: Any, *grads: Tensor) -> Tensor:
        reduced: Tensor = _AllReduceSum.apply(grads[0].contiguous())
        return reduced


def add_over_processes(sums: Sums) -> Sums:
    """The sums over the samples of this batch and of all processes, each ``(1, C)``; one all-reduce.

    Without an initialised process group, or with one process, the sums are over this batch alone.
    """
    stacked = torch.stack([part.sum(0, keepdim=True) for part in sums])
    if dist.is_available() and dist.is_initialized() and dist.get_world_size() > 1:
        stacked = _AllReduceSum.apply(stacked)
    return Sums(*stacked.unbind())
