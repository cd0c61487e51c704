"""Where a model lies: gradients come in the strides of their weights, which DDP and multi-tensor optimizers ask for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hone.recipe.placing import place


@pytest.mark.parametrize(
    ("layer", "inputs"),
    [
        pytest.param(nn.Conv2d(8, 16, 3, padding=1), (2, 8, 6, 6), id="image"),
        pytest.param(nn.Conv2d(8, 16, 1), (2, 8, 6, 6), id="pointwise"),
        pytest.param(nn.Conv2d(8, 8, 3, padding=1, groups=8), (2, 8, 6, 6), id="depthwise"),
        pytest.param(nn.Conv3d(1, 4, 3, padding=1), (2, 1, 6, 6, 6), id="volume of one channel"),
    ],
)
def test_gradients_have_the_strides_of_their_weights(layer: nn.Module, inputs: tuple[int, ...]) -> None:
    place(layer, torch.device("cpu"), "channels_last")
    layout = torch.channels_last if len(inputs) == 4 else torch.channels_last_3d
    layer(torch.randn(inputs).to(memory_format=layout)).sum().backward()
    for name, weight in layer.named_parameters():
        assert weight.grad is not None and weight.grad.stride() == weight.stride(), name
