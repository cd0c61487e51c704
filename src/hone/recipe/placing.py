"""Where a model lies: its device, its memory layout, and which modules stay in float32."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from hone.precision import keep_fp32, suit

#: Rank of a weight -> the layout in which its channels lie last.
_CHANNELS_LAST = {4: torch.channels_last, 5: torch.channels_last_3d}


def place(model: nn.Module, device: torch.device, layout: str, float32: Sequence[str] = ()) -> nn.Module:
    """Move a model, lay out its weights, and keep some of its modules in float32 under autocast.

    Args:
        model: changed in place, and returned.
        device: where it goes.
        layout: "channels_last" for convolution weights of images and volumes alike, or "contiguous".
        float32: names or globs of modules.

    Example:
        >>> place(nn.Conv3d(2, 4, 3), torch.device("cpu"), "channels_last").weight.stride()
        (54, 1, 18, 6, 2)
    """
    model.to(device)
    if layout == "channels_last":
        with torch.no_grad():
            for tensor in (*model.parameters(), *model.buffers()):
                if tensor.ndim in _CHANNELS_LAST:
                    tensor.data = tensor.to(memory_format=_CHANNELS_LAST[tensor.ndim])
    keep_fp32(model, *float32)
    return suit(model, device)
