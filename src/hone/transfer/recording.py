"""What goes into and comes out of every unit in one forward, kept as it was at that moment."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hone.transfer.calls import watched
from hone.transfer.cut import Port, Side
from hone.transfer.units import Unit

#: Where a tensor lies in memory, to tell one that is passed on from one that is made; None for what is no tensor.
Place = tuple[int, torch.Size] | None
CallKey = tuple[str, int]


@dataclass(frozen=True)
class Passage:
    """What went through one call.

    Attributes:
        leaves: the nested arguments, and the nested output, in a row each; tensors are copies.
        places: where each of them lay.
        spec: how the output is nested.
    """

    leaves: Mapping[Side, list[Any]]
    places: Mapping[Side, list[Place]]
    spec: pytree.TreeSpec

    def tensor(self, port: Port) -> Tensor:
        """The tensor at a port."""
        found: Tensor = self.leaves[port.side][port.leaf].detach()
        return found


def called_modules(model: nn.Module, inputs: Tensor) -> set[str]:
    """The names of the modules that a forward calls.

    Example:
        >>> sorted(called_modules(nn.Sequential(nn.ReLU()), torch.zeros(1)))
        ['', '0']
    """
    called: set[str] = set()

    def note(name: str, call: int, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        called.add(name)
        return run(*args, **kwargs)

    with watched(dict(model.named_modules()), note):
        model(inputs)
    return called


def record(
    model: nn.Module, units: Mapping[str, Unit], inputs: Tensor, seed: int
) -> tuple[dict[CallKey, Passage], Any]:
    """Run a network and keep what goes through its units, in the order of their calls.

    Args:
        model: the network.
        units: which modules are listened to, by name.
        inputs: (N, ...).
        seed: of torch's random numbers.

    Returns:
        The passages by module and number of the call, and the network's output.
    """
    seen: dict[CallKey, Passage] = {}
    alive: list[Any] = []  # memory that is given back would be taken again, and its place mean another tensor

    def listen(name: str, call: int, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        entered = pytree.tree_leaves((args, kwargs))
        copies, places = [copied(leaf) for leaf in entered], [_place(leaf) for leaf in entered]
        result = run(*args, **kwargs)
        left, spec = pytree.tree_flatten(result)
        seen[name, call] = Passage(
            {"in": copies, "out": [copied(leaf) for leaf in left]},
            {"in": places, "out": [_place(leaf) for leaf in left]},
            spec,
        )
        alive.append((entered, left))
        return result

    torch.manual_seed(seed)
    with watched({name: unit.module for name, unit in units.items()}, listen):
        output = model(inputs)
    return seen, copied(output)


def copied(value: Any) -> Any:
    """The nested value with copies of its tensors: the network may write into them later."""

    def copy(tensor: Tensor) -> Tensor:
        return tensor.detach().clone().requires_grad_(tensor.requires_grad)

    return pytree.tree_map_only(Tensor, copy, value)


def _place(leaf: Any) -> Place:
    return (leaf.data_ptr(), leaf.shape) if isinstance(leaf, Tensor) else None
