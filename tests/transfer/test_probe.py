"""The probe against its own definition: at the minimum of a convex objective the gradient is zero."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hone.transfer.closed_form import RIDGE_PENALTIES
from hone.transfer.probe import explained, fit_probe, head_features


def clouds(classes: int, samples: int = 60, width: int = 12) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(classes)
    target = torch.arange(samples) % classes
    centres = 2 * torch.randn(classes, width, generator=generator)
    scales = torch.logspace(-2, 2, width)  # features of very different size
    return (centres[target] + torch.randn(samples, width, generator=generator)) * scales, target


def slope(features: Tensor, target: Tensor, weight: Tensor, bias: Tensor, inverse_penalty: float) -> float:
    """Norm of the objective's gradient at the fitted layer, over its norm at zero; float64, by autograd."""
    x = features.double()
    mean, scale = x.mean(0), x.std(0, correction=0)
    z = (x - mean) / scale

    def gradient(v: Tensor, c: Tensor) -> Tensor:
        v, c = v.clone().requires_grad_(), c.clone().requires_grad_()
        loss = (
            inverse_penalty * nn.functional.cross_entropy(z @ v.T + c, target, reduction="sum") + v.square().sum() / 2
        )
        return torch.cat([g.reshape(-1) for g in torch.autograd.grad(loss, (v, c))])

    fitted = gradient(weight.double() * scale, bias.double() + weight.double() @ mean)
    start = gradient(torch.zeros_like(weight, dtype=torch.float64), torch.zeros_like(bias, dtype=torch.float64))
    return float(fitted.norm() / start.norm())


@pytest.mark.parametrize("classes", [3, 5])
def test_the_fitted_layer_is_the_minimum(classes: int) -> None:
    features, target = clouds(classes, samples=4 * classes)  # too few a class for folds: the usual penalty
    weight, bias = fit_probe(features, target, classes)
    assert slope(features, target, weight, bias, 1e-2) < 1e-3
    assert slope(features, target, weight * 1.1, bias, 1e-2) > 1e-2  # the measure can fail


def test_two_classes_are_two_rows_that_differ_in_sign() -> None:
    features, target = clouds(2)
    weight, bias = fit_probe(features, target, 2)
    assert weight.shape == (2, 12)
    assert torch.equal(weight[0], -weight[1])
    assert ((features @ weight.T + bias).argmax(1) == target).float().mean() > 0.9


def test_the_penalty_is_searched_where_there_are_samples() -> None:
    features, target = clouds(3, samples=90)
    held, held_target = features[1::2], target[1::2]
    weight, bias = fit_probe(features[::2], target[::2], 3)
    assert ((held @ weight.T + bias).argmax(1) == held_target).float().mean() > 0.9


def test_what_a_probe_explains_is_what_there_is_to_explain() -> None:
    """Of labels drawn with known odds: 1 - H(t | x) / H(t), by the odds themselves."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4_000, 3, generator=generator, dtype=torch.float64)
    odds = torch.stack([2 * features[:, 0], -features[:, 1], torch.zeros(4_000)], 1).softmax(1)
    target = torch.multinomial(odds, 1, generator=generator)[:, 0]
    share = torch.bincount(target) / len(target)
    truth = 1 - float(torch.special.entr(odds).sum(1).mean() / torch.special.entr(share).sum())
    assert 0.2 < truth < 0.5
    assert explained(features.float(), target) == pytest.approx(truth, abs=0.02)
    odds = torch.stack([(2 * features[:, 0]).sigmoid(), torch.full((4_000,), 0.3)], 1)  # the second label is chance
    labels = torch.bernoulli(odds, generator=generator)
    share = labels.mean(0)
    missing = (torch.special.entr(odds) + torch.special.entr(1 - odds)).mean(0).sum()
    truth = 1 - float(missing / (torch.special.entr(share) + torch.special.entr(1 - share)).sum())
    assert explained(features.float(), labels, task="multilabel") == pytest.approx(truth, abs=0.02)
    assert abs(explained(torch.randn(200, 50, generator=generator), target[:200]) or 1) < 0.1


def test_what_a_probe_explains_of_numbers_is_leave_one_out() -> None:
    """Every sample by a ridge regression without it, fitted anew in numpy."""
    generator = torch.Generator().manual_seed(1)
    features = torch.randn(30, 4, generator=generator)
    target = features @ torch.tensor([1.0, -2.0, 0.0, 0.5]) + torch.randn(30, generator=generator)
    x = features.double().numpy()
    z, y = (x - x.mean(0)) / x.std(0), target.double().numpy()

    def error(penalty: float) -> float:
        total = 0.0
        for row in range(30):
            # The column of ones is not penalised, and the penalty is a share of all 30 samples.
            rest = np.arange(30) != row
            a = np.c_[z[rest], np.ones(29)]
            fitted = np.linalg.solve(a.T @ a + 30 * penalty * np.diag([1, 1, 1, 1, 0]), a.T @ y[rest])
            total += (y[row] - np.r_[z[row], 1] @ fitted) ** 2
        return total / 30

    best = min(error(penalty) for penalty in RIDGE_PENALTIES)
    assert explained(features, target, task="regress") == pytest.approx(1 - best / y.var(), abs=1e-6)


def test_nothing_is_explained_where_nothing_varies_or_a_class_is_too_small() -> None:
    features = torch.randn(12, 3)
    assert explained(features, torch.ones(12), task="regress") is None
    assert explained(features, torch.arange(12) % 3) is None  # 4 samples a class, and five folds


def test_a_class_without_samples_is_named() -> None:
    with pytest.raises(ValueError, match=r"target must hold every class from 0 to 2, got \[2, 2, 0\]"):
        fit_probe(torch.randn(4, 3), torch.tensor([0, 1, 0, 1]), 3)


def test_features_are_what_reaches_the_head() -> None:
    torch.manual_seed(0)
    trunk, head = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.5)), nn.Linear(8, 3)
    model = nn.Sequential(trunk, head)
    inputs, target = torch.randn(10, 6), torch.arange(10)
    features, targets = head_features(model, [(inputs[:4], target[:4], None), (inputs[4:], target[4:], None)])
    assert torch.equal(features, trunk.eval()(inputs).detach())
    assert torch.equal(targets, target)
    assert not head._forward_pre_hooks


def test_a_convolution_as_head_is_refused() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.ReLU(), nn.Conv2d(4, 2, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with pytest.raises(ValueError, match="output layer must be a linear layer for a probe, got 'Conv2d'"):
        head_features(model, [(torch.randn(1, 3, 8, 8), torch.zeros(1), None)])
