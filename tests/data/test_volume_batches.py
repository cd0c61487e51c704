"""Patches: a function of seed, attempt and place; where they stand; what chance does to them; what is kept on disk."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch

from hone.data.volumes import (
    PreparedVolumes,
    VolumeBatches,
    VolumeExamples,
    VolumePreprocessing,
    WholeVolumes,
    preparing,
    read_volumes,
)
from hone.data.volumes.augmentation import RANGES, VolumeAugmentation, random_matrix
from hone.data.volumes.patches import choose_center, read_middle, read_patch, read_transformed
from hone.data.volumes.preparing import Prepared
from hone.data.volumes.preprocessing import ChannelNormalization, normalizations, plan_patches, plan_whole

from .made_volumes import ball, save, split_folders

PREPROCESSING = VolumePreprocessing((12, 12, 12), (1.0, 1.0, 1.0), (ChannelNormalization("MRI"),))


@pytest.fixture
def examples(tmp_path: Path) -> VolumeExamples:
    found = read_volumes(split_folders(tmp_path / "data")).train
    assert isinstance(found, VolumeExamples)
    return found


def first(batches: VolumeBatches, attempt: int = 0, count: int = 4) -> list[tuple[torch.Tensor, torch.Tensor]]:
    return list(islice(batches.batches(attempt), count))


def same(one: list[tuple[torch.Tensor, torch.Tensor]], other: list[tuple[torch.Tensor, torch.Tensor]]) -> bool:
    return all(torch.equal(a, b) for pair in zip(one, other, strict=True) for a, b in zip(*pair, strict=True))


def case_of(shape: tuple[int, int, int], seed: int = 0) -> Prepared:
    image, label = ball(shape, seed)
    return Prepared(image[None].astype(np.float16), label, preparing.class_places(label, 2))


@pytest.mark.parametrize("augment", ["none", "light", "strong"])
def test_batches_are_a_function_of_seed_attempt_and_place(examples: VolumeExamples, augment: str) -> None:
    def made(**options: object) -> VolumeBatches:
        settings = {"batch_size": 2, "accumulate": 2, "augment": augment} | options
        return VolumeBatches(examples, PREPROCESSING, **settings)  # type: ignore[arg-type]

    whole = first(made(), count=8)
    assert whole[0][0].shape == (2, 1, 12, 12, 12) and whole[0][0].dtype == torch.float32
    assert whole[0][1].shape == (2, 12, 12, 12) and whole[0][1].dtype == torch.int64
    assert same(whole[4:], first(made(), attempt=2)), "from any attempt on"
    assert same(whole, first(made(cache=0), count=8)), "with or without the cache"
    joined = [(torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]])) for a, b in zip(whole[::2], whole[1::2], strict=True)]
    assert same(joined, first(made(batch_size=4, accumulate=1))), "however it is accumulated"
    ranks = [first(made(rank=rank, world_size=2), count=8) for rank in (0, 1)]
    assert same(whole, [(torch.cat([a[0], b[0]]), torch.cat([a[1], b[1]])) for a, b in zip(*ranks, strict=True)])
    assert not same(whole[:1], first(made(seed=1), count=1))


def test_workers_change_nothing(examples: VolumeExamples) -> None:
    here = first(VolumeBatches(examples, PREPROCESSING, batch_size=2))
    batches = VolumeBatches(examples, PREPROCESSING, batch_size=2, workers=2)
    assert same(here, first(batches))
    batches.close()


def test_the_default_generators_are_left_alone(examples: VolumeExamples) -> None:
    before = torch.random.get_rng_state()
    first(VolumeBatches(examples, PREPROCESSING, batch_size=2, augment="strong"))
    assert torch.equal(before, torch.random.get_rng_state())


def test_every_volume_once_over_all_processes(examples: VolumeExamples) -> None:
    seen = [
        (int(index), tuple(inputs.shape[2:]))
        for rank in (0, 1, 2)
        for inputs, target, index in WholeVolumes(examples, PREPROCESSING, rank=rank, world_size=3)
        if inputs.shape[2:] == target.shape[1:]
    ]
    assert sorted(seen) == [(row, shape) for row, shape in enumerate(PreparedVolumes(examples, PREPROCESSING).shapes)]


def test_intensities_are_normalised_volume_by_volume(examples: VolumeExamples) -> None:
    for inputs, _, _ in WholeVolumes(examples, PREPROCESSING):
        assert float(inputs.mean()) == pytest.approx(0, abs=2e-3) and float(inputs.std()) == pytest.approx(1, abs=2e-3)


def test_a_third_of_the_patches_stands_on_a_class() -> None:
    """A ball of 0.02 % of the volume: chance alone would meet it once in a hundred patches."""
    label = np.zeros((60, 60, 60), dtype=np.uint8)
    label[50:53, 5:8, 30:33] = 1
    label[2, 2, 2] = 2
    case = Prepared(np.zeros((1, 60, 60, 60), np.float16), label, preparing.class_places(label, 3))
    met: Counter[int] = Counter()
    for seed in range(900):
        center = choose_center(case, (9, 8, 9), np.random.default_rng(seed))
        _, patch = read_patch(case, center, (9, 8, 9))
        assert patch is not None
        met.update(patch.unique().tolist())
    assert met[0] == 900
    # Half of the third each.
    assert 110 < met[1] < 200 and 110 < met[2] < 190


def test_every_place_is_reached_and_none_beyond() -> None:
    case = Prepared(np.zeros((1, 7, 5, 3), np.float16), None, np.zeros((0, 4), np.int32))
    starts = {
        tuple((choose_center(case, (4, 4, 4), np.random.default_rng(seed)) - 1.5).tolist()) for seed in range(200)
    }
    assert starts == {(x, y, 0.0) for x in (0.0, 1.0, 2.0, 3.0) for y in (0.0, 1.0)}


def test_what_is_smaller_than_a_patch_stands_in_its_middle() -> None:
    case = case_of((6, 12, 12))
    image, label = read_patch(case, choose_center(case, (12, 12, 12), np.random.default_rng(0)), (12, 12, 12))
    assert label is not None
    assert torch.equal(image[0, 3:9], torch.from_numpy(case.image[0].astype(np.float32)))
    assert not image[0, :3].any() and not image[0, 9:].any() and not label[:3].any()
    assert torch.equal(image, read_middle(case, (12, 12, 12)))
    assert torch.equal(read_middle(case, (4, 8, 4)), torch.from_numpy(case.image[:, 1:5, 2:10, 4:8].astype(np.float32)))


def test_turning_by_nothing_is_reading() -> None:
    case = case_of((20, 18, 16))
    center = np.array([9.0, 8.5, 7.0])
    plain = read_patch(case, center, (11, 10, 9))
    turned = read_transformed(case, center, (11, 10, 9), np.eye(3))
    torch.testing.assert_close(turned[0], plain[0], atol=2e-3, rtol=0)
    assert turned[1] is not None and plain[1] is not None and torch.equal(turned[1], plain[1])


def test_a_quarter_turn_is_numpys() -> None:
    case = case_of((15, 15, 15))
    quarter = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    image, label = read_transformed(case, np.full(3, 7.0), (15, 15, 15), quarter)
    assert label is not None
    np.testing.assert_allclose(image[0].numpy(), np.rot90(case.image[0].astype(np.float32), -1), atol=2e-3)
    assert np.array_equal(label.numpy(), np.rot90(case.label, -1))


def test_a_turn_keeps_lengths_in_mm() -> None:
    spacing = np.array([1.0, 0.5, 3.0])
    for seed in range(20):
        matrix = random_matrix(RANGES["strong"], spacing, np.random.default_rng(seed))
        in_mm = np.diag(spacing) @ matrix @ np.diag(1 / spacing)
        scale = np.cbrt(np.linalg.det(in_mm))
        assert in_mm @ in_mm.T == pytest.approx(scale**2 * np.eye(3), abs=1e-9)
        assert 1 / 1.3 <= scale <= 1.3


def test_labels_move_with_their_image() -> None:
    """The image is its own label map, so whatever is done to the one must be done to the other."""
    _, label = ball((30, 30, 30), 0, 8)
    case = Prepared(label[None].astype(np.float16), label, preparing.class_places(label, 2))
    augmentation = VolumeAugmentation("strong", (20, 20, 20), 1.0)
    found = [augmentation(case, (1.0, 1.0, 1.0), seed) for seed in range(12)]
    for image, mask in found:
        assert mask is not None and mask.any()
        inside, outside = image[0][mask > 0], image[0][mask == 0]
        assert float(inside.median()) > float(outside.median()) + 0.4
    assert len({float(image.mean()) for image, _ in found}) == 12


def test_prepared_cases_are_kept_mapped_and_made_once(
    examples: VolumeExamples, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[str] = []
    fill = preparing.fill_image
    monkeypatch.setattr(
        "hone.data.volumes.prepared.fill_image", lambda case, *rest: (made.append(case.images[0]), fill(case, *rest))
    )
    volumes = PreparedVolumes(examples, PREPROCESSING)
    case = volumes[0]
    assert isinstance(case.image, np.memmap) and isinstance(case.label, np.memmap) and case.image.dtype == np.float16
    assert np.array_equal(PreparedVolumes(examples, PREPROCESSING)[0].image, case.image) and len(made) == 1
    other = VolumePreprocessing((12, 12, 12), (2.0, 1.0, 1.0), PREPROCESSING.channels)
    assert PreparedVolumes(examples, other)[0].image.shape[1] < case.image.shape[1] and len(made) == 2
    save(Path(examples.paths[0]), ball((18, 16, 14), 99)[0])
    PreparedVolumes(examples, PREPROCESSING)[0]
    assert len(made) == 3


def test_the_cache_is_bounded_and_never_believed_when_damaged(examples: VolumeExamples, tmp_path: Path) -> None:
    size = 3 * int(np.prod(PreparedVolumes(examples, PREPROCESSING, 0).shapes[0]))
    volumes = PreparedVolumes(examples, PREPROCESSING, 2 * size + 2000)
    assert volumes.kept.tolist() == [True, True, False, False]
    whole = [np.array(volumes[row].image) for row in range(4)]
    files = sorted(volumes.folder.glob("*.image.npy"))
    assert len(files) == 2
    for file in files:
        file.write_bytes(file.read_bytes()[:-50])
    again = PreparedVolumes(examples, PREPROCESSING, 2 * size + 2000)
    assert all(np.array_equal(again[row].image, whole[row]) for row in range(4))


def test_ct_is_clipped_and_scaled_by_the_labelled_voxels(tmp_path: Path) -> None:
    values = []
    for k in range(3):
        image, label = ball((14, 14, 14), k)
        hounsfield = np.where(label > 0, 60 + 20 * image, -1000).astype(np.int16)
        values.append(hounsfield[label > 0])
        save(tmp_path / "images" / f"{k}.nii.gz", hounsfield)
        save(tmp_path / "labels" / f"{k}.nii.gz", label)
    train = read_volumes(tmp_path, val_fraction=0.0).train
    assert isinstance(train, VolumeExamples)
    (channel,) = normalizations(train)
    pooled = np.concatenate(values).astype(float)
    assert channel.method == "ct" and channel.name == "CT"
    assert (channel.low, channel.high) == pytest.approx(np.percentile(pooled, (0.5, 99.5)), abs=2)
    assert channel.mean == pytest.approx(pooled.mean(), abs=1) and channel.std == pytest.approx(pooled.std(), abs=1)
    scaled = channel(torch.tensor([-1000.0, channel.mean]), None)
    assert scaled.tolist() == pytest.approx([(channel.low - channel.mean) / channel.std, 0.0])


def test_what_was_cut_away_stays_zero(tmp_path: Path) -> None:
    for k in range(2):
        image, label = ball((14, 14, 14), k)
        image[:7] = 0
        save(tmp_path / "images" / f"{k}.nii.gz", image + np.where(image == 0, 0, 50))
        save(tmp_path / "labels" / f"{k}.nii.gz", label)
    train = read_volumes(tmp_path, val_fraction=0.0).train
    assert isinstance(train, VolumeExamples)
    (channel,) = normalizations(train)
    assert channel.method == "zscore_nonzero"
    image = PreparedVolumes(train, VolumePreprocessing((8, 8, 8), None, (channel,)))[0].image[0]
    assert not image[:7].any() and float(image[7:].astype(np.float64).mean()) == pytest.approx(0, abs=2e-3)


def test_patches_are_planned_from_the_data(examples: VolumeExamples) -> None:
    assert plan_patches(examples, voxels=10**6) == ((24, 16, 16), (1.0, 1.0, 1.0))
    sides, _ = plan_patches(examples, voxels=3000)
    assert np.prod(sides) <= 3000 and max(sides) == 16
    assert plan_patches(examples, voxels=10**6, spacing=(0.5, 1.0, 1.0))[0] == (40, 16, 16)
    size, spacing = plan_whole(examples, voxels=18 * 16 * 14 // 8)
    assert spacing == pytest.approx((spacing[0],) * 3) and spacing[0] > 2
    assert all(n * mm >= extent for n, mm, extent in zip(size, spacing, (20, 16, 14), strict=True))


def test_classes_named_after_sides_are_not_mirrored(examples: VolumeExamples) -> None:
    def inputs(hflip: bool | None, *names: str) -> torch.Tensor:
        named = replace(examples, classes=[*examples.classes[: len(examples.classes) - len(names)], *names])
        batches = VolumeBatches(named, PREPROCESSING, batch_size=2, cache=0, augment="strong", hflip=hflip)
        return torch.cat([found for found, _ in first(batches)])

    plain, mirrored = inputs(False), inputs(True)
    assert not torch.equal(plain, mirrored)
    assert torch.equal(inputs(None), mirrored) and torch.equal(inputs(None, "left kidney"), plain)
