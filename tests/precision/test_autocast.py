"""Autocast without its cache: what ran without gradients, or with other weights, does not reach the next update."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from hone.precision import Precision


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 2))


def gradients(model: nn.Module) -> list[Tensor]:
    return [p.grad.clone() for p in model.parameters()]


@pytest.mark.parametrize("off", [torch.no_grad, torch.inference_mode])
@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_evaluation_inside_leaves_the_next_update_its_gradients(off: type, kind: str) -> None:
    """PyTorch #112583: evaluation without gradients, then an update, inside one autocast."""
    precision, images = Precision(kind, "cpu"), torch.randn(2, 3, 8, 8)
    alone, after = network(), network()
    with precision.autocast():
        logits = alone(images)
    logits.float().sum().backward()
    with precision.autocast():
        with off():
            after(images)
        logits = after(images)
    logits.float().sum().backward()
    assert all(torch.equal(a, b) for a, b in zip(gradients(alone), gradients(after), strict=True))
    assert all(grad.abs().sum() > 0 for grad in gradients(after))


def changed_inside(context: object) -> tuple[Tensor, Tensor]:
    """Logits before and after the weights are halved, inside one autocast."""
    model, images = network(), torch.randn(2, 3, 8, 8)
    with context:
        before = model(images)
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        after = model(images)
    return before, after


def test_weights_changed_inside_are_seen() -> None:
    before, after = changed_inside(Precision("bf16", "cpu").autocast())
    assert before.abs().sum() > 0
    assert after.abs().sum() == 0


def test_with_torchs_cache_they_would_not_be() -> None:
    _, after = changed_inside(torch.autocast("cpu", torch.bfloat16))
    assert after.abs().sum() > 0


def test_an_outer_autocast_keeps_its_own_settings() -> None:
    with torch.autocast("cpu", torch.float16):
        with Precision("bf16", "cpu").autocast():
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.bfloat16
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16
        assert torch.is_autocast_cache_enabled()
        with Precision("fp32", "cpu").autocast():  # does nothing, so the outer one goes on
            assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype == torch.float16
