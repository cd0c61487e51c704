"""The law of accumulation: a window of 4 x 8 samples is a batch of 32, in float64, whatever each micro-batch weighs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hone import losses
from hone.training import World, updates
from hone.training.window import window_weights

Loss = Callable[..., Tensor]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, 3)).double()


def window(attempt: int, ignored: bool) -> tuple[Tensor, Tensor]:
    """32 samples; with ``ignored`` the first of them count little: 0, 2, 4 and 8 of each 8 are known."""
    generator = torch.Generator().manual_seed(attempt)
    inputs = torch.randn(32, 6, generator=generator, dtype=torch.float64)
    target = torch.randint(0, 3, (32,), generator=generator)
    if ignored:
        for part, known in enumerate((0, 2, 4, 8)):
            target[8 * part + known : 8 * part + 8] = -100
    return inputs, target


def trained(criterion: Loss, sizes: list[int], ignored: bool) -> dict[str, Tensor]:
    """The weights after three updates on windows of micro-batches of these sizes."""
    model = network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5, momentum=0.9)

    def batches(attempt: int) -> Any:
        while True:
            inputs, target = window(attempt, ignored)
            yield from zip(inputs.split(sizes), target.split(sizes), strict=True)
            attempt += 1

    for _ in updates(model, criterion, optimizer, batches, total_updates=3, accumulate=len(sizes), max_norm=1.0):
        pass
    return model.state_dict()


def distance(a: dict[str, Tensor], b: dict[str, Tensor]) -> float:
    return max(float((a[name] - b[name]).abs().max()) for name in a)


class Own(nn.Module):
    """A user's loss that says nothing of weights: samples count."""

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        return nn.functional.multi_margin_loss(logits, target)


class Misweighed(losses.CrossEntropyLoss):
    """A wrong weight: every sample counts, the ignored ones too."""

    def valid_weight(self, target: Tensor) -> Tensor:
        return torch.tensor(float(len(target)))


CASES: dict[str, tuple[Callable[[], Loss], bool]] = {
    "cross-entropy": (losses.CrossEntropyLoss, False),
    "ignored": (losses.CrossEntropyLoss, True),
    "class weights": (lambda: losses.CrossEntropyLoss([1.0, 4.0, 0.25]), True),
    "focal": (lambda: losses.FocalLoss(weight=[1.0, 4.0, 0.25]), True),
    "smoothed": (lambda: losses.CrossEntropyLoss(label_smoothing=0.1), True),
    "user's": (Own, False),
    "torch's": (nn.CrossEntropyLoss, False),
}


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("sizes", [[8, 8, 8, 8], [20, 8, 4]], ids=str)
def test_a_window_is_a_batch(name: str, sizes: list[int]) -> None:
    make, ignored = CASES[name]
    assert distance(trained(make(), [32], ignored), trained(make(), sizes, ignored)) < 1e-12


def test_a_wrong_weight_is_seen() -> None:
    assert distance(trained(Misweighed(), [32], True), trained(Misweighed(), [8, 8, 8, 8], True)) > 1e-3


def test_a_window_in_which_everything_is_ignored_moves_nothing() -> None:
    target = torch.full((4,), -100)
    assert [float(w) for w in window_weights([target, target], losses.CrossEntropyLoss(), World())] == [0, 0]
