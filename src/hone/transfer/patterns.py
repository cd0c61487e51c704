"""Names by pattern: a glob over the whole name, or the name of a module for everything inside it."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase


def matches(pattern: str, name: str) -> bool:
    """Whether a tensor's name fits a glob (``*``, ``?``, ``[...]``; dots included) or lies in the module so named.

    Example:
        >>> [matches("layer4", name) for name in ("layer4.0.conv1.weight", "layer40.weight")]
        [True, False]
        >>> matches("*.bias", "layer4.0.bn1.bias")
        True
    """
    return fnmatchcase(name, pattern) or name.startswith(pattern + ".")


def select(pattern: str, names: Sequence[str]) -> list[str]:
    """The names that fit ``pattern``, in their order.

    Raises:
        ValueError: none fits; the nearest modules are named.

    Example:
        >>> select("encoder.*", ["encoder.conv.weight", "head.weight"])
        ['encoder.conv.weight']
    """
    found = [name for name in names if matches(pattern, name)]
    if not found:
        raise nothing_matches(pattern, names)
    return found


def nothing_matches(pattern: str, names: Iterable[str]) -> ValueError:
    """The error for a pattern that no parameter's name fits."""
    modules = list(dict.fromkeys(prefix for name in names for prefix in prefixes(name)))
    near = difflib.get_close_matches(pattern.strip("*."), modules, n=3, cutoff=0.5)
    top = list(dict.fromkeys(module.split(".")[0] for module in modules))[:8]
    hint = f"did you mean {', '.join(near)}?" if near else f"the outermost names are {', '.join(top)}"
    return ValueError(f"pattern {pattern!r} matches no parameter; {hint}")


def prefixes(name: str) -> list[str]:
    """The modules around a tensor, the outermost first.

    Example:
        >>> prefixes("layer4.0.conv1.weight")
        ['layer4', 'layer4.0', 'layer4.0.conv1']
    """
    parts = name.split(".")[:-1]
    return [".".join(parts[: n + 1]) for n in range(len(parts))]


def natural(name: str) -> tuple[tuple[int, int, str], ...]:
    """A sort key that puts ``block.2`` before ``block.10``.

    Example:
        >>> sorted(["block.10", "block.2"], key=natural)
        ['block.2', 'block.10']
    """
    parts = re.split(r"(\d+)", name)
    return tuple((0, int(part), "") if part.isdigit() else (1, 0, part) for part in parts)
