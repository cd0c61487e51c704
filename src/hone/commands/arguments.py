"""The command line of ``fit`` and of the verbs that take its options: typed, one validation, errors of one line."""

from __future__ import annotations

import argparse
import dataclasses
import types
import typing
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, NoReturn

import docstring_parser
import yaml

from hone import checks
from hone.recipe.component import Component
from hone.recipe.schema import COMPONENTS, Recipe, option_names, read_recipe, recipe_from
from hone.recipe.text import from_yaml

#: Fields that say the same thing in two ways: stating the one takes back what a recipe file says by the other.
_INSTEAD = {"epochs": "updates", "updates": "epochs", "weights": "source", "source": "weights"}
#: Fields that have another name on the command line, because Python keeps the word for itself.
_SPELLED = {"source": "from"}
_DESCRIPTION = """\
{what}

Every part takes the arguments of what its name means, with a dot:
  --schedule OneCycleLR --schedule.max_lr 3e-3    --loss.label_smoothing 0.1
  --optimizer SGD --optimizer.momentum 0.9        --model.drop_rate 0.2
"""


class Parser(argparse.ArgumentParser):
    """argparse, raising what it would print, and naming the nearest options for an unknown one."""

    def __init__(self, verb: str, what: str, **options: Any) -> None:
        super().__init__(
            prog=f"hone {verb}",
            description=what,
            allow_abbrev=False,
            formatter_class=argparse.RawDescriptionHelpFormatter,
            **options,
        )

    def error(self, message: str) -> NoReturn:
        marker = "unrecognized arguments: "
        if message.startswith(marker):
            word = message.removeprefix(marker).split()[0]
            known = [option for action in self._actions for option in action.option_strings if option.startswith("--")]
            if word.startswith("-"):
                raise checks.unknown("option", word.partition("=")[0], known)
            raise ValueError(f"{self.prog} takes no further word, got {word!r}; quote a name that holds spaces")
        raise ValueError(f"{message}; {self.prog} --help lists the options")


def recipe_from_arguments(
    words: Sequence[str], verb: str, what: str, extra: Sequence[tuple[str, dict[str, Any]]] = ()
) -> tuple[Recipe | None, argparse.Namespace]:
    """Read ``DATA [options]`` as a recipe; the arguments are those of :func:`values_from_arguments`.

    Returns:
        The recipe (None where no data was given), and everything that was read.

    Raises:
        ValueError: as :func:`values_from_arguments`, or a value that breaks its rule.
        SystemExit: after ``--help``.
    """
    values, found = values_from_arguments(words, verb, what, extra)
    return (recipe_from(values) if values.get("data") is not None else None), found


def values_from_arguments(
    words: Sequence[str],
    verb: str,
    what: str,
    extra: Sequence[tuple[str, dict[str, Any]]] = (),
    *,
    word: str = "data",
) -> tuple[dict[str, Any], argparse.Namespace]:
    """Read the recipe's options; ``--config FILE`` is read first, and what stands on the command line goes before it.

    Args:
        words: the command line after the verb.
        verb: for the usage line.
        what: the verb does, in a sentence.
        extra: further options, as arguments of ``add_argument``; one that the recipe has too is the verb's own.
        word: the field that stands without an option's name before it: ``data``, or ``model`` for a verb that reads no
            data and so has no such field.

    Returns:
        The values that were stated, by field, and everything that was read.

    Raises:
        ValueError: an unknown option (the nearest are named), or a value of another type.
        SystemExit: after ``--help``.
    """
    plain, dotted = apart(words)
    own = {option for option, _ in extra}
    parser = Parser(verb, _DESCRIPTION.format(what=what))
    _add_recipe(parser, word, own)
    for option, settings in extra:
        parser.add_argument(option, **settings)
    found = parser.parse_args(plain)
    values: dict[str, Any] = dict(read_recipe(Path(found.config))) if found.config else {}
    fields = [name for name in option_names() if _option(name) not in own]
    stated = {name: value for name, value in vars(found).items() if name in fields and value is not None}
    values = {name: value for name, value in values.items() if _INSTEAD.get(name) not in stated} | stated
    for name, options in dotted.items():
        component = Component.of(name, values.get(name))
        values[name] = Component(options.pop("name", component.name), {**component.options, **options})
    return values, found


def _option(name: str) -> str:
    """How a field is spelled on the command line."""
    return f"--{_SPELLED.get(name, name).replace('_', '-')}"


def _add_recipe(parser: argparse.ArgumentParser, word: str, own: Collection[str]) -> None:
    told = {p.arg_name: p.description for p in docstring_parser.parse(Recipe.__doc__ or "").params}
    hints = typing.get_type_hints(Recipe)
    for field in dataclasses.fields(Recipe):
        words = f"{told[field.name]}{_default(field)}".replace("%", "%%")
        option = _option(field.name)
        if field.name == word:
            parser.add_argument(word, nargs="?", metavar=word.upper(), help=words)
            continue
        if field.name == "data" or option in own:
            continue
        settings: dict[str, Any] = {"dest": field.name, "default": None, "help": words}
        parser.add_argument(option, **settings, **_reading(hints[field.name], field.metadata.get("or")))
    parser.add_argument("--config", metavar="FILE", help="a recipe (YAML) to start from")


def _reading(hint: Any, word: str | None = None) -> dict[str, Any]:
    """How argparse reads a value of a type, or one word that may stand for it."""
    if typing.get_origin(hint) in (types.UnionType, typing.Union):
        hint = next(kind for kind in typing.get_args(hint) if kind is not types.NoneType)
    if hint is bool:
        return {"action": argparse.BooleanOptionalAction}
    if typing.get_origin(hint) is typing.Literal:
        return {"choices": typing.get_args(hint)}
    if typing.get_origin(hint) is tuple:
        return {"action": "append", "metavar": "PATTERN"}
    kind = str if hint is Component else hint
    metavar = {int: "N", float: "X", str: "NAME"}[kind]
    if word is None:
        return {"type": kind, "metavar": metavar}

    def read(text: str) -> Any:
        return text if text == word else kind(text)

    read.__name__ = kind.__name__  # argparse names it in its error
    return {"type": read, "metavar": f"{metavar}|{word}"}


def _default(field: dataclasses.Field[Any]) -> str:
    value = field.default.name if isinstance(field.default, Component) else field.default
    return "" if value in (None, (), dataclasses.MISSING) or isinstance(value, bool) else f" ({value})"


def apart(words: Sequence[str]) -> tuple[list[str], dict[str, dict[str, Any]]]:
    """The ordinary words, and the dotted options by component and argument.

    Example:
        >>> apart(["photos", "--schedule.gamma", "0.5"])
        (['photos'], {'schedule': {'gamma': 0.5}})
    """
    plain: list[str] = []
    dotted: dict[str, dict[str, Any]] = {}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.removeprefix("--").partition("=")
        component, dot, key = name.partition(".")
        if not (word.startswith("--") and dot and component.isidentifier()):
            plain.append(word)
            continue
        checks.one_of("option: the part", component, COMPONENTS)
        if not equals:
            if not rest:
                raise ValueError(f"{word} needs a value")
            value = rest.pop(0)
        try:
            dotted.setdefault(component, {})[key] = from_yaml(value)
        except yaml.YAMLError as error:
            raise checks.invalid(f"--{component}.{key}", "be a value as YAML writes it", value) from error
    return plain, dotted
