"""The source model: built by name, given its weights, and its output layer replaced by one of the target's size."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from hone.data import Preprocessing
from hone.models import ModelName, build_model, find_model, input_preprocessing, takes_one_size
from hone.models.clips import clip_options
from hone.recipe.component import Component
from hone.recipe.folder import Run, open_run
from hone.recipe.schema import Recipe
from hone.transfer import Audit, copy_weights, read_weights, replace_head


@dataclass(frozen=True)
class Target:
    """The model that will be trained.

    Attributes:
        model: with its new output layer.
        component: what it was built from: name and options.
        name: its name, resolved.
        preprocessing: its library's, at the library's size.
        one_size: whether it takes that size only.
        origin: where its weights came from, for people; empty if they are random.
        audit: what became of each tensor; None for random weights.
    """

    model: nn.Module
    component: Component
    name: ModelName
    preprocessing: Preprocessing
    one_size: bool
    origin: str
    audit: Audit | None


def build_target(recipe: Recipe, outputs: int | None, *, with_weights: bool = True) -> Target:
    """Source model, its weights, new output layer: the first three of the four steps of transfer.

    Args:
        recipe: says the model and where its weights come from.
        outputs: size of the new output layer; None keeps the model's own.
        with_weights: False leaves random weights, for what depends on the model's shape alone: nothing is downloaded.

    Raises:
        ValueError: no such model, weights that can't be had or don't fit.
    """
    if recipe.model.given is not None and isinstance(recipe.model.given, nn.Module):
        return _given(recipe, outputs)
    source = open_run(recipe.source) if recipe.source is not None else None
    component = recipe.model if source is None else _model_of(source, recipe)
    name = find_model(str(component.name))
    origin = _origin(recipe, name)
    state = _source_weights(recipe, name, component, source) if with_weights and origin else None
    torch.manual_seed(recipe.seed)
    model = build_model(name, pretrained=False, options=component.options)
    if outputs is not None:
        replace_head(model, outputs, seed=recipe.seed)
    audit = copy_weights(model, state, skip=("head",)) if state is not None else None
    preprocessing = source.preprocessing if source is not None else input_preprocessing(name, model)
    return Target(model, component, name, preprocessing, takes_one_size(name, model), origin, audit)


def _model_of(source: Run, recipe: Recipe) -> Component:
    """The source run's model; where another one is stated too, nobody can know which is meant."""
    component = source.recipe.model
    if recipe.model not in (Recipe.model, component):
        raise ValueError(
            f"model and from both state the model ({recipe.model.name}; {component.name} of {source.path}); give one"
        )
    return component


def _origin(recipe: Recipe, name: ModelName) -> str:
    """Where the weights come from, for people; empty for a model that is to start from random ones."""
    if recipe.source is not None:
        return str(recipe.source)
    if recipe.weights is not None:
        return recipe.weights
    library = name.image.library
    return f"of {library}" if recipe.pretrained and library in ("timm", "torchvision") else ""


def _source_weights(recipe: Recipe, name: ModelName, component: Component, source: Run | None) -> dict[str, Tensor]:
    """The weights that :func:`_origin` says."""
    if source is not None:
        return source.weights()
    if recipe.weights is not None:
        return read_weights(Path(recipe.weights))
    # A network for clips takes the weights of the image network in it: what becomes of each is in the audit.
    options = clip_options(component.options)[1] if name.image != name else component.options
    return build_model(name.image, pretrained=True, options=options).state_dict()


def _given(recipe: Recipe, outputs: int | None) -> Target:
    """A module handed over from Python keeps its weights and gets a new output layer."""
    model = recipe.model.given
    if outputs is not None:
        replace_head(model, outputs, seed=recipe.seed)
    name = ModelName(*str(recipe.model.name).split(":", 1))
    return Target(model, recipe.model, name, Preprocessing(), False, "the model that was handed over", None)
