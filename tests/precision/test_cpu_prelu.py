"""The faster PReLU against torch's own, and against its formula in float64."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn

from hone.precision import Precision, checkpoint_blocks, speed_up_prelu, suit

SHAPES = [(2, 16, 5, 7, 6), (3, 8, 9, 11), (4, 5), (0, 3)]


def learned(layer: nn.Module, inputs: Tensor, kind: str) -> list[Tensor]:
    """Output, gradient of the inputs, gradient of the slope."""
    inputs = inputs.clone().requires_grad_()
    with Precision(kind, "cpu").autocast():
        output = layer(inputs)
    toward = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    return [output, *torch.autograd.grad(output, [inputs, layer.weight], toward)]


def pair(slope: float = 0.25) -> tuple[nn.PReLU, nn.PReLU]:
    """torch's and ours."""
    plain = nn.PReLU(init=slope)
    fast = copy.deepcopy(plain)
    assert speed_up_prelu(fast) == [""]
    return plain, fast


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("slope", [0.25, -0.5, 0.0])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64])
def test_as_torch(shape: tuple[int, ...], slope: float, dtype: torch.dtype) -> None:
    plain, fast = (layer.to(dtype) for layer in pair(slope))
    inputs = torch.randn(shape).to(dtype)
    inputs[inputs.abs() < 0.1] = 0
    ours, theirs = learned(fast, inputs, "fp32"), learned(plain, inputs, "fp32")
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    assert ours[2].dtype == dtype and ours[2].shape == (1,)
    tolerance = {torch.float32: 1e-5, torch.bfloat16: 1e-2, torch.float64: 1e-12}[dtype]
    toward = torch.randn(shape, generator=torch.Generator().manual_seed(1)).to(dtype).double()
    products = inputs.double().clamp(max=0) * toward
    assert (ours[2].double() - products.sum()).abs() <= tolerance * (products.abs().sum() + 1e-6)


@pytest.mark.parametrize("given", [torch.float32, torch.bfloat16])
def test_under_autocast(given: torch.dtype) -> None:
    plain, fast = pair()
    inputs = torch.randn(2, 8, 6, 6).to(given)
    ours, theirs = learned(fast, inputs, "bf16"), learned(plain, inputs, "bf16")
    assert [found.dtype for found in ours] == [found.dtype for found in theirs]
    assert torch.equal(ours[0], theirs[0]) and torch.equal(ours[1], theirs[1])
    torch.testing.assert_close(ours[2], theirs[2], rtol=0.02, atol=0.2)


def test_the_slope_is_summed_without_rounding_each_product() -> None:
    plain, fast = (layer.bfloat16() for layer in pair())
    inputs = -torch.rand(100_000).add(0.5).bfloat16()
    exact = float(inputs.double().sum())

    def slope(layer: nn.Module) -> float:
        return float(torch.autograd.grad(layer(inputs).float().sum(), layer.weight)[0])

    assert slope(fast) == float(torch.tensor(exact).bfloat16())
    assert abs(slope(fast) - exact) <= abs(slope(plain) - exact)


def test_only_what_is_asked_for() -> None:
    _, fast = pair()
    inputs = torch.randn(3, 4, requires_grad=True)
    fast.weight.requires_grad_(False)
    fast(inputs).sum().backward()
    assert inputs.grad is not None and fast.weight.grad is None
    fast.weight.requires_grad_(True)
    fast(inputs.detach()).sum().backward()
    assert fast.weight.grad is not None


def test_what_is_changed_and_what_is_left() -> None:
    class Own(nn.PReLU):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs

    model = nn.Sequential(nn.PReLU(), nn.PReLU(3), Own(), nn.Sequential(nn.PReLU()))
    keys = list(model.state_dict())
    assert speed_up_prelu(model) == ["0", "3.0"]
    assert speed_up_prelu(model) == []
    assert list(model.state_dict()) == keys and isinstance(model[0], nn.PReLU)
    assert type(suit(nn.PReLU(), torch.device("meta"))) is nn.PReLU


def test_exported_code_is_torchs() -> None:
    model = nn.Sequential(nn.Linear(3, 4), nn.PReLU())
    speed_up_prelu(model)
    inputs = torch.randn(2, 3)
    exported = torch.export.export(model, (inputs,))
    assert torch.ops.aten.prelu.default in [node.target for node in exported.graph.nodes]


def test_recomputed_blocks() -> None:
    plain = nn.Sequential(nn.Linear(4, 4), nn.PReLU(), nn.Linear(4, 4), nn.PReLU())
    fast = copy.deepcopy(plain)
    speed_up_prelu(fast)
    checkpoint_blocks(fast)
    inputs = torch.randn(5, 4)
    for model in (plain, fast):
        model(inputs).square().sum().backward()
    for a, b in zip(plain.parameters(), fast.parameters(), strict=True):
        torch.testing.assert_close(a.grad, b.grad)
