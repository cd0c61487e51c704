"""What a convolution gives and learns is what its formula says, whatever the size of its input."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hone.precision import Precision, has_faulty_convolutions, mend_convolutions

CASES: dict[str, tuple[nn.Module, tuple[int, ...]]] = {
    "two frames under three": (nn.Conv3d(16, 16, 3, padding=1, bias=False), (2, 5, 5)),
    "the last level of a U-Net": (nn.Conv3d(8, 24, 3, stride=2, padding=1), (2, 2, 2)),
    "a depth of one": (nn.Conv3d(24, 2, 3, stride=2, padding=1), (7, 1, 2)),
    "wide kernel": (nn.Conv3d(8, 16, 5, padding=2), (3, 9, 9)),
    "depthwise": (nn.Conv3d(8, 8, 7, stride=2, padding=3, groups=8), (5, 5, 5)),
    "as wide as the volume": (
        nn.Conv3d(16, 16, 7, stride=2, padding=3).to(memory_format=torch.channels_last_3d),
        (7, 7, 7),
    ),
    "dilated": (nn.Conv3d(4, 4, 3, padding=2, dilation=2), (4, 4, 6)),
    "same": (nn.Conv3d(4, 4, 3, padding="same"), (2, 2, 2)),
    "a column of pixels": (nn.Conv2d(16, 16, 3, stride=2, padding=1), (4, 1)),
    "transposed": (nn.ConvTranspose3d(8, 24, 5, padding=2), (4, 5, 2)),
    "upsampling": (nn.ConvTranspose3d(8, 8, 3, stride=2, padding=1, output_padding=1), (1, 2, 2)),
    "upsampling an image": (nn.ConvTranspose2d(8, 8, (5, 3), stride=2, padding=(2, 1)), (2, 1)),
    "depthwise, strided": (nn.Conv2d(16, 16, 3, stride=2, padding=1, groups=16), (9, 8)),
    "depthwise, wide": (nn.Conv2d(16, 16, 5, padding=2, groups=16, bias=False), (4, 4)),
    "depthwise, in several parts": (nn.Conv2d(96, 96, 3, stride=2, padding=1, groups=96), (70, 70)),
    "depthwise, a column": (nn.Conv2d(16, 16, 5, stride=2, padding=2, groups=16), (6, 1)),
}


def fill_free_memory() -> None:
    """Leave NaN in the blocks that the next allocations will get."""
    for count in (64, 256, 1024, 4096, 16384, 65536, 262144):
        held = [torch.full((count,), torch.nan) for _ in range(6)]
        held += [torch.full((count,), torch.nan, dtype=torch.bfloat16) for _ in range(6)]


def learned(layer: nn.Module, inputs: Tensor, kind: str | None) -> list[Tensor]:
    """Output, gradient of the input, gradients of the parameters; float64 where no format is named."""
    layer, inputs = copy.deepcopy(layer), inputs.clone().requires_grad_()
    if kind is None:
        layer, inputs = layer.double(), inputs.detach().double().requires_grad_()
        output = layer(inputs)
    else:
        fill_free_memory()
        with Precision(kind, "cpu").autocast():
            output = layer(inputs)
    toward = torch.randn(output.shape, generator=torch.Generator().manual_seed(1)).to(output.dtype)
    fill_free_memory()
    return [output, *torch.autograd.grad(output, [inputs, *layer.parameters()], toward)]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("kind", ["fp32", "bf16"])
def test_outputs_and_gradients_are_those_of_float64(name: str, kind: str) -> None:
    layer, size = CASES[name]
    layer = copy.deepcopy(layer)
    assert mend_convolutions(layer) == [""]
    inputs = torch.randn(3, layer.in_channels, *size)  # type: ignore[arg-type]
    tolerance = 1e-5 if kind == "fp32" else 0.02
    for _ in range(3):
        for ours, true in zip(learned(layer, inputs, kind), learned(CASES[name][0], inputs, None), strict=True):
            assert ours.shape == true.shape
            assert (ours.double() - true).abs().max() <= tolerance * true.abs().max()


@pytest.mark.parametrize("frozen", ["inputs", "weight"])
def test_only_what_is_asked_for(frozen: str) -> None:
    """Inputs of a first layer, and frozen weights, have no gradient."""
    layer = nn.Conv2d(8, 8, 3, stride=2, padding=1, groups=8)
    mend_convolutions(layer)
    layer.weight.requires_grad_(frozen != "weight")
    inputs = torch.randn(2, 8, 9, 9, requires_grad=frozen != "inputs")
    with Precision("bf16", "cpu").autocast():
        layer(inputs).float().square().sum().backward()
    assert (inputs.grad is None) == (frozen == "inputs") and (layer.weight.grad is None) == (frozen == "weight")
    assert layer.bias is not None and layer.bias.grad is not None and layer.bias.grad.dtype is torch.float32


def test_a_large_input_takes_the_layers_own_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bit for bit, and through its own code."""
    layer = nn.Conv3d(2, 4, 3, padding=1)
    expected = layer(inputs := torch.randn(1, 2, 3, 4, 5))
    calls: list[Any] = []
    own = nn.Conv3d._conv_forward
    monkeypatch.setattr(nn.Conv3d, "_conv_forward", lambda *given: (calls.append(1), own(*given))[1])
    padded = copy.deepcopy(layer)
    mend_convolutions(padded)
    assert torch.equal(padded(inputs), expected) and calls == [1]
    padded(inputs[:, :, :2])
    assert calls == [1]


