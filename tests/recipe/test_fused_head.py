"""Head and loss in one: the same loss, gradients and outputs as apart, and only where the head is the last thing."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import nibabel
import numpy as np
import pytest
import torch
from torch import Tensor, nn

import hone
from hone.losses import CrossEntropyLoss, DiceLoss, SoftmaxDiceCELoss
from hone.recipe.fused_head import MANY_CLASSES, FusedHeadLoss, fuse_head

WIDTH = MANY_CLASSES + 8


def network(rank: int, *after: nn.Module, kernel: int = 1, classes: int = WIDTH) -> nn.Sequential:
    torch.manual_seed(0)
    kind: Any = nn.Conv2d if rank == 2 else nn.Conv3d
    return nn.Sequential(kind(1, 6, 3, padding=1), nn.ReLU(), kind(6, classes, kernel, padding=kernel // 2), *after)


def batch(rank: int) -> tuple[Tensor, Tensor]:
    chance = torch.Generator().manual_seed(1)
    sides = (7, 9, 5)[:rank]
    target = torch.randint(0, WIDTH, (2, *sides), generator=chance)
    target[0, 0] = 255
    return torch.randn(2, 1, *sides, generator=chance), target


@pytest.mark.parametrize("rank", [2, 3])
@pytest.mark.parametrize("loss", [SoftmaxDiceCELoss(ignore_index=255), CrossEntropyLoss(ignore_index=255)])
def test_loss_and_gradients_are_those_of_both_apart(rank: int, loss: Any) -> None:
    inputs, target = batch(rank)
    plain, fused = network(rank), network(rank)
    criterion = fuse_head(fused, loss, inputs)
    assert isinstance(criterion, FusedHeadLoss) and float(criterion.valid_weight(target)) == float(
        loss.valid_weight(target)
    )
    assert fused(inputs).shape[1] == 6
    expected, found = loss(plain(inputs), target), criterion(fused(inputs), target)
    torch.testing.assert_close(found, expected)
    expected.backward()
    found.backward()
    for (name, a), b in zip(plain.named_parameters(), fused.parameters(), strict=True):
        torch.testing.assert_close(b.grad, a.grad, msg=name)


def test_without_gradients_it_is_the_network_that_it_was() -> None:
    inputs, target = batch(3)
    plain, fused = network(3), network(3)
    loss = SoftmaxDiceCELoss(ignore_index=255)
    criterion = fuse_head(fused, loss, inputs)
    with torch.no_grad():
        assert torch.equal(fused(inputs), plain(inputs))
        assert criterion(fused(inputs), target) == loss(plain(inputs), target)
    assert torch.equal(fused.eval()(inputs), plain(inputs))
    assert fused.state_dict().keys() == plain.state_dict().keys()
    twin = copy.deepcopy(fused)
    with torch.no_grad():
        twin[2].weight.zero_()
    assert torch.equal(fused(inputs), plain(inputs)) and not torch.equal(twin(inputs), plain(inputs))


@pytest.mark.parametrize(
    ("model", "loss"),
    [
        (network(3, kernel=3), SoftmaxDiceCELoss()),
        (network(3, classes=MANY_CLASSES - 1), SoftmaxDiceCELoss()),
        (network(3, nn.Upsample(scale_factor=2)), SoftmaxDiceCELoss()),
        (network(3, nn.Softmax(1)), SoftmaxDiceCELoss()),
        (network(3), DiceLoss()),
        (network(3), nn.CrossEntropyLoss()),
    ],
    ids=["3x3", "few classes", "upsampled", "activated", "sigmoid", "not ours"],
)
def test_it_is_left_apart_where_it_is_something_else(model: nn.Module, loss: Any) -> None:
    assert fuse_head(model, loss, batch(3)[0]) is loss
    assert type(list(model.modules())[3]) is nn.Conv3d


def test_a_run_with_many_classes_uses_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And gives the weights that the run without it gives."""
    layers = "nn.Conv3d(1, 4, 3, padding=1), nn.Conv3d(4, 2, 1)"
    text = f"from torch import nn\ndef network():\n    return nn.Sequential({layers})\n"
    (tmp_path / "many_classes.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    chance = np.random.default_rng(0)
    for k in range(3):
        label = chance.permutation(np.arange(10 * 10 * 8) % WIDTH).reshape(10, 10, 8)
        for part, voxels in (("images", label + 0.0), ("labels", label)):
            (tmp_path / "data" / part).mkdir(parents=True, exist_ok=True)
            made = nibabel.Nifti1Image(voxels.astype(np.float32), np.eye(4))
            nibabel.save(made, tmp_path / "data" / part / f"{k}.nii.gz")
    options = {"model": "many_classes:network", "patch_size": "8", "updates": 3, "device": "cpu", "precision": "fp32"}
    options["quiet"] = True
    calls: list[Any] = []
    apply = FusedHeadLoss.forward
    monkeypatch.setattr(FusedHeadLoss, "forward", lambda *all: (calls.append(1), apply(*all))[1])
    fused = hone.finetune(tmp_path / "data", out=str(tmp_path / "fused"), **options)
    assert len(calls) >= 3
    monkeypatch.setattr("hone.recipe.build.MANY_CLASSES", 10**6)
    plain = hone.finetune(tmp_path / "data", out=str(tmp_path / "plain"), **options)
    for name, tensor in plain.weights().items():
        torch.testing.assert_close(fused.weights()[name], tensor, atol=1e-5, rtol=1e-4)
