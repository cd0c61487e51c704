"""The search for a cut: what could be stored, and what of it has to be.

What can be stored depends on no parameter that trains (autograd knows), on no other sample of the batch and on no
chance (a second forward, with the samples in other places beside others and with other random numbers, shows it). Of
that, what has to be stored is found by poisoning: a tensor whose loss the output does not notice is not needed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn

from hone.transfer.cut import Cut, Fixed, Port, Shape, Side, Skipped
from hone.transfer.recording import CallKey, Passage, Place, record
from hone.transfer.splice import Features, Splice, same
from hone.transfer.units import Unit


def narrow_cuts(model: nn.Module, units: Sequence[Unit], inputs: Tensor) -> Iterator[Cut]:
    """The latest cut with as few tensors as possible; then the same for a network that writes into what it is given.

    Args:
        model: the network; its buffers and torch's random numbers move.
        units: its parts.
        inputs: (N, ...), N at least 2.
    """
    by_name = {unit.name: unit for unit in units}
    seen, output = record(model, by_name, inputs, seed=1)
    moved = torch.cat([inputs[-1:], inputs[:-2], -inputs[:1]])  # each in another place, beside another neighbour
    twin, _ = record(model, by_name, moved, seed=2)
    widest = _Candidates(by_name, seen, twin, len(inputs)).cut(Shape.of(inputs))
    stored = {port: seen[port.name, port.call].tensor(port) for port in widest.ports}
    for dense in (False, True):
        trial = _Narrowing(model, replace(widest, dense=dense), stored, output)
        if widest.skipped and trial.holds(trial.cut, {}):
            yield trial.narrowed()


def gives(model: nn.Module, cut: Cut, features: Features, output: Any) -> bool:
    """Whether a network gives this output from features, to the bit (and under the random numbers of seed 1)."""
    splice = Splice(model, cut)
    try:
        torch.manual_seed(1)
        found = model(features)
    except RuntimeError:
        return False  # the network's own code writes into a tensor without memory
    finally:
        splice.remove()
    return same(found, output)


@dataclass(frozen=True)
class _Candidates:
    units: Mapping[str, Unit]
    seen: Mapping[CallKey, Passage]
    twin: Mapping[CallKey, Passage]
    count: int

    def cut(self, example: Shape) -> Cut:
        """The cut that stores everything that can be stored."""
        ports: dict[Port, int] = {}
        slots: list[Shape] = []
        skipped: list[Skipped] = []
        made: set[Place] = set()
        for (name, call), passage in self.seen.items():
            other = self.twin.get((name, call))
            if other is None:
                continue
            side: Side = "out"
            parts = self.parts(passage, other, side)
            if self.units[name].rests and any(isinstance(part, Shape) for part in parts) and None not in parts:
                skipped.append(Skipped(name, call, tuple(part for part in parts if part is not None), passage.spec))
                made.update(passage.places["out"])
            else:
                side = "in"
                # What an earlier unit put out is stored there, where it can be had without running what lies between.
                old = [place in made for place in passage.places[side]]
                parts = [
                    None if is_old else part for part, is_old in zip(self.parts(passage, other, side), old, strict=True)
                ]
            for leaf, part in enumerate(parts):
                if isinstance(part, Shape):
                    ports[Port(name, call, side, leaf)] = len(slots)
                    slots.append(part)
        return Cut(tuple(slots), ports, tuple(skipped), example)

    def parts(self, passage: Passage, other: Passage, side: Side) -> list[Shape | Fixed | None]:
        """Of each leaf what can be said of it for every sample; None where it is not to be had beforehand."""
        leaves, twins = passage.leaves[side], other.leaves[side]
        if len(leaves) != len(twins):
            return [None] * len(leaves)
        return [self.part(*each) for each in zip(leaves, twins, strict=True)]

    def part(self, leaf: Any, twin: Any) -> Shape | Fixed | None:
        """A tensor that depends on its sample alone by its shape; another constant as it is."""
        if leaf is None or (isinstance(leaf, (int, float, str)) and leaf == twin):
            return Fixed(leaf)
        if not (isinstance(leaf, Tensor) and isinstance(twin, Tensor)) or leaf.requires_grad:
            return None
        if leaf.ndim < 2 or leaf.shape != twin.shape or len(leaf) != self.count:
            return None
        moved, again = leaf.roll(1, 0)[:-1].double(), twin[:-1].double()
        bound = 1e-5 * float(moved.abs().max()) if leaf.numel() else 0.0
        return Shape.of(leaf) if torch.allclose(moved, again, rtol=1e-3, atol=bound) else None


@dataclass(frozen=True)
class _Narrowing:
    """A cut that holds, the tensors at its ports, and the output that it gives."""

    model: nn.Module
    cut: Cut
    stored: Mapping[Port, Tensor]
    output: Any

    def narrowed(self) -> Cut:
        """The cut without the tensors that the output does not need."""
        poisoned: dict[Port, Tensor] = {}
        for port in (port for port in self.cut.ports if port.side == "out"):
            trial = {**poisoned, port: _poison(self.stored[port])}
            if self.holds(self.cut, trial):
                poisoned = trial
        left = self.cut
        for port in (port for port in self.cut.ports if port.side == "in"):
            fewer = replace(left, ports={other: slot for other, slot in left.ports.items() if other != port})
            if self.holds(fewer, poisoned):
                left = fewer
        return self.renumbered([port for port in left.ports if port not in poisoned])

    def holds(self, cut: Cut, poisoned: Mapping[Port, Tensor]) -> bool:
        """Whether the network gives its own output from what is stored."""
        tensors = [torch.empty(0)] * len(cut.slots)
        for port, slot in self.cut.ports.items():
            tensors[slot] = poisoned.get(port, self.stored[port])
        return gives(self.model, cut, Features(tuple(tensors)), self.output)

    def renumbered(self, ports: list[Port]) -> Cut:
        """The cut with these ports alone; equal tensors are stored once."""
        held: list[Port] = []
        numbers: dict[Port, int] = {}
        for port in ports:
            twin = next((other for other in held if self.is_same(other, port)), port)
            if twin is port:
                held.append(port)
            numbers[port] = held.index(twin)
        return replace(self.cut, slots=tuple(Shape.of(self.stored[port]) for port in held), ports=numbers)

    def is_same(self, first: Port, second: Port) -> bool:
        a, b = self.stored[first], self.stored[second]
        return Shape.of(a) == Shape.of(b) and torch.equal(a, b)


def _poison(tensor: Tensor) -> Tensor:
    """A tensor of the same kind that no output survives."""
    if tensor.is_floating_point():
        return torch.full_like(tensor, float("nan"))
    return ~tensor if tensor.dtype == torch.bool else tensor + 1
