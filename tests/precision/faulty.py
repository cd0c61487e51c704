"""Small networks of ten kinds, and faults to put into them: half precision goes wrong in a place known beforehand."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn


class Overflows(nn.Module):
    """A detour over large numbers: exact in float32, inf in fp16."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1e7 / 1e7


class Exponential(nn.Module):
    """exp(12) is 162,755."""

    def forward(self, x: Tensor) -> Tensor:
        return torch.log(torch.exp(x.abs() + 12.0)) - 12.0


class LongSum(nn.Module):
    """A count of more than 65,504."""

    def forward(self, x: Tensor) -> Tensor:
        count = x.new_ones(70_000).sum()
        return x * count / count


class Division(nn.Module):
    """A divisor that is 0 in fp16."""

    def forward(self, x: Tensor) -> Tensor:
        return x / x.new_tensor(2e-8) * 2e-8


class SmallEpsNorm(nn.Module):
    """A normalisation of a constant: its eps vanishes in fp16, and 0 / 0 is left."""

    def forward(self, x: Tensor) -> Tensor:
        constant = torch.full_like(x, 0.5)
        centred = constant - constant.mean(dim=-1, keepdim=True)
        return x + centred / torch.sqrt(centred.square().mean(dim=-1, keepdim=True) + 1e-8)


class Square(nn.Module):
    """A sum of squares of activations that are large, as attention logits grow."""

    def forward(self, x: Tensor) -> Tensor:
        large = x * 1000.0 + 500.0
        return x + 1e-9 * large.square()


class _Scaled(torch.autograd.Function):
    """The same forward; a gradient multiplied by ``factor``."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor, factor: float) -> Tensor:
        ctx.factor = factor
        return x.clone()

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, grad: Tensor) -> tuple[Tensor, None]:
        return grad * ctx.factor, None


class TinyGradients(nn.Module):
    """The gradient becomes too small for fp16, at any loss scale that is tried."""

    def forward(self, x: Tensor) -> Tensor:
        return _Scaled.apply(x, 1e-13)


class HugeGradients(nn.Module):
    """The gradient becomes too large for fp16, even unscaled."""

    def forward(self, x: Tensor) -> Tensor:
        return _Scaled.apply(x, 1e13)


class TinyProduct(nn.Module):
    """A value and its gradient go through a factor too small for fp16."""

    def forward(self, x: Tensor) -> Tensor:
        return x * 1e-12 * 1e12


FAULTS: dict[str, Callable[[], nn.Module]] = {
    fault.__name__: fault
    for fault in (
        Overflows,
        Exponential,
        LongSum,
        Division,
        SmallEpsNorm,
        Square,
        TinyGradients,
        HugeGradients,
        TinyProduct,
    )
}
#: Faults of the backward pass; the rest show in the forward pass.
BACKWARD = {"TinyGradients", "HugeGradients"}


class Residual(nn.Module):
    """x + inner(x)."""

    def __init__(self, *inner: nn.Module) -> None:
        super().__init__()
        self.inner = nn.Sequential(*inner)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.inner(x)


class Across(nn.Module):
    """A U: down, through the middle, up, and beside what was there before."""

    def __init__(self, width: int, conv: type[nn.Module], pool: type[nn.Module], norm: type[nn.Module]) -> None:
        super().__init__()
        self.first = nn.Sequential(conv(1, width, 3, padding=1), norm(width), nn.ReLU(inplace=True))
        self.down = nn.Sequential(pool(2), conv(width, 2 * width, 3, padding=1), norm(2 * width), nn.ReLU(inplace=True))
        self.up = nn.Sequential(nn.Upsample(scale_factor=2), conv(2 * width, width, 3, padding=1))
        self.last = conv(2 * width, 3, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.first(x)
        logits = self.last(torch.cat([x, self.up(self.down(x))], dim=1))
        return logits.flatten(2).mean(dim=2)


class Attention(nn.Module):
    """Tokens from patches, one block of attention written by hand, and a mean."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.embed = nn.Conv2d(3, width, 4, stride=4)
        self.norm = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.project = nn.Linear(width, width)
        self.mlp = Residual(nn.LayerNorm(width), nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))
        self.head = nn.Linear(width, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = self.embed(x).flatten(2).transpose(1, 2)
        q, k, v = self.qkv(self.norm(x)).chunk(3, dim=-1)
        weights = (q @ k.transpose(1, 2) / q.shape[-1] ** 0.5).softmax(dim=-1)
        x = self.mlp(x + self.project(weights @ v))
        return self.head(x.mean(dim=1))


def head(width: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(width, 3)]


def convolutional() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(inplace=True), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 12, 3, padding=1), nn.BatchNorm2d(12), nn.ReLU(inplace=True), nn.AdaptiveAvgPool2d(1)),
        *head(12),
    )


