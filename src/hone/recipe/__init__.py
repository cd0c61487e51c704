"""The recipe: what a run is to do, resolved, built and carried out."""

from hone.recipe.folder import Loaded, Run, load, open_run
from hone.recipe.schema import Recipe, recipe_from

__all__ = ["Loaded", "Recipe", "Run", "load", "open_run", "recipe_from"]
