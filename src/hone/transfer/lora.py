"""Low-rank adapters through PEFT, and the way back to a plain model.

The layers keep their places: a layer ``conv`` holds its own weights as ``conv.base_layer`` and the adapter beside
    them, so a freeze plan names what trains (``FreezePlan("head", "*.lora_*")``), and merging gives the plain names
    back.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from hone import checks
from hone.transfer.heads import find_head
from hone.transfer.layers import unwrap
from hone.transfer.patterns import matches, nothing_matches

_ADAPTED = (nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d)


def add_lora(
    model: nn.Module,
    rank: int = 8,
    *,
    layers: Sequence[str] = ("*",),
    alpha: float | None = None,
    dropout: float = 0.0,
    **options: Any,
) -> nn.Module:
    r"""Put a low-rank adapter beside linear and convolution layers; the output layer stays as it is.

    .. math:: y = W x + \frac{\alpha}{r} B A x, \qquad B = 0 \text{ at the start.}

    Args:
        model: any network; changed in place, its own weights frozen.
        rank: :math:`r`, at least 1.
        layers: which layers, by globs or module names; layers with groups (depthwise) are left out.
        alpha: :math:`\alpha`; ``rank`` unless given.
        dropout: before the adapter, in [0, 1).
        options: further arguments of PEFT's ``LoraConfig``, such as ``use_dora=True`` or ``use_rslora=True``.

    Returns:
        The model.

    Raises:
        ValueError: a number out of range, or a pattern that matches no layer; the model is as it was.
        ModuleNotFoundError: PEFT is not installed (the extra ``lora``).

    Example:
        >>> from torchvision.models import resnet18
        >>> model = add_lora(resnet18(), rank=4, layers=["layer4"])
        >>> sorted(name for name, p in model.named_parameters() if p.requires_grad)[:2]
        ['layer4.0.conv1.lora_A.default.weight', 'layer4.0.conv1.lora_B.default.weight']

    Reference:
        Hu et al., "LoRA", ICLR 2022, equation 3; Liu et al., "DoRA", ICML 2024.
    """
    checks.integer("rank", rank, at_least=1)
    checks.number("dropout", dropout, at_least=0, below=1)
    scale = float(rank) if alpha is None else checks.number("alpha", alpha, above=0)
    names = _chosen(unwrap(model), layers)
    peft = _peft()
    config = peft.LoraConfig(r=rank, lora_alpha=scale, lora_dropout=dropout, target_modules=names, **options)
    return add_adapter(model, config)


def add_adapter(model: nn.Module, config: Any) -> nn.Module:
    """Put any of PEFT's adapters into a model, in place.

    Args:
        model: any network.
        config: a PEFT configuration (``LoraConfig``, ``LoHaConfig``, ``LoKrConfig``, ...) whose ``target_modules``
            are set.

    Returns:
        The model, its own weights frozen.

    Raises:
        ValueError: the configuration names no layers.
        ModuleNotFoundError: PEFT is not installed (the extra ``lora``).

    Example:
        >>> from peft import LoHaConfig
        >>> model = nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2))
        >>> type(add_adapter(model, LoHaConfig(r=2, target_modules=["0"]))[0].base_layer)
        <class 'torch.nn.modules.linear.Linear'>
    """
    if not getattr(config, "target_modules", None):
        raise checks.invalid("config", "name its layers in target_modules", type(config).__name__)
    _peft().inject_adapter_in_model(config, unwrap(model))
    return model


def merge_adapters(model: nn.Module) -> nn.Module:
    """Add every adapter to the weights beside it and take it out: the plain model again, under its own names.

    Args:
        model: a network with or without adapters; changed in place.

    Returns:
        The model.

    Example:
        >>> model = add_lora(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), rank=2)
        >>> list(merge_adapters(model).state_dict())
        ['0.weight', '0.bias', '1.weight', '1.bias']
    """
    inner = unwrap(model)
    layers = [(name, module) for name, module in inner.named_modules() if hasattr(module, "base_layer")]
    for name, layer in layers:
        with torch.no_grad():
            layer.merge(safe_merge=True)
        parent, _, last = name.rpartition(".")
        setattr(inner.get_submodule(parent), last, layer.get_base_layer())
    return model


def merged_state_dict(model: nn.Module) -> dict[str, Tensor]:
    """The weights as the plain library loads them, adapters merged; the model itself stays as it is.

    Example:
        >>> model = add_lora(nn.Sequential(nn.Linear(4, 4), nn.Linear(4, 2)), rank=2)
        >>> list(merged_state_dict(model)), hasattr(model[0], "base_layer")
        (['0.weight', '0.bias', '1.weight', '1.bias'], True)
    """
    inner = unwrap(model)
    if any(hasattr(module, "base_layer") for module in inner.modules()):
        inner = merge_adapters(copy.deepcopy(inner))
    return dict(inner.state_dict())


def _chosen(model: nn.Module, patterns: Sequence[str]) -> list[str]:
    """The names of the layers to adapt: those that fit a pattern, the head and grouped convolutions left out."""
    try:
        heads = {head.name for head in find_head(model)}
    except ValueError:
        heads = set()
    names = [
        name
        for name, module in model.named_modules()
        if isinstance(module, _ADAPTED) and name not in heads and getattr(module, "groups", 1) == 1
    ]
    chosen: dict[str, None] = {}
    for pattern in [patterns] if isinstance(patterns, str) else patterns:
        found = [name for name in names if name == pattern or matches(pattern, name)]
        if not found:
            raise nothing_matches(pattern, [f"{name}.weight" for name in names])
        chosen |= dict.fromkeys(found)
    return list(chosen)


def _peft() -> Any:
    try:
        import peft
    except ModuleNotFoundError:
        raise ModuleNotFoundError('adapters need PEFT: pip install "torch-hone[lora]"') from None
    return peft
