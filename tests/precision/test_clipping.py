"""Clipping: torch's own numbers bit for bit, whatever the gradients are."""

from __future__ import annotations

import copy
import math

import pytest
import torch
from torch import nn

from hone.precision.clipping import clip_together


def parameters(*dtypes: torch.dtype, scale: float = 1.0) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(len(dtypes))
    made = [nn.Parameter(torch.zeros(size, dtype=dtype)) for size, dtype in zip((3, 700, 1), dtypes, strict=True)]
    for parameter in made[: len(made) - 1 or 1]:
        parameter.grad = scale * torch.randn(parameter.shape, generator=generator).to(parameter.dtype)
    return made


F32, F64 = torch.float32, torch.float64


@pytest.mark.parametrize("dtypes", [(F32, F32, F32), (F64, F64, F64), (F32, F64, F32)], ids=["f32", "f64", "mixed"])
@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e4, math.nan, math.inf])
@pytest.mark.parametrize("max_norm", [0.5, 1.0, 20.0])
def test_equals_torch_bit_for_bit(dtypes: tuple[torch.dtype, ...], scale: float, max_norm: float) -> None:
    ours, theirs = (parameters(*dtypes, scale=scale) for _ in range(2))
    halves = [torch.optim.SGD(ours[:1], lr=0.1), torch.optim.SGD(ours[1:], lr=0.1)]
    norm = clip_together(halves, max_norm)
    expected = torch.nn.utils.clip_grad_norm_(theirs, max_norm)
    assert torch.equal(norm.nan_to_num(), expected.nan_to_num())
    for a, b in zip(ours, theirs, strict=True):
        assert (a.grad is None) == (b.grad is None)
        if a.grad is not None and b.grad is not None:
            assert torch.equal(a.grad.nan_to_num(), b.grad.nan_to_num())


def test_nothing_to_clip_has_norm_zero() -> None:
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(2))], lr=0.1)
    assert clip_together([optimizer], 1.0).item() == 0


def test_sparse_gradients_are_left_to_torch() -> None:
    embedding = nn.Embedding(5, 3, sparse=True)
    embedding(torch.tensor([1, 2])).sum().backward()
    twin = copy.deepcopy(embedding)
    twin.weight.grad = embedding.weight.grad.clone()  # type: ignore[union-attr]
    ways = [
        lambda: clip_together([torch.optim.SGD(embedding.parameters(), lr=0.1)], 1.0),
        lambda: torch.nn.utils.clip_grad_norm_(twin.parameters(), 1.0),
    ]
    said = []
    for way in ways:
        try:
            said.append(f"{way().item()}")
        except (RuntimeError, NotImplementedError) as error:
            said.append(type(error).__name__)
    assert said[0] == said[1]
