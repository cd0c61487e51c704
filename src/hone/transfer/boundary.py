"""Finding where the frozen part of a network ends, by looking at forwards: at any depth, through any branches."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from hone.transfer.cut import Cut
from hone.transfer.cut_search import gives, narrow_cuts
from hone.transfer.layers import unwrap
from hone.transfer.recording import called_modules, copied
from hone.transfer.splice import Splice
from hone.transfer.units import find_units

#: Samples that the cut is looked for with; the proof takes as many others.
_SAMPLES = 3
#: Below this share of the frozen parameters a cut saves too little to be worth its bytes.
_WORTHWHILE = 0.5


class CannotCacheError(ValueError):
    """A network's frozen part can't run once for all; the message says why."""


def find_cut(model: nn.Module, inputs: Tensor, *, trains: Collection[str] | None = None) -> Cut:
    """Find the latest place from which a network can run instead of from its input, with the same output to the bit.

    Call it with the network in the modes in which it will train (after ``apply_freeze``), and under the same autocast.
    Its buffers, its gradients and torch's random numbers are as before. The cut is proved on other samples than it was
    found with, and with the trained parameters moved.

    Args:
        model: the network.
        inputs: (N, ...), at least 2 samples, better 6 or more: some to look with, the others to prove the cut.
        trains: the names of the parameters that train at some time; by default those that require a gradient now.

    Returns:
        The cut.

    Raises:
        CannotCacheError: why there is none: nothing is frozen, what is frozen moves or draws, or the proof fails.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 3), nn.Tanh(), nn.Linear(3, 2))
        >>> cut = find_cut(model, torch.randn(6, 4), trains={"2.weight", "2.bias"})
        >>> cut.ports, cut.slots[0].sizes
        ({Port(name='1', call=0, side='out', leaf=0): 0}, (3,))
    """
    model = unwrap(model)
    if not isinstance(inputs, Tensor) or len(inputs) < 2:
        raise CannotCacheError("the input is not one tensor of at least 2 samples")
    names = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    trains = names if trains is None else trains
    if all(name in trains for name, _ in model.named_parameters()):
        raise CannotCacheError("everything trains: there is no frozen part that could run once")
    count = min(_SAMPLES, len(inputs))
    with undisturbed(model, trains):
        units, reasons = find_units(model, trains, called_modules(model, inputs[:count]))
        for cut in narrow_cuts(model, units, inputs[:count]):
            if _saved(model, cut, trains) < _WORTHWHILE:
                reasons.append("what trains, or a later use of the input, lies too near the input")
            elif _is_proved(model, cut, inputs[-count:], trains):
                return cut
    raise CannotCacheError(reasons[0] if reasons else "its output does not follow from what its frozen part gives")


def _saved(model: nn.Module, cut: Cut, trains: Collection[str]) -> float:
    """The share of the frozen parameters whose modules no longer run."""
    skipped = tuple(f"{each.name}." for each in cut.skipped)
    frozen = {name: parameter.numel() for name, parameter in model.named_parameters() if name not in trains}
    return sum(size for name, size in frozen.items() if name.startswith(skipped)) / sum(frozen.values())


def _is_proved(model: nn.Module, cut: Cut, inputs: Tensor, trains: Collection[str]) -> bool:
    """Whether stored tensors of other samples give the network's own output, with other trained parameters."""
    splice = Splice(model, cut)
    try:
        features = splice.features(inputs)
    finally:
        splice.remove()
    trained = [parameter for name, parameter in model.named_parameters() if name in trains]
    before = [parameter.detach().clone() for parameter in trained]
    try:
        with torch.no_grad():
            for parameter in trained:
                parameter.mul_(1.25)
        torch.manual_seed(1)
        output = copied(model(inputs))
        return gives(model, cut, features, output)
    finally:
        with torch.no_grad():
            for parameter, value in zip(trained, before, strict=True):
                parameter.copy_(value)


@contextmanager
def undisturbed(model: nn.Module, trains: Collection[str]) -> Iterator[None]:
    """Only the parameters of ``trains`` need gradients; afterwards flags, buffers and random numbers are as before."""
    flags = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    devices = [device for device in {buffer.device for buffer in buffers.values()} if device.type == "cuda"]
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(name in trains)
    try:
        with torch.random.fork_rng(devices), torch.enable_grad():
            yield
    finally:
        with torch.no_grad():
            for name, buffer in model.named_buffers():
                if name in buffers:
                    buffer.copy_(buffers[name])
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(flags[name])
