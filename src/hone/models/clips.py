"""Networks for clips made of networks for images: frame by frame, or with convolutions that see the frames beside."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from hone import checks
from hone.models.time_convolution import Clock, TimeConv, inflate_convolutions
from hone.transfer import find_head

POOLINGS = ("mean", "attention")


class ClipModel(nn.Module):
    r"""An image network on every frame, its features pooled over time, and an output layer.

    .. math:: y = W\, \mathrm{pool}(f(x_1), \dots, f(x_T)) + b

    With ``time_kernel`` above 1 the network's convolutions are inflated: each also takes the frames before and after,
    so ``f`` sees motion and not frames alone. An image is a clip of one frame.

    State dict: ``frames.network.*`` under the image network's own names (a convolution that sees its neighbours has a
    5D weight), ``head.weight``, ``head.bias``, and ``pool.*`` for attention.

    Args:
        backbone: an image network whose output layer is linear on vectors; it is taken over, its output layer becomes
            ``head``.
        pooling: "mean" or "attention".
        time_kernel: frames that a convolution larger than 1x1 sees, odd; 1 leaves the network as it is.

    Raises:
        ValueError: no such pooling, an even kernel, another output layer, or nothing to inflate.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = ClipModel(resnet18(num_classes=4), time_kernel=3).eval()
        >>> model(torch.zeros(2, 3, 5, 64, 64)).shape, model.network.conv1.weight.shape
        (torch.Size([2, 4]), torch.Size([64, 3, 3, 7, 7]))

    Reference:
        Wang et al., "Temporal Segment Networks", ECCV 2016 (mean of frames); Carreira and Zisserman, "Quo Vadis,
        Action Recognition?", CVPR 2017, section 2.4.1 (inflation).
    """

    def __init__(self, backbone: nn.Module, *, pooling: str = "mean", time_kernel: int = 1) -> None:
        super().__init__()
        checks.one_of("pooling", pooling, POOLINGS)
        if checks.integer("time_kernel", time_kernel, at_least=1) % 2 == 0:
            raise checks.invalid("time_kernel", "be odd", time_kernel)
        head = find_head(backbone)[0]
        if not isinstance(head.layer, nn.Linear):
            raise checks.invalid(
                "model", "have one linear output layer to look at frames with", type(backbone).__name__
            )
        owner, _, place = head.name.rpartition(".")
        setattr(backbone.get_submodule(owner), place, nn.Identity())
        clock = Clock()
        if time_kernel > 1:
            inflate_convolutions(backbone, time_kernel, clock)
        self.frames = Framewise(backbone, clock)
        self.pool = AttentionPool(head.layer.in_features) if pooling == "attention" else MeanPool()
        self.head = head.layer

    @property
    def network(self) -> nn.Module:
        """The image network, without its output layer."""
        return self.frames.network

    def forward(self, clips: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, classes); (N, 3, H, W) is a clip of one frame."""
        logits: Tensor = self.head(self.pool(self.frames(clips)))
        return logits


class Framewise(nn.Sequential):
    """A network on every frame: (N, 3, T, H, W) -> (N, T, F).

    Args:
        network: of images, (N, 3, H, W) -> (N, F).
        clock: is told how many frames a clip has.
    """

    network: nn.Module

    def __init__(self, network: nn.Module, clock: Clock) -> None:
        super().__init__(OrderedDict(network=network))
        self.clock = clock

    def forward(self, input: Tensor) -> Tensor:
        """(N, 3, T, H, W) -> (N, T, F); (N, 3, H, W) is a clip of one frame."""
        clips = input if input.ndim == 5 else input.unsqueeze(2)
        count, _, frames = clips.shape[:3]
        self.clock.frames = frames
        # Of channels-last clips this is a view: the frames lie one after another.
        features: Tensor = self.network(clips.transpose(1, 2).flatten(0, 1))
        return features.view(count, frames, -1)


def look_aside(model: nn.Module) -> None:
    """Let a few channels of every inflated convolution see the frames beside; what a still image gives stays.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = ClipModel(resnet18(num_classes=4), time_kernel=3).eval()
        >>> clip = torch.randn(1, 3, 4, 32, 32)
        >>> torch.allclose(model(clip), model(clip.flip(2)), atol=1e-5)
        True
        >>> look_aside(model)
        >>> torch.allclose(model(clip), model(clip.flip(2)), atol=1e-5)
        False
    """
    for layer in model.modules():
        if isinstance(layer, TimeConv):
            layer.look_aside()


class MeanPool(nn.Module):
    """The mean over time: (N, T, F) -> (N, F)."""

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, F) -> (N, F)."""
        return features.mean(1)


class AttentionPool(nn.Module):
    r"""A weighted mean over time; the weights follow from what a frame shows and from when it is shown.

    The features are split into ``heads`` groups, each with weights of its own, so one may look at the beginning and
    another at the end:

    .. math::
        a_{t} = \operatorname{softmax}_t\big(U \hat f_t + V c(t)\big), \qquad
        y_g = \sum_t a_{t, g} f_{t, g}, \qquad c_k(t) = \cos\big(\pi k (t + \tfrac12) / T\big),

    with :math:`\hat f` the layer-normalised features. :math:`U` and :math:`V` start at zero: at first it is the mean.

    Args:
        width: number of features.
        heads: groups, at most; the largest number that divides the width is taken.
        waves: the number of cosines :math:`k = 1, 2, \dots`

    Example:
        >>> features = torch.randn(2, 5, 12)
        >>> torch.allclose(AttentionPool(12)(features), features.mean(1), atol=1e-6)
        True

    Reference:
        Ilse, Tomczak and Welling, "Attention-based Deep Multiple Instance Learning", ICML 2018, equation 8, with
        several heads and positions.
    """

    def __init__(self, width: int, heads: int = 16, waves: int = 8) -> None:
        super().__init__()
        self.heads = math.gcd(width, checks.integer("heads", heads, at_least=1))
        self.waves = checks.integer("waves", waves, at_least=1)
        self.norm = nn.LayerNorm(width)
        self.content = nn.Linear(width, self.heads, bias=False)
        self.position = nn.Linear(waves, self.heads, bias=False)
        nn.init.zeros_(self.content.weight)
        nn.init.zeros_(self.position.weight)

    def forward(self, features: Tensor) -> Tensor:
        """(N, T, F) -> (N, F)."""
        frames = features.shape[1]
        when = (torch.arange(frames, device=features.device, dtype=torch.float32) + 0.5) * (math.pi / frames)
        waves = torch.outer(when, torch.arange(1, self.waves + 1, device=features.device)).cos().to(features.dtype)
        scores: Tensor = self.content(self.norm(features)) + self.position(waves)
        weights = scores.float().softmax(1).to(features.dtype).unsqueeze(-1)
        groups = features.unflatten(-1, (self.heads, -1))  # type: ignore[no-untyped-call]
        pooled: Tensor = (weights * groups).sum(1).flatten(1)
        return pooled


def clip_options(options: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """The options of a :class:`ClipModel`, and those of the image network in it.

    Example:
        >>> clip_options({"pooling": "attention", "width_mult": 0.5})
        ({'pooling': 'attention'}, {'width_mult': 0.5})
    """
    own = {name: value for name, value in options.items() if name in ("pooling", "time_kernel")}
    return own, {name: value for name, value in options.items() if name not in own}
