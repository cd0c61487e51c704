"""What the batches of every kind take from the recipe and the processes."""

from __future__ import annotations

from typing import Any

from hone.recipe.schema import Recipe
from hone.training import World


def batch_options(recipe: Recipe, world: World) -> dict[str, Any]:
    """Arguments that training and evaluation batches of all kinds have in common.

    Args:
        recipe: with its batch size.
        world: the processes that share a batch.
    """
    return {
        "batch_size": int(recipe.batch_size or 1),
        "workers": recipe.workers or 0,
        "rank": world.rank,
        "world_size": world.size,
        "cache": recipe.cache,
        "device": world.device,
        "channels_last": recipe.layout != "contiguous",
    }
