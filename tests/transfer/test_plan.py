"""Freeze plans on strings: which names train at which update."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hone.transfer import FreezePlan, LayerRow

BLOCKS = 4
ROWS = (
    LayerRow("stem", 0, ("stem.conv.weight", "stem.bn.weight", "stem.bn.bias")),
    *(LayerRow(f"blocks.{n}", n + 1, (f"blocks.{n}.conv.weight", f"blocks.{n}.bn.weight")) for n in range(BLOCKS)),
    LayerRow("blocks.10", BLOCKS + 1, ("blocks.10.conv.weight",)),
    LayerRow("fc", BLOCKS + 2, ("fc.weight", "fc.bias"), is_head=True),
)
NAMES = [name for row in ROWS for name in row.parameters]
NORMS = [name for name in NAMES if ".bn." in name]

#: patterns -> how the names that train are told without the plan
SELECTED: dict[tuple[str, ...], Any] = {
    ("all",): lambda name: True,
    ("head",): lambda name: name.startswith("fc."),
    ("last:0",): lambda name: name.startswith("fc."),
    ("last:1",): lambda name: name.startswith(("fc.", "blocks.10.")),
    ("last:2",): lambda name: name.startswith(("fc.", "blocks.10.", "blocks.3.")),
    ("last:6",): lambda name: True,
    ("depth:0",): lambda name: name.startswith("stem"),
    ("depth:0-1",): lambda name: name.startswith(("stem", "blocks.0.")),
    ("depth:5-",): lambda name: name.startswith(("blocks.10.", "fc.")),
    ("norm", "head"): lambda name: ".bn." in name or name.startswith("fc."),
    ("blocks.1",): lambda name: name.startswith("blocks.1."),
    ("blocks.1*",): lambda name: name.startswith(("blocks.1.", "blocks.10.")),
    ("*.bias",): lambda name: name.endswith("bias"),
    ("blocks.[02].*", "head"): lambda name: name.startswith(("blocks.0.", "blocks.2.", "fc.")),
    ("all", "!stem", "!norm"): lambda name: not name.startswith("stem") and ".bn." not in name,
    ("stem.conv.weight",): lambda name: name == "stem.conv.weight",
}


@pytest.mark.parametrize("patterns", SELECTED)
def test_patterns(patterns: tuple[str, ...]) -> None:
    chosen = FreezePlan(*patterns).select(ROWS, norms=NORMS)
    assert chosen == {name for name in NAMES if SELECTED[patterns](name)}


@given(st.dictionaries(st.integers(1, 50), st.sampled_from(["head", "last:1", "all", "depth:0"]), max_size=5))
def test_stages_are_a_function_of_the_update(stages: dict[int, str]) -> None:
    plan = FreezePlan("head", stages=stages)
    current, number = "head", 0
    for update in range(60):
        if update in stages:
            current, number = stages[update], number + 1
        assert plan.stage(update) == number
        assert plan.patterns(update) == (current,)
        assert plan.select(ROWS, update) == FreezePlan(current).select(ROWS)
    assert plan.boundaries == tuple(sorted(stages))


def test_a_plan_is_a_value() -> None:
    plan = FreezePlan("head", stages={5: ["last:1", "norm"], 3: "all"}, norm="frozen")
    assert eval(repr(plan)) == plan and hash(eval(repr(plan))) == hash(plan)
    assert plan != FreezePlan("head") and plan != "head"
    assert repr(FreezePlan("head")) == "FreezePlan('head')"
    assert FreezePlan(*["head", "norm"]) == FreezePlan("head", "norm")


#: a plan that can't be made -> what the error says
MALFORMED: list[tuple[tuple[Any, ...], dict[str, Any], str]] = [
    ((), {}, "at least one pattern"),
    (("",), {}, "must name what trains, got ''"),
    (("!head",), {}, 'begin with "all"'),
    (("last:",), {}, 'look like "last:2"'),
    (("last:two",), {}, 'look like "last:2"'),
    (("last:1-2",), {}, 'look like "last:2"'),
    (("last:-1",), {}, 'look like "last:2"'),
    (("depth:3-1",), {}, "rising order"),
    ((3,), {}, "pattern must be a string, got 3"),
    (("head",), {"stages": {0: "all"}}, "stage's update must be a whole number at least 1, got 0"),
    (("head",), {"stages": {1.5: "all"}}, "whole number"),
    (("head",), {"stages": {5: []}}, "at least one pattern"),
    (("head",), {"norm": "frozn"}, "did you mean frozen"),
]


@pytest.mark.parametrize(("patterns", "options", "message"), MALFORMED)
def test_malformed_plans(patterns: tuple[Any, ...], options: dict[str, Any], message: str) -> None:
    with pytest.raises((ValueError, TypeError), match=message):
        FreezePlan(*patterns, **options)


#: a pattern that names nothing here -> what the error says
NOTHING = {
    "last:99": "count at most the 6 rows before the head, got 'last:99'",
    "depth:9": "lie within the depths 0 to 6",
    "depth:2-9": "lie within the depths 0 to 6",
    "decoder.*": r"'decoder.\*' matches no parameter; the outermost names are stem, blocks, fc",
    "block.1": r"did you mean blocks.1",
    "norm": "no normalisation layer",
}


@pytest.mark.parametrize("pattern", NOTHING)
def test_patterns_that_name_nothing(pattern: str) -> None:
    with pytest.raises(ValueError, match=NOTHING[pattern]):
        FreezePlan(pattern).select(ROWS)


def test_a_plan_that_trains_nothing() -> None:
    with pytest.raises(ValueError, match="must leave something to train at update 3, got FreezePlan"):
        FreezePlan("all", stages={3: ["head", "!fc"]}).select(ROWS, 3)


def test_a_head_that_is_not_there() -> None:
    for pattern in ("head", "last:1"):
        with pytest.raises(ValueError, match=r"needs the output layer.* find_head\(model, head="):
            FreezePlan(pattern).select(ROWS[:-1])
