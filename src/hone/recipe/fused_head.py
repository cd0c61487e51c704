"""Head and loss in one where the output layer is a 1x1 convolution and there are many classes: no logits in training.

In train mode with gradients such a layer hands on what reaches it, and the loss applies its weights block by block
(``hone.losses.conv1x1_loss``). Without gradients, and in eval mode, it is the convolution that it was.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from hone.losses import conv1x1_loss
from hone.losses.sums_loss import SumsLoss
from hone.transfer import find_head

#: From so many classes on the logits take more memory than the features they come from.
MANY_CLASSES = 32


def hands_features_on(layer: nn.Module) -> bool:
    """Whether the layer gives its input instead of logits, now."""
    return layer.training and torch.is_grad_enabled()


class _Head2d(nn.Conv2d):
    def forward(self, input: Tensor) -> Tensor:
        return input if hands_features_on(self) else super().forward(input)


class _Head3d(nn.Conv3d):
    def forward(self, input: Tensor) -> Tensor:
        return input if hands_features_on(self) else super().forward(input)


_FUSED: dict[type[nn.Module], type[nn.Module]] = {nn.Conv2d: _Head2d, nn.Conv3d: _Head3d}


class FusedHeadLoss(nn.Module):
    """The loss of features where the head hands them on, of logits where it does not.

    Args:
        loss: of sums over the softmax.
        layer: the head, of the model that is trained; its weights get their gradients here.
    """

    def __init__(self, loss: SumsLoss, layer: nn.Module) -> None:
        super().__init__()
        self.loss = loss
        # In a tuple: the layer is the model's part, not the loss's.
        self.head = (layer,)

    def valid_weight(self, target: Tensor) -> Tensor:
        """As of the loss."""
        return self.loss.valid_weight(target)

    def forward(self, output: Tensor, target: Tensor) -> Tensor:
        """The loss, whichever the output is."""
        layer: Any = self.head[0]
        if not hands_features_on(layer):
            loss: Tensor = self.loss(output, target)
            return loss
        bias = None if layer.bias is None else layer.bias.to(output.dtype)
        return conv1x1_loss(self.loss, output, layer.weight.to(output.dtype), bias, target)


def fuse_head(model: nn.Module, criterion: Any, inputs: Tensor) -> Any:
    """Fuse head and loss if they can be.

    Args:
        model: whose head is changed in place where it is a plain 1x1 convolution, the last thing that happens to the
            output, and has many classes.
        criterion: the loss.
        inputs: some that the model takes.

    Returns:
        The loss of what the model now gives in training; ``criterion`` itself where nothing was fused.

    Example:
        >>> from hone.losses import SoftmaxDiceCELoss
        >>> model = nn.Sequential(nn.Conv3d(1, 8, 3, padding=1), nn.Conv3d(8, 40, 1))
        >>> criterion = fuse_head(model, SoftmaxDiceCELoss(), torch.zeros(1, 1, 4, 4, 4))
        >>> model(torch.zeros(1, 1, 4, 4, 4)).shape, model.eval()(torch.zeros(1, 1, 4, 4, 4)).shape
        (torch.Size([1, 8, 4, 4, 4]), torch.Size([1, 40, 4, 4, 4]))
    """
    if not (isinstance(criterion, SumsLoss) and criterion.softmax and criterion.shares):
        return criterion
    heads = find_head(model)
    layer: Any = heads[0].layer
    if len(heads) > 1 or type(layer) not in _FUSED or heads[0].width < MANY_CLASSES:
        return criterion
    if (
        {*layer.kernel_size, *layer.stride, layer.groups} != {1}
        or any(layer.padding)
        or not _is_last(model, layer, inputs)
    ):
        return criterion
    layer.__class__ = _FUSED[type(layer)]
    return FusedHeadLoss(criterion, layer)


def _is_last(model: nn.Module, layer: nn.Module, inputs: Tensor) -> bool:
    """Whether what the layer gives is what the model gives."""
    seen: list[Tensor] = []
    handle = layer.register_forward_hook(lambda module, args, output: seen.append(output))
    was_training = model.training
    model.eval()
    try:
        with torch.no_grad():
            output = model(inputs)
    finally:
        handle.remove()
        model.train(was_training)
    return len(seen) == 1 and output is seen[0]
