"""Accumulation: how much each micro-batch of a window counts, so that 4 x 8 samples equal 1 x 32."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from hone.training.distributed import World


def window_weights(targets: Sequence[Any], criterion: Callable[..., Tensor], world: World) -> list[Any]:
    """The factor on each micro-batch's mean loss: its share of the whole window's valid weight, over all processes.

    With ``n_i = criterion.valid_weight(target_i)`` where the loss has it, else the number of samples, the factor is
    ``world.size * n_i / sum n``: DDP averages gradients over the processes, so the sum over all of them is the mean
    over the window.

    Args:
        targets: the targets of this process's micro-batches.
        criterion: the loss, a mean over what it counts.
        world: the processes that share the window.

    Returns:
        One number (or 0-d tensor) a micro-batch. All ignored gives 0 for each.

    Example:
        >>> window_weights([torch.zeros(3), torch.zeros(1)], torch.nn.functional.mse_loss, World())
        [0.75, 0.25]
    """
    weigh = getattr(criterion, "valid_weight", None)
    if weigh is None and world.size == 1:
        counts = [len(target) for target in targets]
        return [count / sum(counts) for count in counts]
    dtype = torch.float32 if world.device.type == "mps" else torch.float64
    weights = [torch.as_tensor(weigh(t) if weigh else len(t)).to(world.device, dtype) for t in targets]
    total = world.total(torch.stack(weights).sum())
    share = world.size / torch.where(total > 0, total, 1.0)
    return [weight * share for weight in weights]
