"""A component's arguments, checked against the signature of what its name means."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentError, ArgumentParser

from hone import checks
from hone.recipe.text import from_yaml


def typed_options(
    what: str, kind: Callable[..., Any], given: Mapping[str, Any], skip: set[str] | None = None
) -> dict[str, Any]:
    """The given arguments, converted to the types that ``kind`` asks for.

    Args:
        what: the component's option, for errors.
        kind: a class or function.
        given: argument -> value; strings are read as YAML, as on the command line.
        skip: arguments of ``kind`` that hone fills in itself.

    Returns:
        The given arguments only; the rest keep the defaults of ``kind``.

    Raises:
        ValueError: an argument is missing, is none that ``kind`` has (the nearest are named) or that hone sets, or has
            a value of another type; one line.

    Example:
        >>> import torch
        >>> typed_options("optimizer", torch.optim.AdamW, {"betas": "[0.8, 0.9]"}, {"params"})
        {'betas': (0.8, 0.9)}
    """
    skip = skip or set()
    parameters = inspect.signature(kind).parameters
    names = [name for name in parameters if name not in skip and name != "self"]
    open_ended = any(p.kind is inspect.Parameter.VAR_KEYWORD for p in parameters.values())
    for name in given:
        if name not in names and not open_ended:
            raise checks.unknown(f"{what}: the argument of {kind.__name__}", name, names)
    missing = [n for n in names if parameters[n].default is inspect.Parameter.empty and n not in given]
    missing = [
        n
        for n in missing
        if parameters[n].kind not in (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)
    ]
    if missing:
        raise ValueError(f"{what}: {kind.__name__} needs {', '.join(missing)}; give --{what}.{missing[0]}")
    if not given:
        return {}
    parser = ArgumentParser(exit_on_error=False)
    if inspect.isclass(kind):
        known = parser.add_class_arguments(kind, what, skip={*skip}, fail_untyped=False)
    else:
        known = parser.add_function_arguments(kind, what, skip={*skip}, fail_untyped=False)
    typed = {
        name: value for name, value in given.items() if f"{what}.{name}" in known and not _is_tensor(parameters[name])
    }
    arguments = [f"--{what}.{name}={_as_text(value)}" for name, value in typed.items()]
    try:
        found = parser.parse_args(arguments)
    except (ArgumentError, TypeError) as error:
        raise ValueError(f"{what}: {one_line(error)}") from error
    read = found[what].as_dict() if hasattr(found[what], "as_dict") else vars(found[what])
    return {
        name: read[name] if name in typed else _plain(what, name, value, parameters) for name, value in given.items()
    }


def _plain(what: str, name: str, value: Any, parameters: Mapping[str, inspect.Parameter]) -> Any:
    """A value whose type the signature does not tell, as it is; numbers as a tensor where one is asked for."""
    if name not in parameters or not _is_tensor(parameters[name]) or value is None or isinstance(value, torch.Tensor):
        return value
    try:
        return torch.tensor(from_yaml(value) if isinstance(value, str) else value, dtype=torch.float32)
    except (TypeError, ValueError, yaml.YAMLError):
        raise checks.invalid(f"{what}.{name}", "be a list of numbers", value) from None


def _is_tensor(parameter: inspect.Parameter) -> bool:
    """Whether an argument is annotated as a tensor, or as a tensor or None."""
    hint = parameter.annotation
    return (
        hint is torch.Tensor
        or torch.Tensor in typing.get_args(hint)
        or str(hint).startswith(("Tensor", "torch.Tensor"))
    )


def one_line(error: BaseException) -> str:
    """An argument parser's message of several lines, as one."""
    text = " ".join(line.strip() for line in str(error).splitlines() if line.strip())
    return text.replace("Parser key ", "").replace("<class '", "").replace("'>", "")


def _as_text(value: Any) -> str:
    return (
        value
        if isinstance(value, str)
        else yaml.safe_dump(value, default_flow_style=True).removesuffix("...\n").strip()
    )
