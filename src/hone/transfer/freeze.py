"""Applying a freeze plan to a model: what is frozen is frozen wholly, statistics and chance included."""

from __future__ import annotations

from torch import nn

from hone.transfer.layers import is_norm, is_stateful_norm, unwrap
from hone.transfer.plan import FreezePlan
from hone.transfer.rows import layer_rows


def apply_freeze(model: nn.Module, plan: FreezePlan, update: int = 0) -> frozenset[str]:
    """Let what the plan names at ``update`` train, and freeze the rest wholly.

    Frozen parameters need no gradient and lose the one they have, so that no optimizer moves or decays them. In a
    model in training mode (all of it is put there first), wholly frozen modules are put in eval mode: norm
    statistics, dropout and stochastic depth rest too. A module without parameters of its own (dropout) goes with the
    layer after it. ``model.train()`` undoes the modes, so apply the plan after each, and at each of the plan's
    boundaries.

    Args:
        model: any network, wrapped for distribution or compiled or not; changed in place.
        plan: what trains.
        update: optimizer updates completed.

    Returns:
        The names of the parameters that train.

    Raises:
        ValueError: a pattern matches nothing; the model is as it was.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = resnet18().train()
        >>> sorted(apply_freeze(model, FreezePlan("head")))
        ['fc.bias', 'fc.weight']
        >>> model.training, model.layer4.training
        (True, False)
    """
    model = unwrap(model)
    needs_norms = any(pattern.lstrip("!") == "norm" for pattern in plan.patterns(update))
    names = plan.select(layer_rows(model), update, norms=norm_parameters(model) if needs_norms else ())
    for name, parameter in model.named_parameters():
        trains = name in names
        if parameter.requires_grad != trains:
            parameter.requires_grad_(trains)
        if not trains:
            parameter.grad = None
    if model.training:
        model.train()  # what rested in the stage before wakes
        _rest(model)
        if plan.norm == "frozen":
            for module in model.modules():
                if is_stateful_norm(module):
                    module.training = False
    return names


def check_plan(model: nn.Module, plan: FreezePlan) -> None:
    """Check every stage of a plan against a model before the run, not when the stage begins.

    Raises:
        ValueError: a pattern of some stage matches nothing.

    Example:
        >>> check_plan(nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2)), FreezePlan("head", stages={10: "last:1"}))
    """
    rows, norms = layer_rows(model), norm_parameters(model)
    for update in plan.stages:
        plan.select(rows, update, norms=norms)


def ever_trained(model: nn.Module, plan: FreezePlan) -> frozenset[str]:
    """The names of the parameters that train in any stage of a plan; all others are as they were at the end.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> sorted(ever_trained(model, FreezePlan("1.bias", stages={10: "1"})))
        ['1.bias', '1.weight']
    """
    rows, norms = layer_rows(model), norm_parameters(model)
    return frozenset[str]().union(*(plan.select(rows, update, norms=norms) for update in plan.stages))


def norm_parameters(model: nn.Module) -> tuple[str, ...]:
    """The names of the parameters of all normalisation layers.

    Example:
        >>> norm_parameters(nn.Sequential(nn.Linear(2, 2), nn.LayerNorm(2)))
        ('1.weight', '1.bias')
    """
    owned = ((name, module) for name, module in unwrap(model).named_modules() if is_norm(module))
    return tuple(f"{name}.{inner}" for name, module in owned for inner, _ in module.named_parameters(recurse=False))


def _rest(module: nn.Module) -> bool | None:
    """Put what is wholly frozen in eval mode. Returns whether ``module`` is so; None where it has no parameters.

    A child without parameters follows the next child that has some (dropout before a layer), else the one before.
    """
    own = [parameter.requires_grad for parameter in module.parameters(recurse=False)]
    children = list(module.children())
    states = [_rest(child) for child in children]
    known = [state for state in states if state is not None]
    if not own and not known:
        return None
    if not any(own) and all(known):
        module.eval()
        return True
    for place, child in enumerate(children):
        if states[place] is None:
            after = next((state for state in states[place:] if state is not None), None)
            before = next((state for state in reversed(states[:place]) if state is not None), False)
            if after if after is not None else before:
                child.eval()
    return False
