"""Frozen batch norms run inside the convolutions before them, for the length of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.utils.fusion import fuse_conv_bn_weights

from hone.transfer.calls import watched
from hone.transfer.splice import is_near

_Pair = tuple[nn.Module, nn.Module]


@contextmanager
def folded_norms(model: nn.Module, run: Callable[[], tuple[Tensor, ...]], *, near: float = 1e-4) -> Iterator[int]:
    """Let convolutions do the work of the batch norms that follow them; afterwards the network is as it was.

    A batch norm in eval mode is ``a y + b`` channel by channel, and ``a (W x + c) + b = (a W) x + (a c + b)`` is a
    convolution again: one pass over memory less for each pair. The numbers differ in their last bits. Pairs are found
    by looking at a forward; where what ``run`` gives is then not nearly the same (someone else reads the convolution's
    output too), nothing is folded.

    Args:
        model: in the modes in which it runs; batch norms in train mode stay.
        run: a forward, or a part of one, on some inputs, and what it gives.
        near: how far outputs may differ, as a share of the largest.

    Yields:
        How many pairs are folded.

    Example:
        >>> import torch
        >>> model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU()).eval()
        >>> inputs = torch.randn(2, 3, 8, 8)
        >>> with torch.no_grad(), folded_norms(model, lambda: (model(inputs),)) as count:
        ...     folded = model(inputs)
        >>> count, torch.allclose(folded, model(inputs), atol=1e-5)
        (1, True)

    Reference:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        CVPR 2018, section 3.2 (folding).
    """
    pairs, expected = _pairs(model, run)
    with ExitStack() as stack:
        for layer, norm in pairs:
            stack.enter_context(_folded(layer, norm))
        if pairs and not all(is_near(a, b, near) for a, b in zip(run(), expected, strict=True)):
            stack.close()
            pairs = []
        yield len(pairs)


def _pairs(model: nn.Module, run: Callable[[], tuple[Tensor, ...]]) -> tuple[list[_Pair], tuple[Tensor, ...]]:
    """The convolutions whose output goes straight into a batch norm, both of them called once, and what ran."""
    layers = {name: m for name, m in model.named_modules() if isinstance(m, (nn.Conv1d, nn.Conv2d, nn.Conv3d))}
    norms = {name: m for name, m in model.named_modules() if isinstance(m, _BatchNorm) and _is_foldable(m)}
    made: list[tuple[nn.Module, Any]] = []  # outputs are kept: another tensor may not take their place
    found: list[_Pair] = []
    called: list[str] = []

    def listen(name: str, call: int, forward: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        called.append(name)
        if name in norms:
            found.extend((layer, norms[name]) for layer, output in made if args and output is args[0])
        output = forward(*args, **kwargs)
        if name in layers:
            made.append((layers[name], output))
        return output

    with watched({**layers, **norms}, listen):
        expected = run()
    once = {id(m) for name, m in {**layers, **norms}.items() if called.count(name) == 1}
    return [pair for pair in found if all(id(module) in once for module in pair)], expected


def _is_foldable(norm: _BatchNorm) -> bool:
    plain = type(norm) in (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d) or _has_activation(norm)
    return plain and not norm.training and norm.running_mean is not None


def _has_activation(norm: nn.Module) -> bool:
    """timm's batch norm that ends in an activation."""
    return type(norm).__name__ == "BatchNormAct2d" and type(norm).__module__.startswith("timm.")


@contextmanager
def _folded(layer: Any, norm: Any) -> Iterator[None]:
    own = {"weight": layer.weight, "bias": layer.bias}
    weight, bias = fuse_conv_bn_weights(
        layer.weight, layer.bias, norm.running_mean, norm.running_var, norm.eps, norm.weight, norm.bias
    )
    layer._parameters.update(weight=weight.requires_grad_(False), bias=bias.requires_grad_(False))
    before = norm.__dict__.get("forward")
    norm.forward = (lambda x: norm.act(norm.drop(x))) if _has_activation(norm) else (lambda x: x)
    try:
        yield
    finally:
        layer._parameters.update(own)
        del norm.forward
        if before is not None:
            norm.forward = before
