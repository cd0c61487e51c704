"""A model as a column of layers: the rows that ``hone groups`` prints, ``last:N`` counts and layer-wise rates follow.

A row is a block: a residual block, a transformer block, or a layer that stands by itself. Models, and stages that hold
a sequence of blocks, are opened; blocks are not. What holds only vectors (norms, tokens, scales) belongs to the row
before it, at the start of the model to the first row. The output layer is a row of its own, the last.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from torch import nn

from hone.transfer.heads import find_head
from hone.transfer.layers import unwrap

_CONTAINERS = (nn.Sequential, nn.ModuleList, nn.ModuleDict)
_Key = tuple[tuple[str, ...], tuple[tuple[str, int], ...]]
#: The rows of a model last asked for, which hold while its heads, parameters and their sizes do.
_CACHE: weakref.WeakKeyDictionary[nn.Module, tuple[_Key, tuple[LayerRow, ...]]] = weakref.WeakKeyDictionary()


@dataclass(frozen=True)
class LayerRow:
    """One row.

    Attributes:
        name: the module, such as ``"layer4.1"``; ``"head"`` rows carry the output layer's own name.
        depth: 0 for the first row.
        parameters: the names of its parameters.
        size: how many numbers they hold.
        is_head: whether it is the output layer.
    """

    name: str
    depth: int
    parameters: tuple[str, ...]
    size: int = 0
    is_head: bool = False


def layer_rows(model: nn.Module) -> tuple[LayerRow, ...]:
    """The model's layers from the input to the output, in the order in which the model registers them.

    Args:
        model: any network whose head :func:`find_head` finds; without one, there is no head row.

    Returns:
        The rows; every parameter is in exactly one.

    Example:
        >>> from torchvision.models import resnet18
        >>> [row.name for row in layer_rows(resnet18())][-3:]
        ['layer4.0', 'layer4.1', 'fc']
    """
    model = unwrap(model)
    try:
        heads = tuple(head.name for head in find_head(model))
    except ValueError:
        heads = ()
    sizes = {name: parameter.numel() for name, parameter in model.named_parameters()}
    key = (heads, tuple(sizes.items()))
    cached = _CACHE.get(model)
    if cached is None or cached[0] != key:
        cached = (key, _build(model, heads, sizes))
        _CACHE[model] = cached
    return cached[1]


def _build(model: nn.Module, heads: Sequence[str], sizes: Mapping[str, int]) -> tuple[LayerRow, ...]:
    of_head = [name for name in sizes if any(name.startswith(head + ".") for head in heads)]
    matrices = {name for name, p in model.named_parameters() if _is_matrix(p.shape) and name not in of_head}
    grouped: list[tuple[str, list[str]]] = []
    loose: list[str] = []
    for place, name in _places(model):
        if name in of_head or name not in sizes:
            continue
        if grouped and grouped[-1][0] == place:
            grouped[-1][1].append(name)
        elif name in matrices or any(other.startswith(f"{place}.") for other in matrices if place):
            grouped.append((place, [*loose, name]))
            loose = []
        elif grouped:
            grouped[-1][1].append(name)
        else:
            loose.append(name)
    if loose:
        grouped.append((loose[0], loose))
    rows = [
        LayerRow(place, depth, tuple(inside), sum(sizes[name] for name in inside))
        for depth, (place, inside) in enumerate(grouped)
    ]
    if of_head:
        rows.append(LayerRow(heads[0], len(rows), tuple(of_head), sum(sizes[name] for name in of_head), is_head=True))
    return tuple(rows)


def _is_matrix(shape: tuple[int, ...]) -> bool:
    """Whether a parameter is a matrix or filters, and not a vector, a token or a table of positions (a leading 1)."""
    return len(shape) >= 2 and shape[0] != 1


def _places(model: nn.Module) -> Iterator[tuple[str, str]]:
    """(row, parameter name) for every parameter in registration order; a split module's own parameters have no row."""

    def visit(module: nn.Module, name: str) -> Iterator[tuple[str, str]]:
        if not _is_opened(module) and name:
            yield from ((name, f"{name}.{inner}") for inner, _ in module.named_parameters())
            return
        yield from (("", f"{name}.{inner}".lstrip(".")) for inner, _ in module.named_parameters(recurse=False))
        for inner, child in module.named_children():
            yield from visit(child, f"{name}.{inner}".lstrip("."))

    yield from visit(model, "")


def _is_opened(module: nn.Module) -> bool:
    """Whether a module holds rows rather than being one: a container of layers, or a stage of blocks."""
    if isinstance(module, _CONTAINERS):
        return _matrices(module) > 1
    parts = [child for child in module.children() if _matrices(child)]
    if len(parts) > 1 and len({type(part) for part in parts}) == 1 and _is_block(parts[0]):
        return True  # a stage whose blocks are children by name, as in RegNet
    least = 0.5 if len(parts) == 1 else 0.51  # a wrapper of one sequence (a U-Net's skip connection) opens sooner
    return any(_blocks(child) >= least for child in parts if isinstance(child, _CONTAINERS))


def _blocks(container: nn.Module) -> float:
    """The share of blocks among a container's layers; a block, too, may hold a gate or attention among its layers."""
    layers = [_is_block(layer) for layer in _layers(container)]
    return sum(layers) / len(layers) if layers else 0.0


def _layers(container: nn.Module) -> Iterator[nn.Module]:
    """What is in a container, containers inside it opened, but for one layer with its norm and activation."""
    for child in container.children():
        if isinstance(child, _CONTAINERS) and _matrices(child) > 1:
            yield from _layers(child)
        elif any(True for _ in child.parameters()):
            yield child


def _is_block(module: nn.Module) -> bool:
    """Whether a module of a class of its own holds at least two layers: a residual or attention block, or a stage."""
    return not isinstance(module, _CONTAINERS) and any(True for _ in module.children()) and _matrices(module) > 1


def _matrices(module: nn.Module) -> int:
    """How many layers are inside; an adapted layer is one, whatever its adapter holds."""
    if hasattr(module, "base_layer"):
        return 1
    own = sum(_is_matrix(tuple(parameter.shape)) for parameter in module.parameters(recurse=False))
    return own + sum(_matrices(child) for child in module.children())
