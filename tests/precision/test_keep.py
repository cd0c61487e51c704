"""Modules kept in float32 inside autocast: by glob, through copies, exceptions and checkpointing."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from hone.precision import keep_fp32


class Seen(nn.Module):
    """Remembers the dtypes of what it is given and makes."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(3, 3)
        self.dtypes: list[torch.dtype] = []

    def forward(self, x: Tensor, *, scale: Tensor | None = None) -> Tensor:
        y = self.linear(x)
        self.dtypes += [x.dtype, y.dtype] + ([scale.dtype] if scale is not None else [])
        if x.isnan().any():
            raise RuntimeError("NaN")
        return y


def network() -> nn.Module:
    return nn.Sequential(nn.Linear(3, 3), nn.Sequential(Seen(), nn.ReLU()), Seen())


HALF, FULL = torch.bfloat16, torch.float32


def run(model: nn.Module) -> Tensor:
    with torch.autocast("cpu", HALF):
        return model(torch.randn(2, 3))


def test_only_the_named_modules_are_float32() -> None:
    model = network()
    keys = list(model.state_dict())
    kept = keep_fp32(model, "1.*")
    assert kept.names == ["1.0", "1.1"]
    assert run(model).dtype == HALF
    assert model[1][0].dtypes == [FULL, FULL]
    assert model[2].dtypes == [FULL, HALF]
    assert list(model.state_dict()) == keys
    kept.remove()
    run(model)
    assert model[1][0].dtypes[2:] == [HALF, HALF]


def test_only_the_outermost_match_is_hooked() -> None:
    assert keep_fp32(network(), "1", "1.*").names == ["1"]


def test_a_copy_keeps_them_too_and_by_itself() -> None:
    model = network()
    keep_fp32(model, "2")
    twin = copy.deepcopy(model)
    run(twin)
    assert twin[2].dtypes == [FULL, FULL]
    assert model[2].dtypes == []


def test_keyword_tensors_are_cast_too() -> None:
    model = network()
    keep_fp32(model, "2")
    with torch.autocast("cpu", HALF):
        model[2](torch.ones(1, 3).to(HALF), scale=torch.ones(1, dtype=HALF))
    assert model[2].dtypes == [FULL, FULL, FULL]


def test_an_exception_inside_does_not_leave_autocast_off() -> None:
    model = network()
    keep_fp32(model, "2")
    with torch.autocast("cpu", HALF):
        with pytest.raises(RuntimeError, match="NaN"):
            model(torch.full((2, 3), torch.nan))
        assert torch.is_autocast_enabled("cpu")


def test_checkpointing_recomputes_in_the_same_numbers() -> None:
    model = network()
    keep_fp32(model, "2")
    x = torch.randn(2, 3)
    with torch.autocast("cpu", HALF):
        checkpoint(model, x, use_reentrant=False).float().sum().backward()
    assert set(model[2].dtypes) == {FULL}
    assert all(p.grad.abs().sum() > 0 for p in model.parameters())
    assert not torch.is_autocast_enabled("cpu")


def test_a_pattern_that_matches_nothing_is_an_error() -> None:
    with pytest.raises(ValueError, match=r"keep_fp32 pattern '1.O' is not known; did you mean .*1\.0"):
        keep_fp32(network(), "2", "1.O")
