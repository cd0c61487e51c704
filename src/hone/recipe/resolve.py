"""Names of the recipe to the classes and functions they mean: short names first, then ``module:name``."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import Tensor, nn

from hone import checks, losses, schedules
from hone.models import import_name
from hone.recipe.component import Component
from hone.recipe.options import typed_options

_REFUSED_OPTIMIZERS = {
    "LBFGS": "it evaluates the loss several times an update, which an ordinary loop does not offer",
    "SparseAdam": "it takes sparse gradients only, and a vision model's are dense",
    "Muon": "it takes weight matrices only and refuses biases, norms and convolutions",
}
_DEFAULT_LOSS = {"classify": "CrossEntropyLoss", "multilabel": "BCEWithLogitsLoss", "regress": "MSELoss"}
#: Arguments that the recipe states under names of its own.
_SET_BY_HONE = {"params", "lr", "weight_decay", "foreach", "fused", "maximize", "capturable", "differentiable"}


def resolve_loss(component: Component, task: str, weight: Tensor | None = None) -> Callable[..., Tensor]:
    """The loss that a component names, built.

    Args:
        component: a class of ``hone.losses`` or ``torch.nn``, or the user's class, function or object.
        task: whose default is taken where nothing is named.
        weight: of each class, (C,), for a loss with an argument ``weight``.

    Raises:
        ValueError: no such loss (the nearest are named), or it takes no class weights.
    """
    if component.given is not None and not inspect.isclass(component.given):
        return _checked_loss(component.given)
    name = component.name or _DEFAULT_LOSS[task]
    kind: Any = component.given or _find("loss", name, [losses, nn], _is_loss)
    if not inspect.isclass(kind):
        return functools.partial(kind, **typed_options("loss", kind, component.options, _first_two(kind)))
    options = dict(component.options)
    if weight is not None:
        if "weight" not in inspect.signature(kind).parameters:
            raise ValueError(f"class_weights needs a loss with an argument weight, and {name} has none")
        options.setdefault("weight", weight.tolist())
    built: Any = kind(**typed_options("loss", kind, options))
    return _checked_loss(built)


def resolve_schedule(component: Component) -> Any:
    """What :func:`hone.schedules.bind_schedule` takes: a schedule, a function ``step -> factor``, or a torch class.

    Raises:
        ValueError: no such schedule (the nearest are named), or an argument of it is missing or wrong.
    """
    if component.given is not None:
        return component.given
    name = component.name or "CosineAnnealingLR"
    kind = _find("schedule", name, [schedules], _is_schedule)
    if not inspect.isclass(kind):
        return functools.partial(kind, **component.options) if component.options else kind
    if issubclass(kind, torch.optim.lr_scheduler.LRScheduler):
        return functools.partial(kind, **typed_options("schedule", kind, component.options, {"optimizer"}))
    options = dict(component.options)
    for key, value in options.items():
        if isinstance(value, str) and ":" in value:
            options[key] = import_name(value, what=f"schedule.{key}")
    functions = {key: value for key, value in options.items() if callable(value)}
    plain = {key: value for key, value in options.items() if key not in functions}
    return kind(**typed_options("schedule", kind, plain, set(functions)), **functions)


def resolve_optimizer(component: Component) -> tuple[type[torch.optim.Optimizer], dict[str, Any]]:
    """The optimizer's class and its further arguments.

    Raises:
        ValueError: no such optimizer (the nearest are named), or one that does not fit an ordinary loop.
    """
    kind = component.given or _find("optimizer", component.name or "AdamW", [torch.optim], _is_optimizer)
    if not _is_optimizer(kind):
        raise checks.invalid("optimizer", "be a class of torch optimizers", component.name)
    if kind.__name__ in _REFUSED_OPTIMIZERS and kind.__module__.startswith("torch."):
        reason = _REFUSED_OPTIMIZERS[kind.__name__]
        raise ValueError(f"optimizer {kind.__name__} can't be used: {reason}; AdamW is the default")
    options = typed_options("optimizer", kind, component.options, _SET_BY_HONE)
    if "fused" in inspect.signature(kind).parameters and "fused" not in options:
        options["fused"] = True
    return kind, options


def _find(what: str, name: str, modules: Iterable[Any], fits: Callable[[Any], bool]) -> Any:
    if ":" in name:
        return import_name(name, what=what)
    known = {
        key: getattr(module, key)
        for module in reversed(list(modules))
        for key in getattr(module, "__all__", None) or dir(module)
        if not key.startswith("_") and fits(getattr(module, key))
    }
    if name not in known:
        raise checks.unknown(what, name, sorted(known.keys() - _REFUSED_OPTIMIZERS.keys()))
    return known[name]


def _is_loss(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, nn.Module) and found.__name__.endswith("Loss")


def _is_schedule(found: Any) -> bool:
    return inspect.isclass(found) and hasattr(found, "bind")


def _is_optimizer(found: Any) -> bool:
    return inspect.isclass(found) and issubclass(found, torch.optim.Optimizer) and found is not torch.optim.Optimizer


def _first_two(kind: Callable[..., Any]) -> set[str]:
    """The arguments of a loss function that the loop fills in: logits and target."""
    return set(list(inspect.signature(kind).parameters)[:2])


def _checked_loss(found: Callable[..., Tensor]) -> Callable[..., Tensor]:
    if not callable(found):
        raise checks.invalid("loss", "be callable as (logits, target) -> loss", found)
    return found