def test_who_has_neighbours_and_no_forward_of_its_own() -> None:
    class Own(nn.Conv2d):
        def forward(self, inputs: Tensor) -> Tensor:
            return inputs

    model = nn.Sequential(
        nn.Conv2d(1, 2, 3), nn.Conv2d(2, 2, 1), nn.Conv2d(2, 2, 3, padding=1, padding_mode="reflect"), Own(2, 2, 3)
    )
    keys = list(model.state_dict())
    assert mend_convolutions(model) == ["0"] and mend_convolutions(model) == []
    assert isinstance(model[0], nn.Conv2d) and type(model[0]).__name__ == "Conv2d" and list(model.state_dict()) == keys


def test_an_output_size_is_heeded() -> None:
    layer = nn.ConvTranspose2d(2, 2, 3, stride=2, padding=1)
    inputs = torch.randn(1, 2, 2, 2)
    expected = layer(inputs, output_size=[4, 4])
    mend_convolutions(layer)
    assert torch.equal(layer(inputs, output_size=[4, 4]), expected)


@pytest.mark.parametrize("count", [0, 1])
def test_batches_of_none_and_of_one(count: int) -> None:
    layer = nn.Conv2d(4, 4, 3, stride=2, padding=1, groups=4)
    mend_convolutions(layer)
    with Precision("bf16", "cpu").autocast():
        layer(torch.ones(count, 4, 8, 8)).float().sum().backward()
    assert layer.bias is not None and layer.bias.grad is not None
    assert layer.bias.grad.tolist() == [16.0 * count] * 4


def test_an_unbatched_input() -> None:
    layer = nn.Conv3d(2, 4, 3, padding=1)
    expected = layer(inputs := torch.randn(2, 1, 4, 4))
    mend_convolutions(layer)
    torch.testing.assert_close(layer(inputs), expected)


@pytest.mark.skipif(not has_faulty_convolutions(torch.device("cpu")), reason="for AVX-512")
def test_hone_pads_them_where_torch_is_wrong() -> None:
    """A network as a run places it; without the padding, NaN comes out of the memory here."""
    from hone.recipe.placing import place

    torch.manual_seed(0)
    network = place(nn.Conv3d(32, 32, 3, padding=1, bias=False), torch.device("cpu"), "channels_last")
    inputs = torch.randn(8, 32, 2, 2, 2).contiguous(memory_format=torch.channels_last_3d)
    for _ in range(5):
        _, _, gradient = learned(network, inputs, "bf16")
        assert gradient.isfinite().all()
