"""The probe against its own definition: at the minimum of a convex objective the gradient is zero."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hone.transfer.probe import fit_probe, head_features


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
