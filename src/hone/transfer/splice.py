"""Running a network from tensors in its middle: what lies before them does not run.

The network stays what it is: its parameters keep their names, ``model.train()`` and freeze plans work as ever, and an
ordinary input runs through all of it. Only where it is given :class:`Features` do the modules before the cut rest: each
gives zeros of the right shape that take no memory, or the stored tensor where it is a port of the cut.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils import _pytree as pytree

from hone.transfer.calls import CallWatch, watched
from hone.transfer.cut import Cut, Port, Shape, Side


@dataclass(frozen=True)
class Features:
    """A batch at a cut, in the place of the network's input.

    Args:
        tensors: one for each slot of the cut, (N, ...).
    """

    tensors: tuple[Tensor, ...]

    def __len__(self) -> int:
        return len(self.tensors[0])

    def to(self, device: torch.device) -> Features:
        """The same on another device."""
        return Features(tuple(tensor.to(device, non_blocking=True) for tensor in self.tensors))


class Splice:
    """A cut put into a network: from then on it takes :class:`Features` as well as its own input.

    Args:
        model: the network.
        cut: where.

    Example:
        >>> from hone.transfer.boundary import find_cut
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> inputs = torch.randn(5, 4)
        >>> splice = Splice(model, find_cut(model, inputs, trains={"2.weight", "2.bias"}))
        >>> features = splice.features(inputs)
        >>> torch.equal(model(features), model(inputs))
        True
        >>> splice.remove()
    """

    def __init__(self, model: nn.Module, cut: Cut) -> None:
        self.model, self.cut = model, cut
        self._now: Features | None = None
        modules = dict(model.named_modules())
        touched = {port.name for port in cut.ports} | {each.name for each in cut.skipped}
        self._calls = CallWatch({name: modules[name] for name in touched}, self._call)
        self._skipped = {(each.name, each.call): each for each in cut.skipped}
        self._hooks = [
            model.register_forward_pre_hook(self._enter),
            model.register_forward_hook(self._leave, always_call=True),
        ]
        self._calls.install()

    def remove(self) -> None:
        """Take the cut out; the network is as it was."""
        self._calls.remove()
        for hook in self._hooks:
            hook.remove()

    def features(self, inputs: Tensor) -> Features:
        """What an ordinary input is at the cut; the network's later part does not run where nothing of it is needed."""
        found: dict[int, Tensor] = {}
        modules = {port.name: self._calls.modules[port.name] for port in self.cut.ports}

        def listen(name: str, call: int, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
            self._note(found, Port(name, call, "in", 0), (args, kwargs))
            output = run(*args, **kwargs)
            self._note(found, Port(name, call, "out", 0), output)
            return output

        self._calls.remove()
        try:
            with torch.no_grad(), watched(modules, listen):
                self.model(inputs)
        except _Complete:
            pass
        finally:
            self._calls.install()
        return Features(tuple(found[slot] for slot in range(len(self.cut.slots))))

    def _note(self, found: dict[int, Tensor], place: Port, value: Any) -> None:
        leaves = pytree.tree_leaves(value)
        for port, slot in self.cut.ports.items():
            if (port.name, port.call, port.side) == (place.name, place.call, place.side):
                found.setdefault(slot, leaves[port.leaf].detach().clone())
        if len(found) == len(self.cut.slots):
            raise _Complete

    def _enter(self, model: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...] | None:
        self._calls.restart()
        if not (args and isinstance(args[0], Features)):
            return None
        self._now = args[0]
        device = args[0].tensors[0].device
        return (self.cut.example.zeros(len(args[0]), device, dense=self.cut.dense), *args[1:])

    def _leave(self, model: nn.Module, args: Any, output: Any) -> None:
        self._now = None

    def _call(self, name: str, call: int, run: Callable[..., Any], args: Any, kwargs: Any) -> Any:
        """One call of one module: itself, what is stored for it, or nothing at all."""
        if self._now is None:
            return run(*args, **kwargs)
        skipped = self._skipped.get((name, call))
        if skipped is not None:
            device = self._now.tensors[0].device
            leaves = [
                part.zeros(len(self._now), device, dense=self.cut.dense) if isinstance(part, Shape) else part.value
                for part in skipped.outputs
            ]
            return self._with_stored(pytree.tree_unflatten(leaves, skipped.spec), name, call, "out")
        args, kwargs = self._with_stored((args, kwargs), name, call, "in")
        return run(*args, **kwargs)

    def _with_stored(self, value: Any, name: str, call: int, side: Side) -> Any:
        leaves, spec = pytree.tree_flatten(value)
        for place in range(len(leaves)):
            slot = self.cut.ports.get(Port(name, call, side, place))
            if slot is not None and self._now is not None:
                leaves[place] = self._now.tensors[slot].clone()  # the network may write into it
        return pytree.tree_unflatten(leaves, spec)


class _Complete(BaseException):
    """Everything that was asked for has been seen; no handler of the network's own may catch it."""


def is_near(found: Tensor, expected: Tensor, share: float) -> bool:
    """Whether two tensors differ nowhere by more than a share of the largest number.

    Example:
        >>> is_near(torch.tensor([1.0, 0.1]), torch.tensor([1.0, 0.0]), 0.2)
        True
    """
    bound = share * float(expected.double().abs().max().clamp(min=1e-30)) if expected.numel() else 0.0
    return torch.allclose(found.double(), expected.double(), rtol=0.0, atol=bound)


def same(first: Any, second: Any) -> bool:
    """Whether two nested outputs hold the same tensors, to the bit.

    Example:
        >>> same((torch.ones(1), None), (torch.ones(1), None)), same([torch.ones(1)], [torch.zeros(1)])
        (True, False)
    """
    left, right = (
        [leaf for leaf in pytree.tree_leaves(value) if isinstance(leaf, Tensor)] for value in (first, second)
    )
    return len(left) == len(right) and all(torch.equal(a, b) for a, b in zip(left, right, strict=True))
