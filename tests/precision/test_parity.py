"""Half precision learns what float32 learns; on real photos over 200 updates in benchmarks/precision.py."""

from __future__ import annotations

import functools
import statistics

import pytest
import torch
from torch import Tensor, nn

from hone.precision import Precision


def task(seed: int, samples: int) -> tuple[Tensor, Tensor]:
    """Points on three noisy spirals."""
    generator = torch.Generator().manual_seed(seed)
    target = torch.randint(0, 3, (samples,), generator=generator)
    radius = torch.rand(samples, generator=generator)
    angle = 3.0 * radius + target * 2.0944 + 0.25 * torch.randn(samples, generator=generator)
    return torch.stack([radius * angle.cos(), radius * angle.sin()], dim=1), target


@functools.cache
def accuracy(kind: str, seed: int, *, weight: float = 1.0, scaled: bool = True) -> float:
    """Validation accuracy after 200 updates; ``weight`` multiplies the loss, which Adam does not mind."""
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(2, 32), nn.ReLU(), nn.Linear(32, 32), nn.ReLU(), nn.Linear(32, 3))
    optimizer, precision = torch.optim.Adam(model.parameters(), lr=1e-2, eps=1e-20), Precision(kind, "cpu")
    points, target = task(seed, 512)
    for update in range(200):
        rows = torch.arange(64) + 64 * (update % 8)
        with precision.autocast():
            logits = model(points[rows])
        loss = nn.functional.cross_entropy(logits.float(), target[rows]) * weight
        if scaled:
            precision.backward(loss)
            precision.step(optimizer)
        else:
            loss.backward()
            optimizer.step()
        optimizer.zero_grad()
    points, target = task(seed + 100, 600)
    with torch.no_grad():
        return (model(points).argmax(dim=1) == target).float().mean().item()


@pytest.mark.parametrize("kind", ["bf16", "fp16"])
def test_the_final_accuracy_is_that_of_float32(kind: str) -> None:
    exact = [accuracy("fp32", seed) for seed in range(3)]
    half = [accuracy(kind, seed) for seed in range(3)]
    assert min(exact) > 0.8
    assert abs(statistics.mean(half) - statistics.mean(exact)) < 2 * statistics.stdev(exact) + 0.02


def test_gradients_too_small_for_fp16_are_saved_by_the_scale() -> None:
    assert accuracy("fp16", 0, weight=1e-7) > 0.8


def test_without_the_scale_they_would_be_lost() -> None:
    assert accuracy("fp16", 0, weight=1e-7, scaled=False) < 0.6
