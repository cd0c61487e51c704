"""``run_over``: the mean of the criterion over all samples, in the data's order, whatever the batches."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from hone import losses
from hone.precision import Precision
from hone.training import World, run_over

INPUTS, TARGET = torch.randn(11, 4, generator=torch.Generator().manual_seed(0)), torch.arange(11) % 3


def batches(size: int) -> list[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Batches in a mixed order."""
    order = torch.randperm(11, generator=torch.Generator().manual_seed(1))
    return [(INPUTS[part], TARGET[part], part) for part in order.split(size)]


def model() -> nn.Module:
    torch.manual_seed(2)
    return nn.Sequential(nn.Linear(4, 3), nn.Dropout(0.5))


@pytest.mark.parametrize("size", [1, 4, 11])
def test_outputs_are_those_of_one_batch(size: int) -> None:
    network, precision = model(), Precision("fp32", device="cpu")
    found = run_over(network, batches(size), losses.CrossEntropyLoss([1.0, 4.0, 0.5]), precision, World())
    logits = network.eval()(INPUTS).detach()
    expected = nn.functional.cross_entropy(logits.double(), TARGET, torch.tensor([1.0, 4.0, 0.5]).double())
    assert found.indices.tolist() == list(range(11)) and torch.equal(found.targets, TARGET)
    torch.testing.assert_close(found.logits, logits)
    assert found.loss == pytest.approx(float(expected), rel=1e-6) and not network.training


def test_without_a_criterion_there_is_no_loss() -> None:
    assert math.isnan(run_over(model(), batches(4), None, Precision("fp32", device="cpu"), World()).loss)


def test_a_mean_of_means_would_be_seen() -> None:
    """Batches of 4, 4 and 3 weighted alike give another number: the comparison above can fail."""
    network, criterion = model().eval(), losses.CrossEntropyLoss([1.0, 4.0, 0.5])
    wrong = sum(criterion(network(inputs), target).item() for inputs, target, _ in batches(4)) / 3
    assert run_over(network, batches(4), criterion, Precision("fp32", device="cpu"), World()).loss != pytest.approx(
        wrong, rel=1e-4
    )
