"""A small network with everything that can drift: batch norm, dropout, a trunk and a head; and data for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn


class Small(nn.Sequential):
    """Two blocks with batch norm and dropout, and a linear head."""

    def __init__(self, seed: int = 0, classes: int = 3) -> None:
        torch.manual_seed(seed)
        super().__init__(
            nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)),
            nn.Sequential(nn.Linear(16, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.2)),
            nn.Linear(16, classes),
        )


def batch_of(attempt: int, place: int, size: int = 8) -> tuple[Tensor, Tensor]:
    """A micro-batch that is a function of the attempt and its place in the window."""
    generator = torch.Generator().manual_seed(1_000 * attempt + place)
    return torch.randn(size, 6, generator=generator), torch.randint(0, 3, (size,), generator=generator)


class Source:
    """Micro-batches from any attempt on, and a loss that overflows at the attempts named.

    Args:
        criterion: the loss.
        accumulate: micro-batches an attempt.
        overflow: attempts at which the loss, and with it every gradient, is infinite.
    """

    def __init__(
        self, criterion: Callable[..., Tensor], accumulate: int = 1, overflow: frozenset[int] = frozenset()
    ) -> None:
        self.inner, self.accumulate, self.overflow, self.attempt = criterion, accumulate, overflow, -1

    def batches(self, attempt: int) -> Iterator[tuple[Tensor, Tensor]]:
        while True:
            self.attempt = attempt
            for place in range(self.accumulate):
                yield batch_of(attempt, place)
            attempt += 1

    def criterion(self, logits: Tensor, target: Tensor) -> Tensor:
        loss = self.inner(logits, target)
        return loss * torch.inf if self.attempt in self.overflow else loss
