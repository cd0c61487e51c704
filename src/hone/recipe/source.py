"""The source model: built by name, given its weights, and its output layer replaced by one of the target's size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hone.data import Preprocessing
from hone.models import ModelName, build_model, find_model, input_preprocessing, takes_one_size
from hone.recipe.component import Component
from hone.recipe.folder import Run, open_run
from hone.recipe.schema import Recipe
from hone.transfer import Audit, copy_weights, read_weights, replace_head


@dataclass(frozen=True)
class Target:
    """The model that will be trained.

    Attributes:
        model: with its new output layer.
        name: what it was built from.
        preprocessing: its library's, at the library's size.
        one_size: whether it takes that size only.
        origin: where its weights came from, for people; empty if they are random.
        audit: what became of each tensor; None for random weights.
    """

    model: nn.Module
    name: ModelName
    preprocessing: Preprocessing
    one_size: bool
    origin: str
    audit: Audit | None


def build_target(recipe: Recipe, outputs: int) -> Target:
    """Source model, its weights, new output layer: the first three of the four steps of transfer.

    Args:
        recipe: says the model and where its weights come from.
        outputs: size of the new output layer.

    Raises:
        ValueError: no such model, weights that can't be had or don't fit.
    """
    if recipe.model.given is not None and isinstance(recipe.model.given, nn.Module):
        return _given(recipe, outputs)
    source = open_run(recipe.source) if recipe.source is not None else None
    component = source.recipe.model if source is not None else recipe.model
    name = find_model(str(component.name))
    origin, state = _source_weights(recipe, name, component, source)
    torch.manual_seed(recipe.seed)
    model = build_model(name, pretrained=False, options=component.options)
    replace_head(model, outputs, seed=recipe.seed)
    audit = copy_weights(model, state, skip=("head",)) if state is not None else None
    preprocessing = source.preprocessing if source is not None else input_preprocessing(name, model)
    return Target(model, name, preprocessing, takes_one_size(name, model), origin, audit)


def _source_weights(
    recipe: Recipe, name: ModelName, component: Component, source: Run | None
) -> tuple[str, dict[str, Tensor] | None]:
    """Where the weights come from, and the weights; none for a model that is to start from random ones."""
    if source is not None:
        return str(source.path), source.weights()
    if recipe.weights is not None:
        return recipe.weights, read_weights(Path(recipe.weights))
    if recipe.pretrained and name.library in ("timm", "torchvision"):
        state = build_model(name, pretrained=True, options=component.options).state_dict()
        return f"of {name.library}", state
    return "", None


def _given(recipe: Recipe, outputs: int) -> Target:
    """A module handed over from Python keeps its weights and gets a new output layer."""
    model = recipe.model.given
    replace_head(model, outputs, seed=recipe.seed)
    name = ModelName(*str(recipe.model.name).split(":", 1))
    return Target(model, name, Preprocessing(), False, "the model that was handed over", None)
