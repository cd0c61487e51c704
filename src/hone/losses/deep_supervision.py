"""Deep supervision: one loss on outputs of several sizes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hone.checks import invalid, number
from hone.losses.loss import AnyLoss
from hone.losses.targets import count_of


class DeepSupervisionLoss(nn.Module):
    r"""A loss applied to each of several outputs, the target resized to each, :math:`L = \sum_i w_i L_i / \sum_i w_i`.

    Args:
        loss: any callable ``(logits, target) -> scalar``.
        weights: one weight for each output, the first being the finest, at least 0; None: :math:`2^{-i}`.

    Called with a sequence of logits ``(N, C, *spatial_i)`` (or one tensor: as the loss itself) and the target of the
    finest. Labels are resized to the nearest, soft targets by averaging over areas.

    Returns:
        A scalar.

    Raises:
        ValueError: no output, weights that are negative or all 0, or not as many as outputs.

    Example:
        >>> from hone.losses import CrossEntropyLoss
        >>> outputs = [torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 2, 2)]
        >>> target = torch.zeros(1, 4, 4, dtype=torch.long)
        >>> round(DeepSupervisionLoss(CrossEntropyLoss())(outputs, target).item(), 4)
        0.6931

    Reference:
        Lee et al., Deeply-supervised nets, 2014, arXiv:1409.5185.
    """

    def __init__(self, loss: AnyLoss, weights: Sequence[float] | None = None) -> None:
        super().__init__()
        self.loss = loss
        self.weights = None if weights is None else [number("a weight", weight, at_least=0) for weight in weights]
        if self.weights is not None and not sum(self.weights) > 0:
            raise invalid("weights", "have a weight above 0", self.weights)

    def forward(self, logits: Tensor | Sequence[Tensor], target: Tensor) -> Tensor:
        """The weighted mean of the losses of all outputs."""
        if isinstance(logits, Tensor):
            return self.loss(logits, target)
        weights = [0.5**i for i in range(len(logits))] if self.weights is None else self.weights
        if not logits or len(weights) != len(logits):
            raise invalid("weights", f"have one weight for each of the {len(logits)} outputs", weights)
        used = [(w, x) for w, x in zip(weights, logits, strict=True) if w > 0]
        losses = [weight * self.loss(output, resized(target, output)) for weight, output in used]
        return torch.stack(losses).sum() / sum(weights)

    def valid_weight(self, target: Tensor) -> Tensor:
        """The weight of the finest output's mean."""
        if hasattr(self.loss, "valid_weight"):
            return cast(Tensor, self.loss.valid_weight(target))
        return count_of(target, target.shape[0])


def resized(target: Tensor, logits: Tensor) -> Tensor:
    """``target`` in the spatial size of ``logits``."""
    spatial, axes = tuple(logits.shape[2:]), logits.ndim - 2
    if tuple(target.shape[target.ndim - axes :]) == spatial:
        return target
    lacks_channel = target.ndim == logits.ndim - 1
    maps = target.unsqueeze(1) if lacks_channel else target
    if torch.is_floating_point(target):
        resized_maps = F.interpolate(maps, spatial, mode="area")
    else:
        # float32 holds labels up to 2^24 exactly; torch resizes no integers.
        resized_maps = F.interpolate(maps.float(), spatial, mode="nearest-exact").to(target.dtype)
    return resized_maps.squeeze(1) if lacks_channel else resized_maps
