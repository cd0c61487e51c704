"""How long a run is where nothing says it."""

from __future__ import annotations

import pytest
import torch

from hone.data import Examples, Splits
from hone.recipe.kinds import clips
from hone.recipe.schema import Recipe


@pytest.mark.parametrize(("count", "epochs"), [(20, 10), (120, 5), (200, 3), (5_000, 3)])
def test_on_a_processor_a_run_sees_about_600_clips(count: int, epochs: int) -> None:
    examples = Examples(["clip"] * count, torch.zeros(count, dtype=torch.int64), ["calm"])
    splits = Splits(examples, examples.take([]), examples.take([]))
    recipe, cpu = Recipe(data="clips", task="classify-video"), torch.device("cpu")
    assert clips.prefer(recipe, splits, cpu).epochs == epochs
    assert clips.prefer(recipe, splits, torch.device("cuda")).epochs is None
    assert clips.prefer(Recipe(data="clips", task="classify-video", epochs=7), splits, cpu).epochs == 7
    assert clips.prefer(Recipe(data="clips", task="classify-video", updates=7), splits, cpu).epochs is None
