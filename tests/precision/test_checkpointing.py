"""Checkpointing changes what is kept in memory, and not one bit of what is computed."""

from __future__ import annotations

import copy

import pytest
import torch
from faulty import ARCHITECTURES, healthy
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hone.precision import Precision, blocks_of, checkpoint_blocks


def stack() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(block() for _ in range(3)), nn.Flatten(), nn.Linear(128, 2))


def block() -> nn.Module:
    return nn.Sequential(nn.Conv2d(2, 2, 3, padding=1), nn.BatchNorm2d(2), nn.ReLU(), nn.Dropout(0.3))


def update(model: nn.Module, images: Tensor, kind: str) -> tuple[list[Tensor], int]:
    """The gradients of one pass, and how many bytes the forward kept outside of checkpoints."""
    precision, kept = Precision(kind, "cpu"), 0

    def pack(tensor: Tensor) -> Tensor:
        nonlocal kept
        kept += tensor.nbytes
        return tensor

    torch.manual_seed(1)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor), precision.autocast():
        logits = model(images)
    precision.backward(logits.float().square().mean())
    return [p.grad for p in model.parameters()], kept


def equal(model: nn.Module, other: nn.Module, images: Tensor, kind: str) -> bool:
    grads, _ = update(model, images, kind)
    theirs, _ = update(other, images, kind)
    states = zip(model.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in [*zip(grads, theirs, strict=True), *states])


@pytest.mark.parametrize("kind", ["fp32", "bf16", "fp16"])
def test_gradients_and_statistics_are_bit_for_bit_the_same(kind: str) -> None:
    """With BatchNorm, whose statistics a recomputation would count twice, and dropout, whose mask must return."""
    plain, checkpointed, images = stack(), stack(), torch.randn(4, 2, 8, 8)
    assert checkpoint_blocks(checkpointed) == ["0", "1", "2"]
    assert list(plain.state_dict()) == list(checkpointed.state_dict())
    assert isinstance(checkpointed[0], nn.Sequential)
    assert equal(plain, checkpointed, images, kind)
    assert checkpointed[0][1].num_batches_tracked == 1
    assert checkpointed[0][1].momentum == 0.1


def test_torchs_checkpoint_alone_fails_that_law() -> None:
    class Naive(nn.Module):
        def __init__(self, inner: nn.Module) -> None:
            super().__init__()
            self.inner = inner

        def forward(self, x: Tensor) -> Tensor:
            return checkpoint(self.inner, x, use_reentrant=False)

    plain, naive, images = stack(), stack(), torch.randn(4, 2, 8, 8)
    for i in range(3):
        naive[i] = Naive(naive[i])
    assert not equal(plain, naive, images, "fp32")


@pytest.mark.parametrize("architecture", list(ARCHITECTURES))
def test_every_architecture_trains_the_same(architecture: str) -> None:
    model, (images, _) = healthy(architecture)
    twin = copy.deepcopy(model)
    checkpoint_blocks(twin)
    assert equal(model, twin, images, "fp32")


def test_less_is_kept_for_the_backward_pass() -> None:
    plain, checkpointed, images = stack(), stack(), torch.randn(4, 2, 8, 8)
    checkpoint_blocks(checkpointed)
    assert update(checkpointed, images, "fp32")[1] < 0.4 * update(plain, images, "fp32")[1]


def test_a_copy_runs_its_own_weights() -> None:
    model, images = stack(), torch.randn(4, 2, 8, 8)
    checkpoint_blocks(model)
    twin = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.zero_()
    assert twin.eval()(images).abs().sum() > 0


def test_blocks_are_the_repeated_parts() -> None:
    from torchvision.models import mobilenet_v2, resnet18

    blocks = [f"layer{i}.{j}" for i in range(1, 5) for j in range(2)]
    assert blocks_of(resnet18()) == blocks
    assert len(blocks_of(mobilenet_v2())) == 19
    assert blocks_of(healthy("unet")[0]) == ["first", "down", "up"]
    assert blocks_of(nn.Linear(2, 2)) == []
