"""Regression in the target's own units: trained on standardised targets, saved so that the model gives real ones."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hone.training import Outputs


@dataclass(frozen=True)
class Units:
    r"""The scale of D targets: ``y = mean + std * z`` with ``z`` what the network is trained to give.

    A rate that suits a classifier suits ``z`` whatever the targets are counted in. As the output layer is affine,
    ``W z + b`` becomes ``(std W) z + (std b + mean)``: saved so, the network gives ``y`` with no trace of ``z``.

    Args:
        mean: (D,) float32.
        std: (D,) float32, above 0.

    Example:
        >>> units = Units.of(torch.tensor([10.0, 30.0]))
        >>> units.standardize(torch.tensor([20.0])).tolist()
        [[0.0]]
    """

    mean: Tensor
    std: Tensor

    @staticmethod
    def of(targets: Tensor) -> Units:
        """The mean and spread of (N,) or (N, D) targets; a column that does not vary has spread 1."""
        columns = targets.reshape(len(targets), -1).double()
        std = columns.std(0, correction=0)
        return Units(columns.mean(0).float(), torch.where(std > 0, std, 1.0).float())

    @staticmethod
    def plain(width: int) -> Units:
        """Targets as they are."""
        return Units(torch.zeros(width), torch.ones(width))

    def standardize(self, target: Tensor) -> Tensor:
        """(N,) or (N, D) targets as (N, D) values of ``z``."""
        columns = target.reshape(len(target), -1).float()
        return (columns - self.mean.to(columns.device)) / self.std.to(columns.device)

    def restore(self, outputs: Outputs) -> Outputs:
        """Outputs of ``z`` as outputs of ``y``; the loss stays that of ``z``."""
        return dataclasses.replace(outputs, logits=outputs.logits * self.std + self.mean)

    def of_restored(self, loss: Callable[..., Tensor]) -> Callable[[Tensor, Tensor], Tensor]:
        """The loss that training saw, for a network that gives ``y``: ``loss(z, y)`` of predictions ``y``."""
        return lambda prediction, target: loss(self.standardize(prediction), target)

    def fold(self, state: Mapping[str, Tensor], head: str) -> dict[str, Tensor]:
        """The state dict whose output layer gives ``y``.

        Args:
            state: of the network that gives ``z``.
            head: name of its output layer, with weight (D, ...) and bias (D,).
        """
        weight, bias = state[f"{head}.weight"], state[f"{head}.bias"]
        std, mean = self.std.to(weight.device), self.mean.to(weight.device)
        scaled = weight * std.reshape(-1, *[1] * (weight.ndim - 1))
        return {**state, f"{head}.weight": scaled, f"{head}.bias": bias * std + mean}


def in_own_units(loss: Callable[..., Tensor], task: str) -> Callable[..., Tensor]:
    """The loss of a model as it was saved: for regression, both sides as (N, D) in the target's own units."""
    return StandardizedLoss(loss, Units.plain(1)) if task == "regress" else loss


class StandardizedLoss(nn.Module):
    """A loss between the network's output and standardised targets, both as (N, D).

    Args:
        loss: ``(prediction, target) -> mean``.
        units: of the targets.
    """

    def __init__(self, loss: Callable[..., Tensor], units: Units) -> None:
        super().__init__()
        self.loss = loss
        self.units = units

    def forward(self, prediction: Tensor, target: Tensor) -> Tensor:
        """The loss of (N, D) predictions."""
        return self.loss(prediction.float().reshape(len(prediction), -1), self.units.standardize(target))
