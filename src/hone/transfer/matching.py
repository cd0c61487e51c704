"""Which tensor of a source becomes which tensor of a model: by name, else by order and shape.

By name: after a common prefix (``backbone.``, ``encoder.``) is taken off one side or the other, as many names as can be
are equal.

By order and shape, for the same architecture under another library's names: tensors are counted off within each pair
of (role, shape), role being weight, bias or a running statistic, so the k-th 3x3 convolution of 64 channels becomes
the k-th. That alone would also pair networks that only look alike, so the result is verified: every tensor of the
trunk has its counterpart and none is left over, each layer's weight, bias and statistics come from one and the same
layer, and the layers come in the same order.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence

from hone.transfer.patterns import natural, prefixes

Shapes = Mapping[str, tuple[int, ...]]

_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
_LEAVES = ("weight", "bias", *_STATISTICS)
#: Layers that stand elsewhere in the order (a shortcut registered before or after its block) before it is another
#: network.
_OUT_OF_ORDER = 0.1


def match_by_name(target: Shapes, source: Shapes) -> dict[str, str]:
    """Pair equal names, after the common prefix (on either side or both) that makes most names equal in name and shape.

    Returns:
        target name -> source name, for every target name that the source has.

    Example:
        >>> match_by_name({"conv.weight": (1,), "fc.weight": (2,)}, {"backbone.conv.weight": (1,), "neck.weight": (3,)})
        {'conv.weight': 'backbone.conv.weight'}
    """
    best: tuple[int, int, dict[str, str]] = (-1, 0, {})
    bare = {add: {name[len(add) :]: name for name in target if name.startswith(add)} for add in _common(target)}
    for strip in _common(source):
        stripped = {name[len(strip) :]: name for name in source if name.startswith(strip)}
        for add, names in bare.items():
            pairs = {full: stripped[name] for name, full in names.items() if name in stripped}
            good = sum(target[name] == source[other] for name, other in pairs.items())
            score = (good, -bool(strip) - bool(add))
            if score > best[:2]:
                best = (*score, pairs)
    return best[2]


def _common(names: Iterable[str]) -> list[str]:
    """The empty prefix, and those that at least a fifth of the names start with."""
    names = list(names)
    counts = Counter(prefix + "." for name in names for prefix in prefixes(name))
    return ["", *(prefix for prefix, count in counts.items() if 5 * count >= len(names))]


def match_by_order(target: Shapes, source: Shapes, head: Collection[str] = ()) -> dict[str, str] | None:
    """Pair tensors by order within each (role, shape), and verify the result.

    Args:
        target: name -> shape of the model's floating tensors, in its order.
        source: the same of the source.
        head: the target's output layer, which may be of another size.

    Returns:
        target name -> source name; None where this is not the same architecture.

    Example:
        >>> target = {"conv.weight": (8, 3, 3, 3), "fc.weight": (5, 8)}
        >>> match_by_order(target, {"stem.0.weight": (8, 3, 3, 3), "out.weight": (9, 8)}, head=["fc.weight"])
        {'conv.weight': 'stem.0.weight'}
    """
    trunk = {name: shape for name, shape in target.items() if name not in head}
    by_name = {name: source[name] for name in sorted(source, key=natural)}
    for exact in (True, False):
        for wanted in (dict(target), trunk):
            for ordered in (dict(source), by_name):
                pairs = _count_off(wanted, ordered, exact)
                if pairs is not None and _verified(pairs, list(ordered)):
                    return pairs
    return None


def _key(name: str, shape: tuple[int, ...], exact: bool) -> tuple[str, tuple[int, ...]]:
    leaf = name.rsplit(".", 1)[-1]
    role = leaf if leaf in _STATISTICS else "bias" if leaf.endswith("bias") else "weight"
    return role, shape if exact else tuple(n for n in shape if n != 1)


def _count_off(target: Shapes, source: Shapes, exact: bool) -> dict[str, str] | None:
    waiting: dict[tuple[str, tuple[int, ...]], list[str]] = defaultdict(list)
    for name, shape in source.items():
        waiting[_key(name, shape, exact)].append(name)
    wanted = Counter(_key(name, shape, exact) for name, shape in target.items())
    for key, count in wanted.items():
        optional = key[0] == "num_batches_tracked" and not waiting[key]
        if len(waiting[key]) != count and not optional:
            return None
    left = sum(len(names) for key, names in waiting.items() if key not in wanted)
    if left > len(source) - len(target) or left > 4:  # more than an output layer is left over
        return None
    turn = {key: iter(names) for key, names in waiting.items()}
    pairs = {name: next(turn[_key(name, shape, exact)], "") for name, shape in target.items()}
    return {name: other for name, other in pairs.items() if other}


def _verified(pairs: Mapping[str, str], order: Sequence[str]) -> bool:
    """Whether each layer's tensors come from one layer, and the layers come in the same order."""
    layers: dict[str, set[str]] = defaultdict(set)
    for name, other in pairs.items():
        parent, _, leaf = name.rpartition(".")
        if leaf in _LEAVES:
            layers[parent].add(other.rpartition(".")[0])
    if any(len(parents) != 1 for parents in layers.values()):
        return False
    position = {name: place for place, name in enumerate(order)}
    places = [position[other] for other in pairs.values()]
    return longest_rising(places) >= (1 - _OUT_OF_ORDER) * len(places)


def longest_rising(values: Sequence[int]) -> int:
    """The length of the longest increasing subsequence.

    Example:
        >>> longest_rising([3, 1, 2, 5, 4])
        3
    """
    tails: list[int] = []
    for value in values:
        place = bisect_left(tails, value)
        tails[place : place + 1] = [value]
    return len(tails)
