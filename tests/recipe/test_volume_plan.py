"""What a recipe for volumes leaves open, and the distance of surfaces against scipy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage

from hone.data.volumes import Case, VolumeExamples
from hone.data.volumes.facts import ChannelFacts, ImageFacts
from hone.data.volumes.scan import CaseFacts
from hone.recipe.kinds.volume_details import surface_scores
from hone.recipe.kinds.volume_plan import plan, read_numbers
from hone.recipe.schema import Recipe

CPU, GPU = torch.device("cpu"), torch.device("cuda")


def examples(shape: tuple[int, int, int], spacing: tuple[float, float, float], count: int = 40) -> VolumeExamples:
    channel = ChannelFacts(100, 0, 0.0, 1.0, 0.5, 0.2, 0.0, 0.5, 0.2)
    facts = CaseFacts((ImageFacts(shape, spacing, ((1.0,),), (channel, channel)),), None)
    names = [f"{k}.nii" for k in range(count)]
    targets = torch.ones(count, 3, dtype=torch.int64)
    cases = [Case((name,)) for name in names]
    return VolumeExamples(names, targets, ["b", "x", "y"], "segment-volume", None, cases, [facts] * count)


def planned(device: torch.device, data: VolumeExamples, **stated: Any) -> Recipe:
    return plan(Recipe(data="d", **stated), data, device)


def test_small_volumes_are_seen_whole() -> None:
    recipe = planned(CPU, examples((35, 50, 36), (1.0, 1.0, 1.0)))
    assert (recipe.patch_size, recipe.spacing) == ("40x56x40", "1x1x1")
    assert recipe.model.name == "monai:UNet" and recipe.model.options["in_channels"] == 2
    assert recipe.model.options["strides"] == [[2, 2, 2]] * 3
    assert recipe.augment == "light" and recipe.updates and recipe.epochs is None
    assert recipe.eval_every and recipe.updates / recipe.eval_every <= 13


def test_large_and_uneven_volumes_are_cut_where_they_are_longest() -> None:
    data = examples((512, 512, 90), (0.8, 0.8, 3.0))
    for device, most in ((CPU, 48**3), (GPU, 128**3)):
        recipe = planned(device, data)
        sides = read_numbers("patch_size", recipe.patch_size)
        assert 0.5 * most < np.prod(sides) <= most
        mm = np.array(sides) * (0.8, 0.8, 3.0)
        assert mm.max() / mm.min() < 2
        strides = np.prod(recipe.model.options["strides"], axis=0)
        assert (np.array(sides) % strides == 0).all() and strides[2] < strides[0]


def test_what_is_stated_stays() -> None:
    options = {"name": "monai:SegResNet", "init_filters": 8}
    recipe = planned(CPU, examples((35, 50, 36), (1, 1, 1)), model=options, patch_size="32", spacing="2x2x2", epochs=3)
    assert recipe.model.options == {"spatial_dims": 3, "in_channels": 2, "out_channels": 3, "init_filters": 8}
    assert (recipe.patch_size, recipe.spacing, recipe.updates) == ("32x32x32", "2x2x2", 60)
    assert planned(CPU, examples((35, 50, 36), (1, 1, 1)), spacing="own").spacing == "own"


@pytest.mark.parametrize("text", ["1x2", "axb", "0", "-1x1x1", ""])
def test_numbers_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="spacing must be three numbers above 0"):
        read_numbers("spacing", text)


def shares_by_scipy(one: np.ndarray, other: np.ndarray, tolerance: float, spacing: tuple[float, ...]) -> float:
    """By distance transforms of the voxels that erosion takes away."""
    edges = [mask ^ ndimage.binary_erosion(mask) for mask in (one, other)]
    distances = [ndimage.distance_transform_edt(~edge, sampling=spacing) for edge in edges]
    near = sum(int((distances[1 - k][edges[k]] <= tolerance).sum()) for k in (0, 1))
    return near / sum(int(edge.sum()) for edge in edges)


@pytest.mark.parametrize("tolerance", [0.5, 1.0, 2.5])
def test_surfaces_are_scipys(tolerance: float) -> None:
    chance = np.random.default_rng(0)
    blobs = [ndimage.gaussian_filter(chance.normal(size=(20, 18, 16)), 2) for _ in range(2)]
    blobs[1] = 0.7 * blobs[0] + 0.3 * blobs[1]
    truth, guess = ((blob > 0.03).astype(int) + (blob > 0.12) for blob in blobs)
    spacing = (1.0, 1.5, 2.0)
    found = surface_scores(torch.from_numpy(guess), torch.from_numpy(truth), 4, tolerance, spacing)
    expected = [shares_by_scipy(guess == k, truth == k, tolerance, spacing) for k in (1, 2)]
    assert found[:2].tolist() == pytest.approx(expected, abs=1e-6) and found[2].isnan()


def test_a_surface_that_is_missing_scores_nothing() -> None:
    cube = torch.zeros(8, 8, 8, dtype=torch.int64)
    cube[2:5, 2:5, 2:5] = 1
    assert surface_scores(cube, torch.zeros_like(cube), 2, 1.0, (1, 1, 1)).tolist() == [0.0]
    assert surface_scores(cube, cube, 2, 1.0, (1, 1, 1)).tolist() == [1.0]
