"""Arguments of parts: typed by the signature they belong to, refused in one line, and the same after YAML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hone import losses
from hone.recipe import Recipe, recipe_from
from hone.recipe.component import Component
from hone.recipe.options import typed_options
from hone.recipe.resolve import resolve_loss, resolve_optimizer
from hone.recipe.schema import read_recipe


def test_values_take_the_types_of_the_signature() -> None:
    assert typed_options("optimizer", torch.optim.Adam, {"betas": [0.5, 0.6]}, {"params"}) == {"betas": (0.5, 0.6)}
    assert typed_options("optimizer", torch.optim.Adam, {"eps": "1e-6"}, {"params"}) == {"eps": 1e-6}
    weight = typed_options("loss", nn.MultiMarginLoss, {"weight": [1, 2.5]})["weight"]
    assert torch.equal(weight, torch.tensor([1.0, 2.5]))


@pytest.mark.parametrize(
    ("kind", "given", "expected"),
    [
        (nn.MultiMarginLoss, {"weight": "many"}, "loss.weight must be a list of numbers"),
        (nn.MultiMarginLoss, {"margn": 1.0}, "margin"),
        (losses.CrossEntropyLoss, {"label_smoothing": "much"}, "label_smoothing"),
    ],
)
def test_what_does_not_fit_is_one_line(kind: Any, given: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError, match=expected) as error:
        typed_options("loss", kind, given)
    assert "\n" not in str(error.value)


def test_refused_optimizers_are_refused_under_every_name() -> None:
    for component in (Component("LBFGS"), Component("torch.optim:LBFGS"), Component.of("optimizer", torch.optim.LBFGS)):
        with pytest.raises(ValueError, match="LBFGS can't be used"):
            resolve_optimizer(component)


def test_class_weights_reach_losses_of_torch_and_of_hone() -> None:
    logits, target, weight = torch.randn(6, 3), torch.tensor([0, 1, 2, 0, 0, 1]), torch.tensor([0.5, 1.0, 2.0])
    ours = resolve_loss(Component(), "classify", weight)(logits, target)
    torch.testing.assert_close(ours, nn.functional.cross_entropy(logits, target, weight))
    theirs = resolve_loss(Component("MultiMarginLoss"), "classify", weight)(logits, target)
    torch.testing.assert_close(theirs, nn.functional.multi_margin_loss(logits, target, weight=weight))


def test_a_recipe_survives_its_file(tmp_path: Path) -> None:
    recipe = Recipe(
        data="photos", lr=3e-5, weights="w.pth", epochs=3, schedule=Component("StepLR", {"step_size": 2}),
        loss=Component("FocalLoss", {"gamma": 2.5}), cache="1GB",
    )  # fmt: skip
    (tmp_path / "recipe.yaml").write_text(recipe.to_yaml())
    assert recipe_from(read_recipe(tmp_path / "recipe.yaml")) == recipe
    assert recipe_from({**read_recipe(tmp_path / "recipe.yaml"), "lr": 1.0}) != recipe
