"""What trains when: a plan from patterns, and a pure function of the update."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Mapping, Sequence

from hone import checks
from hone.transfer.patterns import select
from hone.transfer.rows import LayerRow

_NUMBERED = re.compile(r"(last|depth):\s*(\d+)\s*(-?)\s*(\d*)\s*")


class FreezePlan:
    """Which parameters train at each update; the others, and what they are part of, are frozen.

    A pattern names what trains:

    - ``"head"``: the output layer; ``"all"``: everything;
    - ``"last:N"``: the head and the last N rows before it, as :func:`layer_rows` lists them;
    - ``"depth:A-B"``, ``"depth:A-"``, ``"depth:A"``: the rows of that depth, from 0 (``"depth:0-2"`` is surgical
      fine-tuning of the start);
    - ``"norm"``: the weights and biases of all normalisation layers;
    - anything else: a glob over parameter names (``"decoder.*"``, ``"*.bias"``) or a module's name (``"layer4"``);
    - with ``!`` before it: what does not train after all (``"all", "!*.pos_embed"``).

    Args:
        patterns: what trains from the start, together.
        stages: update -> patterns, for gradual unfreezing; from that update on they replace what was before. LP-FT
            (probe, then fine-tune) is ``FreezePlan("head", stages={100: "all"})``.
        norm: ``"follow"``: normalisation layers are frozen where the layers around them are; ``"frozen"``: the running
            statistics of batch norms stay as they are everywhere, also where weights train.

    Raises:
        TypeError: a pattern is no string, an update no whole number.
        ValueError: no pattern, an empty or malformed one, or a stage at an update below 1.

    Example:
        >>> plan = FreezePlan("head", stages={100: "last:2", 300: "all"})
        >>> [plan.stage(update) for update in (0, 99, 100, 300)], plan.boundaries
        ([0, 0, 1, 2], (100, 300))

    Reference:
        Howard and Ruder, "Universal Language Model Fine-tuning", ACL 2018 (gradual unfreezing); Kumar et al.,
        "Fine-Tuning can Distort Pretrained Features", ICLR 2022 (LP-FT); Lee et al., "Surgical Fine-Tuning", ICLR
        2023.
    """

    def __init__(
        self,
        *patterns: str,
        stages: Mapping[int, str | Sequence[str]] | None = None,
        norm: str = "follow",
    ) -> None:
        parts = {0: _checked(patterns)}
        for update, more in (stages or {}).items():
            place = checks.integer("a stage's update", update, at_least=1)
            parts[place] = _checked((more,) if isinstance(more, str) else tuple(more))
        self.stages: dict[int, tuple[str, ...]] = dict(sorted(parts.items()))
        self.norm = checks.one_of("norm", norm, ["follow", "frozen"])

    def __repr__(self) -> str:
        first, *later = self.stages.items()
        parts = [*map(repr, first[1])]
        if later:
            parts.append(f"stages={dict(later)!r}")
        if self.norm != "follow":
            parts.append(f"norm={self.norm!r}")
        return f"FreezePlan({', '.join(parts)})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FreezePlan) and (self.stages, self.norm) == (other.stages, other.norm)

    def __hash__(self) -> int:
        return hash((tuple(self.stages.items()), self.norm))

    @property
    def boundaries(self) -> tuple[int, ...]:
        """The updates, above 0 and rising, from which other parameters train."""
        return tuple(update for update in self.stages if update > 0)

    def stage(self, update: int) -> int:
        """The number of the stage that an update belongs to, from 0."""
        return bisect_right(self.boundaries, checks.integer("update", update, at_least=0))

    def patterns(self, update: int) -> tuple[str, ...]:
        """The patterns that hold at an update."""
        return list(self.stages.values())[self.stage(update)]

    def select(self, rows: Sequence[LayerRow], update: int = 0, *, norms: Sequence[str] = ()) -> frozenset[str]:
        """The names of the parameters that train, from names alone.

        Args:
            rows: the model's layers, from :func:`layer_rows` or made by hand.
            update: optimizer updates completed.
            norms: the parameters of normalisation layers, for the pattern ``"norm"``.

        Raises:
            ValueError: a pattern matches nothing or counts more rows than there are, or nothing would train.

        Example:
            >>> rows = [LayerRow("stem", 0, ("stem.weight",)), LayerRow("fc", 1, ("fc.weight",), is_head=True)]
            >>> sorted(FreezePlan("head").select(rows))
            ['fc.weight']
        """
        chosen: set[str] = set()
        for pattern in self.patterns(update):
            if pattern.startswith("!"):
                chosen -= set(_one(pattern[1:], rows, norms))
            else:
                chosen |= set(_one(pattern, rows, norms))
        if not chosen:
            raise checks.invalid("the freeze plan", f"leave something to train at update {update}", self)
        return frozenset(chosen)


def _checked(patterns: Sequence[str]) -> tuple[str, ...]:
    if not patterns:
        raise ValueError('a freeze plan needs at least one pattern of what trains, such as "head", "last:2" or "all"')
    for pattern in patterns:
        if not isinstance(pattern, str):
            raise TypeError(f"a pattern must be a string, got {pattern!r} ({type(pattern).__name__})")
        bare = pattern.removeprefix("!")
        if not bare.strip():
            raise checks.invalid("pattern", "name what trains", pattern)
        if bare.startswith(("last:", "depth:")):
            _numbers(bare)
    if patterns[0].startswith("!"):
        raise checks.invalid("the first pattern", "name what trains", patterns[0], 'begin with "all"')
    return tuple(pattern.strip() for pattern in patterns)


def _numbers(pattern: str) -> tuple[int, int | None]:
    """The bounds in ``last:N`` (N, N), ``depth:A`` (A, A), ``depth:A-B`` and ``depth:A-`` (A, None)."""
    found = _NUMBERED.fullmatch(pattern)
    if found is None or (found[1] == "last" and found[3]):
        raise checks.invalid("pattern", 'look like "last:2", "depth:0-3" or "depth:8-"', pattern)
    low = int(found[2])
    high = int(found[4]) if found[4] else None if found[3] else low
    if high is not None and high < low:
        raise checks.invalid("pattern", "have its depths in rising order", pattern)
    return low, high


def _one(pattern: str, rows: Sequence[LayerRow], norms: Sequence[str]) -> list[str]:
    """The parameters that one pattern names."""
    trunk = [row for row in rows if not row.is_head]
    head = [row for row in rows if row.is_head]
    if pattern == "all":
        chosen = list(rows)
    elif pattern == "norm":
        if not norms:
            raise ValueError("pattern 'norm' matches no parameter: the model has no normalisation layer with weights")
        return list(norms)
    elif pattern.startswith("last:"):
        count, _ = _numbers(pattern)
        if count > len(trunk):
            raise checks.invalid("pattern", f"count at most the {len(trunk)} rows before the head", pattern)
        chosen = [*trunk[len(trunk) - count :], *_present(head, pattern)]
    elif pattern.startswith("depth:"):
        low, high = _numbers(pattern)
        if low >= len(rows) or (high or 0) >= len(rows):
            raise checks.invalid("pattern", f"lie within the depths 0 to {len(rows) - 1}", pattern)
        chosen = list(rows[low : None if high is None else high + 1])
    elif pattern == "head":
        chosen = _present(head, pattern)
    else:
        return select(pattern, [name for row in rows for name in row.parameters])
    return [name for row in chosen for name in row.parameters]


def _present(head: list[LayerRow], pattern: str) -> list[LayerRow]:
    if not head:
        raise ValueError(
            f"pattern {pattern!r} needs the output layer, which was not found; "
            "name it once with find_head(model, head=...)"
        )
    return head
