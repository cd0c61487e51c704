"""The loss at the best temperature, against a search over a grid in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hone.training import Outputs, calibrated_losses


def outputs(logits: torch.Tensor, targets: torch.Tensor, loss: float = 7.0) -> Outputs:
    return Outputs(logits, targets, torch.arange(len(logits)), loss)


def calibrated_loss(task: str, found: Outputs) -> float:
    return float(calibrated_losses(task, found).mean())


def by_grid(logits: np.ndarray, targets: np.ndarray) -> float:
    """The smallest mean of -log p over 4,001 temperatures."""
    found = math.inf
    for temperature in np.exp(np.linspace(np.log(0.5), np.log(20), 4001)):
        z = logits / temperature
        z = z - z.max(1, keepdims=True)
        p = np.exp(z) / np.exp(z).sum(1, keepdims=True)
        found = min(found, float(-np.log(p[np.arange(len(p)), targets]).mean()))
    return found


@pytest.mark.parametrize("classes", [2, 5])
@pytest.mark.parametrize("scale", [0.5, 1.0, 8.0])
def test_against_a_grid(classes: int, scale: float) -> None:
    draw = torch.Generator().manual_seed(classes)
    targets = torch.randint(classes, (60,), generator=draw)
    logits = scale * (torch.randn(60, classes, generator=draw) + 1.5 * torch.eye(classes)[targets])
    found = calibrated_loss("classify", outputs(logits, targets))
    assert found == pytest.approx(by_grid(logits.double().numpy(), targets.numpy()), abs=2e-6)
    assert found <= float(torch.nn.functional.cross_entropy(logits.double(), targets)) + 1e-9


def test_sureness_does_not_count() -> None:
    draw = torch.Generator().manual_seed(0)
    logits, targets = torch.randn(40, 4, generator=draw), torch.randint(4, (40,), generator=draw)
    logits += 2 * torch.eye(4)[targets]
    found = {round(calibrated_loss("classify-video", outputs(k * logits, targets)), 5) for k in (1.0, 3.0, 8.0)}
    assert len(found) == 1


def test_where_all_is_right_the_surer_is_better() -> None:
    targets = torch.tensor([0, 1, 0])
    sure, surer = (k * torch.eye(2)[targets] for k in (2.0, 4.0))
    assert calibrated_loss("classify", outputs(surer, targets)) < calibrated_loss("classify", outputs(sure, targets))


def test_labels_that_do_not_exclude_each_other() -> None:
    logits, targets = torch.tensor([[4.0, -4.0], [4.0, 4.0]]), torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    # Three of four are right: at the best temperature each is believed with probability 3/4.
    entropy = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert calibrated_loss("multilabel", outputs(logits, targets)) == pytest.approx(entropy, abs=1e-5)


def test_other_tasks_have_their_own_loss_and_what_is_not_finite_has_none() -> None:
    assert calibrated_loss("regress", outputs(torch.randn(3, 1), torch.randn(3, 1), loss=0.25)) == 0.25
    broken = torch.tensor([[1.0, float("nan")], [0.0, 1.0]])
    assert calibrated_losses("classify", outputs(broken, torch.tensor([0, 1]))).tolist() == [math.inf, math.inf]
