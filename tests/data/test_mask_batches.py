"""Crops and whole images: the mask goes with its image, and batches are a function of the attempt alone."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from hone.data.masks import MaskBatches, MaskedImages, MaskExamples, MaskPreprocessing, WholeImages, read_masks
from hone.data.masks.augmentation import AUGMENTS, MaskAugmentation, Strength

from .made_masks import mask_data

SIZES = ((40, 48), (20, 90), (64, 64))
PLAIN = MaskPreprocessing(image_size=32)


@pytest.fixture(scope="module")
def train(tmp_path_factory: pytest.TempPathFactory) -> MaskExamples:
    found = read_masks(mask_data(tmp_path_factory.mktemp("masks"), sizes=SIZES)).train
    assert isinstance(found, MaskExamples)
    return found


def some(batches: MaskBatches, attempt: int, count: int) -> list[tuple[Tensor, Tensor]]:
    found = list(islice(batches.batches(attempt), count))
    batches.close()
    return found


def batches(train: MaskExamples, **options: object) -> MaskBatches:
    return MaskBatches(train, PLAIN, **{"batch_size": 4, "cache": 0, **options})  # type: ignore[arg-type]


# The mask goes with its image


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("side", [16, 32, 96])
def test_every_pixel_keeps_its_class(augment: str, side: int) -> None:
    """An image that shows its own mask: after any augmentation it must still show it, but for what is interpolated."""
    mask = torch.zeros(48, 56, 1, dtype=torch.uint8)
    mask[10:30, 5:40] = 1
    mask[20:44, 30:50] = 2
    pair = torch.cat([mask * 100, mask * 100, mask * 100, mask], dim=2)
    augmentation = MaskAugmentation(augment, side, (0.0, 0.0, 0.0))
    shown = set()
    for seed in range(30):
        crop = augmentation(pair, seed).int()
        assert crop.shape == (side, side, 4)
        classes = crop[..., 3]
        shown |= set(classes.unique().tolist())
        # The colour of a class's inside, whatever light and contrast did to it, is one colour.
        for value in (0, 1, 2):
            inside = (classes == value)[1:-1, 1:-1]
            for rows in (slice(0, -2), slice(2, None)):
                for columns in (slice(0, -2), slice(2, None)):
                    inside = inside & (classes[rows, columns] == value)
            if inside.any():
                colours = crop[1:-1, 1:-1, :3][inside].float()
                assert colours.std(0, correction=0).max() < 12, (seed, value)
    assert {0, 1, 2} <= shown


@pytest.mark.parametrize("augment", ["light", "strong"])
@pytest.mark.parametrize("levels", [(4, 16, 30), (215, 230, 240)])
def test_a_dark_or_pale_image_keeps_what_it_shows(augment: str, levels: tuple[int, int, int]) -> None:
    """Micrographs and X-rays use a small part of the range: their classes must stay apart there."""
    mask = torch.zeros(32, 32, 1, dtype=torch.uint8)
    mask[8:24, 8:24], mask[12:20, 12:20] = 1, 2
    image = torch.tensor(levels, dtype=torch.uint8)[mask.long()].expand(32, 32, 3)
    augmentation = MaskAugmentation(Strength(**{**vars(AUGMENTS[augment]), "scale": (1.0, 1.0)}), 32, (0.0, 0.0, 0.0))
    for seed in range(50):
        crop = augmentation(torch.cat([image, mask], dim=2), seed).float()
        means = [crop[..., :3][crop[..., 3] == value].mean() for value in (0, 1, 2)]
        assert means[0] < means[1] - 2 and means[1] < means[2] - 2, seed


def test_what_is_around_a_small_image_counts_nowhere() -> None:
    augmentation = MaskAugmentation("none", 32, (0.2, 0.4, 0.6))
    pair = torch.full((10, 12, 4), 7, dtype=torch.uint8)
    places = set()
    for seed in range(20):
        crop = augmentation(pair, seed)
        inside = crop[..., 3] == 7
        assert int(inside.sum()) == 120 and set(crop[..., 3].unique().tolist()) == {7, 255}
        assert crop[~inside][0].tolist() == [51, 102, 153, 255]
        places.add(tuple(inside.nonzero()[0].tolist()))
    assert len(places) > 5


def test_turns_are_for_strong_alone() -> None:
    pair = torch.zeros(32, 32, 4, dtype=torch.uint8)
    pair[0, 0, 3], pair[0, 5, 3] = 1, 2  # one above and to the left of the other
    seen = {}
    for augment in ("none", "light", "strong"):
        unscaled = replace(AUGMENTS[augment], scale=(1.0, 1.0))
        augmentation = MaskAugmentation(unscaled, 32, (0.5, 0.5, 0.5))
        views = [augmentation(pair, seed)[..., 3] for seed in range(60)]
        seen[augment] = len({tuple(view.flatten().tolist()) for view in views})
        one_way = MaskAugmentation(unscaled, 32, (0.5, 0.5, 0.5), hflip=False)
        assert all(torch.equal(one_way(pair, seed)[..., 3], pair[..., 3]) for seed in range(20))
    assert seen == {"none": 1, "light": 2, "strong": 8}


def test_classes_named_after_sides_are_not_mirrored(train: MaskExamples) -> None:
    def images(hflip: bool | None, *names: str) -> Tensor:
        named = replace(train, classes=[*names, *train.classes[len(names) :]])
        return torch.cat([inputs for inputs, _ in some(batches(named, augment="strong", hflip=hflip), 0, 4)])

    plain, mirrored = images(False), images(True)
    assert not torch.equal(plain, mirrored)
    assert torch.equal(images(None), mirrored) and torch.equal(images(None, "left ear", "right ear"), plain)


def test_crops_look_for_rare_classes() -> None:
    pair = torch.zeros(400, 400, 4, dtype=torch.uint8)
    pair[390:393, 3:6, 3] = 1
    augmentation = MaskAugmentation("none", 32, (0.5, 0.5, 0.5))
    hits = sum(bool((augmentation(pair, seed)[..., 3] == 1).any()) for seed in range(200))
    assert 15 < hits < 60  # a sixth of the crops are aimed at it; by chance alone hardly one holds it


# A function of the attempt


@pytest.mark.parametrize("workers", [0, 2])
def test_batches_follow_from_the_attempt(train: MaskExamples, workers: int) -> None:
    whole = some(batches(train), 0, 6)
    later = some(batches(train, workers=workers), 3, 3)
    for (inputs, target), (again, same) in zip(whole[3:], later, strict=True):
        assert torch.equal(inputs, again) and torch.equal(target, same)
    assert not torch.equal(whole[0][0], whole[1][0])
    assert not torch.equal(whole[0][0], some(batches(train, seed=1), 0, 1)[0][0])


def test_shares_of_two_processes_are_the_batch_of_one(train: MaskExamples) -> None:
    alone = some(batches(train, accumulate=2), 1, 2)
    shares = [some(batches(train, accumulate=2, rank=rank, world_size=2), 1, 2) for rank in (0, 1)]
    for place, (inputs, target) in enumerate(alone):
        assert torch.equal(torch.cat([share[place][0] for share in shares]), inputs)
        assert torch.equal(torch.cat([share[place][1] for share in shares]), target)


def test_the_default_generators_are_left_alone(train: MaskExamples) -> None:
    before = torch.random.get_rng_state()
    some(batches(train, augment="strong"), 0, 2)
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_cache_changes_no_pixel(train: MaskExamples) -> None:
    plain, kept = (some(batches(train, cache=cache), 0, 3) for cache in (0, "1MB"))
    again = some(batches(train, cache="1MB"), 0, 3)
    for found in (kept, again):
        assert all(
            torch.equal(a, b) for one, other in zip(plain, found, strict=True) for a, b in zip(one, other, strict=True)
        )
    cached = MaskedImages(train, cache="1MB")
    assert cached.cache is not None and all(cached.cache.get(row) is not None for row in range(3))


def test_a_changed_mask_is_not_read_from_the_cache(tmp_path: Path) -> None:
    mask_data(tmp_path)

    def first() -> Tensor:
        found = read_masks(tmp_path).train
        return MaskedImages(found, cache="1MB")[0][..., 3]  # type: ignore[arg-type]

    before = first()
    mask_data(tmp_path / "other", train=2)
    (tmp_path / "other" / "train" / "masks" / "1.png").replace(tmp_path / "train" / "masks" / "0.png")
    assert not torch.equal(before, first())


def test_inputs_are_normalised_and_targets_are_classes(train: MaskExamples) -> None:
    inputs, target = some(batches(train, augment="none", channels_last=True), 0, 1)[0]
    assert inputs.shape == (4, 3, 32, 32) and inputs.dtype == torch.float32
    assert inputs.is_contiguous(memory_format=torch.channels_last)
    assert target.shape == (4, 32, 32) and target.dtype == torch.int64
    assert set(target.unique().tolist()) <= {-100, 0, 1, 2}


# Whole images


@pytest.mark.parametrize("world_size", [1, 2])
def test_each_image_once_at_its_own_size(train: MaskExamples, world_size: int) -> None:
    seen: list[int] = []
    for rank in range(world_size):
        for inputs, target, indices in WholeImages(
            train, PLAIN, batch_size=4, rank=rank, world_size=world_size, cache=0
        ):
            seen += indices.tolist()
            for place, row in enumerate(indices.tolist()):
                pair = MaskedImages(train)[row]
                mean, std = (torch.tensor(values) for values in (PLAIN.mean, PLAIN.std))
                expected = (pair[..., :3] / 255 - mean) / std
                torch.testing.assert_close(inputs[place].permute(1, 2, 0), expected, atol=1e-5, rtol=1e-5)
                assert torch.equal(target[place], pair[..., 3].long())
    assert sorted(seen) == list(range(6))


def test_bad_arguments_are_one_clear_line(train: MaskExamples) -> None:
    with pytest.raises(ValueError, match="augment 'heavy' is not known"):
        batches(train, augment="heavy")
    with pytest.raises(ValueError, match="train must hold at least one example"):
        batches(train.take([]))
    with pytest.raises(ValueError, match="image_size must be a multiple of 32 for this model, got 100"):
        MaskPreprocessing(image_size=100)
    with pytest.raises(ValueError, match="hold exactly"):
        MaskPreprocessing.from_json("{}")
    assert np.array_equal(train.joined(train).targets[6:], train.targets)
