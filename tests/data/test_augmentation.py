"""Augmentation: torchvision's distribution, one seed a sample, exact mixing."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from scipy.stats import ks_2samp
from torchvision.transforms import v2

from hone.data import Preprocessing
from hone.data.augmentation import AREA, ASPECT, Augmentation, Mixing, random_box

from .conftest import photo

SMALL = Preprocessing(image_size=16)


@pytest.mark.parametrize(("height", "width"), [(184, 276), (300, 60)])
def test_boxes_are_distributed_as_torchvisions(height: int, width: int) -> None:
    torch.manual_seed(0)
    generator = random.Random(0)
    image = torch.zeros(3, height, width)
    transform = v2.RandomResizedCrop(8, scale=AREA["light"], ratio=ASPECT)
    theirs = [
        tuple(transform.make_params([image])[key] for key in ("top", "left", "height", "width")) for _ in range(600)
    ]
    ours = [random_box(height, width, generator, AREA["light"]) for _ in range(600)]
    for place in range(4):
        test = ks_2samp([box[place] for box in ours], [box[place] for box in theirs])
        assert test.pvalue > 1e-3
    wrong = [random_box(height, width, generator, AREA["strong"]) for _ in range(600)]
    assert ks_2samp([box[2] for box in wrong], [box[2] for box in theirs]).pvalue < 1e-6


def test_a_flip_in_half_of_the_cases() -> None:
    image = torch.zeros(32, 32, 3, dtype=torch.uint8)
    image[:, 16:] = 200
    augmentation = Augmentation("light", SMALL)
    flipped = sum(
        bool(view[:, 0].float().mean() > view[:, -1].float().mean())
        for view in (augmentation(image, seed) for seed in range(600))
    )
    assert abs(flipped - 300) < 4 * np.sqrt(600 * 0.25)  # binomial(600, 1/2)


@pytest.mark.parametrize("augment", ["none", "light", "strong"])
def test_shape_type_and_seed(augment: str) -> None:
    image = torch.from_numpy(np.array(photo(1)))
    augmentation = Augmentation(augment, SMALL)
    first, again, other = (augmentation(image, seed) for seed in (1, 1, 2))
    assert first.shape == (16, 16, 3) and first.dtype == torch.uint8
    assert torch.equal(first, again)
    assert torch.equal(first, other) == (augment == "none")


def test_an_own_transform_must_give_the_models_size() -> None:
    with pytest.raises(ValueError, match=r"augment must return uint8 of shape \(3, 16, 16\)"):
        Augmentation(lambda image: image, SMALL)(torch.zeros(20, 20, 3, dtype=torch.uint8), 0)


@pytest.mark.parametrize("kind", [0, 1])
def test_mixing_equals_the_papers_equation(kind: int) -> None:
    torch.manual_seed(3)
    images, labels = torch.rand(5, 3, 16, 16), torch.tensor([0, 1, 2, 0, 1])
    mixing = Mixing(3, seed=0)
    mixing.kinds = [mixing.kinds[kind]] * 2
    one_hot = torch.eye(3)[labels]
    for attempt in range(10):
        mixed, target = mixing(images.clone(), labels, attempt)
        share = float(target[0, labels[1]])
        assert torch.allclose(target, share * one_hot[1:] + (1 - share) * one_hot[:-1], atol=1e-6)
        if kind == 0:
            assert torch.allclose(mixed, share * images[1:] + (1 - share) * images[:-1], atol=1e-6)
        else:
            pasted = mixed != images[1:]
            assert torch.equal(mixed[pasted], images[:-1][pasted])
            assert abs(float(pasted.float().mean()) - (1 - share)) < 1e-6


def test_mixing_of_several_labels() -> None:
    targets = torch.tensor([[1.0, 0, 1], [0, 1, 1]])
    _, target = Mixing(None, seed=0)(torch.rand(2, 3, 8, 8), targets, attempt=1)
    assert target.shape == (1, 3) and float(target[0, 2]) == pytest.approx(1)


def test_both_kinds_of_mixing_occur() -> None:
    images, labels = torch.rand(2, 3, 16, 16), torch.tensor([0, 1])
    mixing = Mixing(2, seed=0)
    pasted = [
        bool(((mixed := mixing(images, labels, k)[0]) == images[1:]).any() and (mixed == images[:1]).any())
        for k in range(60)
    ]
    assert 10 < sum(pasted) < 50
