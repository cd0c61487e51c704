"""Layers for a device: other code for the same functions, where torch's own is wrong or slow there."""

from __future__ import annotations

import torch
from torch import nn

from hone.precision.cpu_convolutions import has_faulty_convolutions, mend_convolutions
from hone.precision.cpu_prelu import speed_up_prelu


def suit(model: nn.Module, device: torch.device) -> nn.Module:
    """Change a model's layers in place as ``device`` needs it: convolutions and PReLU on processors, else nothing.

    Returns:
        The model.

    Example:
        >>> suit(nn.PReLU(), torch.device("cpu"))
        PReLU(num_parameters=1)
    """
    if has_faulty_convolutions(device):
        mend_convolutions(model)
    if device.type == "cpu":
        speed_up_prelu(model)
    return model
