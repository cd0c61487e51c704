"""preprocessing.json: what the model's own library says, nothing lost on the way."""

from __future__ import annotations

import json
import math

import pytest
import torch
from torchvision.models import EfficientNet_B3_Weights, MobileNet_V2_Weights, ResNet50_Weights

from hone.data import Preprocessing
from hone.data.augmentation import center_crop

from .conftest import photo


@pytest.mark.parametrize(
    "weights", [ResNet50_Weights.IMAGENET1K_V1, ResNet50_Weights.IMAGENET1K_V2, MobileNet_V2_Weights.IMAGENET1K_V2]
)
def test_torchvision_presets(weights: object) -> None:
    import numpy as np

    preset = weights.transforms()
    taken = Preprocessing.from_torchvision(preset)
    assert (taken.image_size, taken.resize) == (preset.crop_size[0], preset.resize_size[0])
    image = torch.from_numpy(np.array(photo(1, 400, 300)))
    ours = center_crop(image, taken).permute(2, 0, 1) / 255
    ours = (ours - torch.tensor(taken.mean)[:, None, None]) / torch.tensor(taken.std)[:, None, None]
    assert (ours - preset(image.permute(2, 0, 1))).abs().max() < 0.04  # two levels


def test_bicubic_presets() -> None:
    taken = Preprocessing.from_torchvision(EfficientNet_B3_Weights.DEFAULT.transforms())
    assert taken.interpolation == "bicubic" and (taken.resize, taken.image_size) == (320, 300)


@pytest.mark.parametrize("crop_pct", [0.875, 0.9, 0.95, 1.0])
@pytest.mark.parametrize("size", [160, 224, 299, 384])
def test_timm_configs(size: int, crop_pct: float) -> None:
    config = {"input_size": (3, size, size), "crop_pct": crop_pct, "mean": [0.5] * 3, "std": [0.5] * 3}
    taken = Preprocessing.from_timm(config | {"interpolation": "bicubic"})
    # timm.data.transforms_factory: scale_size = math.floor(img_size / crop_pct)
    assert taken.resize == math.floor(size / crop_pct) and taken.interpolation == "bicubic"


def test_json_both_ways() -> None:
    made = Preprocessing(
        image_size=300, crop_pct=0.95, mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3), interpolation="bicubic"
    )
    assert Preprocessing.from_json(made.to_json()) == made
    assert json.loads(made.to_json())["mean"] == [0.5, 0.4, 0.3]


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"image_size": 3}'])
def test_json_that_is_none(text: str) -> None:
    with pytest.raises(ValueError, match=r"preprocessing\.json must"):
        Preprocessing.from_json(text)


@pytest.mark.parametrize(
    "bad",
    [
        {"image_size": 0},
        {"crop_pct": 0.0},
        {"crop_pct": 1.5},
        {"mean": (0.5,)},
        {"mean": (0.5, 0.5, 125.0)},
        {"std": (0.2, 0.2, 0.0)},
        {"interpolation": "cubic"},
    ],
)
def test_bad_values(bad: dict) -> None:
    with pytest.raises(ValueError, match=next(iter(bad))):
        Preprocessing(**bad)


@pytest.mark.parametrize(("width", "height"), [(50, 400), (400, 50), (160, 160), (20, 20), (161, 183)])
def test_every_shape_gives_the_square(width: int, height: int) -> None:
    image = torch.zeros(height, width, 3, dtype=torch.uint8)
    assert center_crop(image, Preprocessing(image_size=160)).shape == (160, 160, 3)
    assert center_crop(image, Preprocessing(image_size=160, crop_pct=1.0)).shape == (160, 160, 3)