def residual() -> nn.Module:
    block = (nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, padding=1))
    return nn.Sequential(nn.Conv2d(3, 8, 3, stride=2), Residual(*block), nn.ReLU(), nn.AdaptiveAvgPool2d(1), *head(8))


def depthwise() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv2d(3, 8, 3, stride=2), nn.BatchNorm2d(8), nn.ReLU6(inplace=True)),
        *(nn.Conv2d(8, 8, 3, padding=1, groups=8), nn.BatchNorm2d(8), nn.Hardswish(), nn.Conv2d(8, 12, 1)),
        *(nn.AdaptiveAvgPool2d(1), *head(12)),
    )


def grouped() -> nn.Module:
    inner = (nn.Conv2d(8, 8, 5, padding=2, groups=8), nn.GroupNorm(1, 8), nn.Conv2d(8, 16, 1), nn.GELU())
    block = Residual(*inner, nn.Conv2d(16, 8, 1))
    return nn.Sequential(nn.Conv2d(3, 8, 4, stride=4), block, nn.AdaptiveAvgPool2d(1), *head(8))


def perceptron() -> nn.Module:
    return nn.Sequential(
        nn.Flatten(), nn.Linear(768, 32), nn.Tanh(), nn.Dropout(0.3), nn.Linear(32, 16), nn.SiLU(), nn.Linear(16, 3)
    )


def transformer() -> nn.Module:
    layer = nn.TransformerEncoderLayer(16, 2, dim_feedforward=32, batch_first=True, dropout=0.1)
    return nn.Sequential(nn.Flatten(2), nn.Linear(256, 16), nn.Sequential(layer), nn.Flatten(), nn.Linear(48, 3))


def clip() -> nn.Module:
    return nn.Sequential(
        *(nn.Conv3d(1, 6, 3, padding=1), nn.InstanceNorm3d(6, affine=True), nn.LeakyReLU(inplace=True)),
        *(nn.Conv3d(6, 8, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool3d(1), *head(8)),
    )


#: Name -> how to build it, and the shape of one sample.
ARCHITECTURES: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "perceptron": (perceptron, (3, 16, 16)),
    "convolutional": (convolutional, (3, 16, 16)),
    "residual": (residual, (3, 16, 16)),
    "depthwise": (depthwise, (3, 16, 16)),
    "grouped": (grouped, (3, 16, 16)),
    "transformer": (transformer, (3, 16, 16)),
    "attention": (lambda: Attention(16), (3, 16, 16)),
    "unet": (lambda: Across(6, nn.Conv2d, nn.MaxPool2d, nn.BatchNorm2d), (1, 16, 16)),
    "unet3d": (lambda: Across(4, nn.Conv3d, nn.AvgPool3d, nn.InstanceNorm3d), (1, 8, 8, 8)),
    "clip": (clip, (1, 6, 12, 12)),
}


def healthy(name: str, seed: int = 0) -> tuple[nn.Module, tuple[Tensor, Tensor]]:
    """One of the architectures, and a batch for it."""
    torch.manual_seed(seed)
    build, shape = ARCHITECTURES[name]
    return build(), (torch.randn(6, *shape), torch.randint(0, 3, (6,)))


def places(model: nn.Module) -> list[str]:
    """Where a fault may stand: behind a convolution or a linear layer, whose result is half precision."""
    kinds = (nn.Conv2d, nn.Conv3d, nn.Linear)
    return [n for n, m in model.named_modules() if isinstance(m, kinds) and not n.endswith(("self_attn.out_proj",))]


def infect(model: nn.Module, place: str, fault: str) -> str:
    """Put the fault behind the layer ``place``; the name of the module that is now to blame."""
    parent = model.get_submodule(place.rpartition(".")[0])
    setattr(parent, place.rpartition(".")[2], nn.Sequential(model.get_submodule(place), FAULTS[fault]()))
    return f"{place}.1"


def loss(logits: Tensor, target: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits.float(), target)
