"""The parts of a network that a feature cache deals with: whole modules that rest, and layers that do not.

A unit is the largest module that is called as one and wholly rests, or a single layer that does not. Between units the
network's own code runs as ever: sums of branches, reshapes, positions that are added.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Set
from dataclasses import dataclass

from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from hone.transfer.layers import is_stateful_norm

_CHANCES = ("p", "drop_prob", "prob", "dropout")


@dataclass(frozen=True)
class Unit:
    """One module of the network.

    Attributes:
        name: where it is.
        module: the module.
        rests: nothing in it trains, moves or draws: its output is a function of its input alone.
    """

    name: str
    module: nn.Module
    rests: bool


def find_units(model: nn.Module, trains: Collection[str], called: Set[str]) -> tuple[list[Unit], list[str]]:
    """Divide a network, in the modes in which it will train, into units.

    Args:
        model: the network.
        trains: the names of the parameters that will train at some time.
        called: the names of the modules that a forward calls.

    Returns:
        The units, and the reasons why frozen modules are not at rest.

    Example:
        >>> model = nn.Sequential(nn.Sequential(nn.Linear(2, 2), nn.Tanh()), nn.Dropout(0.5), nn.Linear(2, 1))
        >>> units, reasons = find_units(model, {"2.weight", "2.bias"}, {"0", "0.0", "0.1", "1", "2"})
        >>> [(unit.name, unit.rests) for unit in units], reasons
        ([('0', True), ('1', False), ('2', False)], ['1 (Dropout) draws at random'])
    """
    units: list[Unit] = []
    reasons: list[str] = []

    def visit(name: str, module: nn.Module) -> None:
        inside = [f"{name}.{inner}".lstrip(".") for inner, _ in module.named_parameters()]
        training = any(parameter in trains for parameter in inside)
        unrest = [] if training else list(_unrest(name, module))
        reasons.extend(reason for reason in unrest if reason not in reasons)
        if name in called and not training and not unrest:
            units.append(Unit(name, module, rests=True))
        elif any(other.startswith(f"{name}." if name else "") for other in called - {name}):
            for inner, child in module.named_children():
                visit(f"{name}.{inner}".lstrip("."), child)
        elif name in called:
            units.append(Unit(name, module, rests=False))

    visit("", model)
    return units, reasons


def _unrest(name: str, module: nn.Module) -> Iterator[str]:
    """What in a frozen module moves or draws in its present mode."""
    for inner, part in module.named_modules():
        place = f"{name}.{inner}".strip(".")
        kind = type(part).__name__
        if isinstance(part, _BatchNorm) and not is_stateful_norm(part):
            yield f"{place} ({kind}) takes the statistics of each batch"
        elif part.training and is_stateful_norm(part):
            yield f"{place} ({kind}) is in training mode: its statistics move"
        elif part.training and _draws(part):
            yield f"{place} ({kind}) draws at random"


def _draws(module: nn.Module) -> bool:
    """Whether a module is dropout or stochastic depth of any library, and not switched off."""
    if isinstance(module, nn.RReLU):
        return True
    if "drop" not in type(module).__name__.lower() and not hasattr(module, "dropout"):
        return False
    chances = [getattr(module, name, None) for name in _CHANCES]
    return any(isinstance(chance, (int, float)) and chance > 0 for chance in chances)
