"""Batch norms inside convolutions: the same numbers but for the last bits, and the network as it was afterwards."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import timm
import torch
import torchvision
from torch import Tensor, nn

from hone.transfer import FeatureCache, FreezePlan, apply_freeze
from hone.transfer.folding import folded_norms

#: name -> (build, how many of its batch norms follow a convolution that nobody else reads).
NETWORKS: dict[str, tuple[Callable[[], nn.Module], int]] = {
    "resnet18": (lambda: torchvision.models.resnet18(), 20),
    "mobilenet_v2": (lambda: torchvision.models.mobilenet_v2(), 52),
    "regnet_y_400mf": (lambda: torchvision.models.regnet_y_400mf(), 53),
    "densenet121": (lambda: torchvision.models.densenet121(), 59),
    "timm efficientnet_lite0": (lambda: timm.create_model("efficientnet_lite0"), 49),
    "convnext_tiny": (lambda: torchvision.models.convnext_tiny(), 0),
    "monai-like 3D": (lambda: nn.Sequential(nn.Conv3d(3, 4, 3, bias=False), nn.BatchNorm3d(4)), 1),
}


def lively(model: nn.Module) -> nn.Module:
    """In eval mode, with statistics and weights of batch norms that do something."""
    generator = torch.Generator().manual_seed(0)
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm):
            for tensor in (module.running_mean, module.running_var, module.weight, module.bias):
                assert tensor is not None
                tensor.data.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
    return model.eval()


@pytest.mark.parametrize("name", NETWORKS)
def test_folded_is_nearly_the_same_and_afterwards_the_same(name: str) -> None:
    torch.manual_seed(0)
    build, expected = NETWORKS[name]
    model = lively(build())
    inputs = torch.randn(2, 3, *[64] * (3 if name.endswith("3D") else 2))
    before = {key: value.clone() for key, value in model.state_dict().items()}
    with torch.no_grad():
        plain = model(inputs)
        with folded_norms(model, lambda: (model(inputs),)) as count:
            folded = model(inputs)
        assert count == expected
        assert (count > 0) == (not torch.equal(folded, plain))  # it does something
        torch.testing.assert_close(folded, plain, rtol=0.0, atol=2e-5 * float(plain.abs().max()))
        assert torch.equal(model(inputs), plain)
    assert all(torch.equal(value, before[key]) for key, value in model.state_dict().items())
    assert not any("forward" in module.__dict__ for module in model.modules())


class Reader(nn.Module):
    """Somebody else reads what the convolution gives."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4)

    def forward(self, x: Tensor) -> Tensor:
        y = self.conv(x)
        return y + self.norm(y)


def test_nothing_is_folded_where_it_would_change_the_numbers() -> None:
    inputs = torch.randn(2, 3, 8, 8)
    moving = lively(nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4))).train()
    twice = nn.Conv2d(3, 3, 3, padding=1)
    for model in (lively(Reader()), moving, lively(nn.Sequential(twice, nn.BatchNorm2d(3), twice, nn.BatchNorm2d(3)))):
        with torch.no_grad(), folded_norms(model, lambda model=model: (model(inputs),)) as count:
            assert count == 0


def test_an_error_inside_leaves_the_network_as_it_was() -> None:
    model, inputs = lively(torchvision.models.resnet18()), torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        plain = model(inputs)
        with pytest.raises(RuntimeError, match="inside"), folded_norms(model, lambda: (model(inputs),)):
            raise RuntimeError("inside")
        assert torch.equal(model(inputs), plain)


def test_a_cache_of_folded_features_is_another_one(tmp_path: Path) -> None:
    model = lively(torchvision.models.resnet18(num_classes=3)).train()
    trains = apply_freeze(model, FreezePlan("head"))
    photos = torch.randn(8, 3, 32, 32)
    batches = [(photos[:4],), (photos[4:],)]
    found = {}
    for folds in (False, True):
        cache = FeatureCache(model, tmp_path, budget=10**7, trains=trains, folds=folds)
        found[folds] = cache.features(batches, count=8, data="photos")[list(range(8))].tensors[0].clone()
        assert cache.notes == ["computed"]
        cache.remove()
    assert not torch.equal(found[True], found[False])
    torch.testing.assert_close(found[True], found[False], rtol=0.0, atol=2e-5 * float(found[False].abs().max()))
    cache = FeatureCache(model, tmp_path, budget=10**7, trains=trains, folds=True)
    cache.features(batches, count=8, data="photos")
    assert cache.notes == ["found"]
    cache.remove()
