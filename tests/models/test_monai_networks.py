"""MONAI's networks by name: arguments that suit the data, and none that the user stated changed."""

from __future__ import annotations

import importlib.util
import itertools

import pytest
import torch

from hone.models import build_model, find_model
from hone.models.monai_networks import build_monai, monai_names, monai_options, side_multiples, strides_for


@pytest.mark.parametrize("name", ["UNet", "DynUNet", "SegResNet", "AttentionUnet", "BasicUNet"])
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.8, 0.8, 3.0)])
def test_what_goes_in_comes_out(name: str, spacing: tuple[float, float, float]) -> None:
    options = monai_options(name, channels=2, classes=3, sides=(20, 24, 9), spacing=spacing)
    model = build_model(find_model(f"monai:{name}"), pretrained=False, options=options).eval()
    sides = [-(-side // by) * by for side, by in zip((20, 24, 9), side_multiples(name, options), strict=True)]
    with torch.no_grad():
        assert model(torch.zeros(1, 2, *sides)).shape == (1, 3, *sides)


@pytest.mark.parametrize("name", ["resnet10", "SEResNet50", "DenseNet121"])
def test_classifiers(name: str) -> None:
    options = monai_options(name, channels=2, classes=3, sides=(64, 64, 64))
    with torch.no_grad():
        assert build_monai(name, options).eval()(torch.zeros(2, 2, 64, 64, 64)).shape == (2, 3)


def test_what_is_stated_stays() -> None:
    stated = {"channels": [8, 16], "strides": [2], "norm": "BATCH"}
    options = monai_options("UNet", channels=1, classes=2, sides=(32, 32, 32), stated=stated)
    assert {key: options[key] for key in stated} == stated and options["in_channels"] == 1
    assert side_multiples("UNet", options) == (2, 2, 2)
    assert build_monai("UNet", {}).out_channels == 2, "a name alone builds something to look at"


def test_axes_are_halved_while_something_is_left_the_fine_ones_first() -> None:
    for sides in itertools.product((8, 17, 40, 100), repeat=3):
        for spacing in ((1.0, 1.0, 1.0), (1.0, 1.0, 4.0)):
            strides = strides_for(sides, spacing)
            ends = [side // 2 ** sum(level[axis] == 2 for level in strides) for axis, side in enumerate(sides)]
            assert min(ends) >= 4 and len(strides) <= 5 and all(2 in level for level in strides)
    assert strides_for((64, 64, 64), (1.0, 1.0, 4.0))[:2] == [[2, 2, 1], [2, 2, 2]]
    assert strides_for((4, 4, 4), (1.0, 1.0, 1.0)) == [[2, 2, 2]]


def test_names_that_are_none() -> None:
    assert {"UNet", "SwinUNETR", "resnet18"} <= set(monai_names()) and "Unet" not in monai_names()
    with pytest.raises(ValueError, match="did you mean UNet"):
        find_model("monai:Unet")
    with pytest.raises(ValueError, match="does not take these options"):
        build_model(find_model("monai:UNet"), pretrained=False, options={"chanels": [4]})


def test_a_package_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    found = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "einops" else found(name, *rest)
    )
    with pytest.raises(ValueError, match="monai:SwinUNETR needs einops, which is not installed: pip install einops"):
        build_monai("SwinUNETR", {})
