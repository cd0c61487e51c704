"""Batches of clips: which frames, the same chance for all of them, and the same run for any number of workers."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hone.data import Preprocessing
from hone.data.sides import tells_left_from_right
from hone.data.video.augmentation import ClipAugmentation, fixed_crops
from hone.data.video.batches import ClipBatches, EvalClips
from hone.data.video.clips import Clips
from hone.data.video.frame_cache import FrameCache
from hone.data.video.opening import VideoFacts
from hone.data.video.preprocessing import ClipPreprocessing
from hone.data.video.reading import read_clips
from hone.data.video.sampling import Sampling

from .made_clips import number_of, numbered

Encode = Callable[..., Path]
IMAGE = Preprocessing(image_size=32, crop_pct=1.0)


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, encode: Encode) -> Clips:
    """Six clips of two classes, of several lengths and sizes."""
    root = tmp_path_factory.mktemp("clips")
    for place in range(6):
        frames = numbered(8 + 3 * place, width=60 + 10 * place, height=40, first=100 * place)
        encode(root / ("ant", "bee")[place % 2] / f"{place}.mp4", frames, g="6")
    read: Clips = read_clips(root, val_fraction=0).train  # type: ignore[assignment]
    return read


def same(left: list[tuple[Tensor, Tensor]], right: list[tuple[Tensor, Tensor]]) -> bool:
    return all(torch.equal(a, c) and torch.equal(b, d) for (a, b), (c, d) in zip(left, right, strict=True))


def made(clips: Clips, first: int = 0, count: int = 4, **options: Any) -> Any:
    options = {"batch_size": 2, "accumulate": 2, "seed": 5, "cache": 0} | options
    batches = ClipBatches(clips, ClipPreprocessing(IMAGE, Sampling(4)), **options)
    return list(islice(batches.batches(first), count))


# Which frames


@given(st.integers(1, 40), st.integers(1, 400), st.integers(10_000, 60_000_000), st.sampled_from(["random", "uniform"]))
def test_spread_frames_lie_in_their_parts(count: int, frames: int, length: int, kind: str) -> None:
    facts = VideoFacts(64, 48, frames, 0, length)
    sampling = Sampling(count, kind)
    chosen = sampling.in_training(facts, random.Random(0))
    parts = np.arange(count + 1) * frames / count
    assert ((np.floor(parts[:-1]) <= chosen) & (chosen < np.ceil(parts[1:]))).all()
    assert (sampling.in_evaluation(facts)[0] == Sampling(count, "uniform").in_training(facts, random.Random(1))).all()


@given(
    st.integers(1, 40), st.integers(1, 400), st.floats(0.5, 60), st.integers(1, 5), st.sampled_from(["loop", "hold"])
)
def test_dense_frames_follow_each_other_at_the_rate(
    count: int, frames: int, rate: float, clips: int, short: str
) -> None:
    facts = VideoFacts(64, 48, frames, 0, frames * 40_000)  # 25 a second
    sampling = Sampling(count, "dense", rate, short, clips)
    for chosen in [*sampling.in_evaluation(facts), sampling.in_training(facts, random.Random(0))]:
        assert chosen.min() >= 0 and chosen.max() < frames
        times = (chosen + 0.5) / 25
        if (count - 1) / rate * 25 <= frames - 1:  # the clip fits
            assert np.abs(np.diff(times) - 1 / rate).max(initial=0) <= 1 / 25 + 1e-9
            assert abs(times[-1] - times[0] - (count - 1) / rate) <= 1 / 25 + 1e-9
        elif short == "hold":
            assert (np.diff(chosen) >= 0).all() and chosen[-1] == frames - 1


def test_a_short_video_is_looped_or_held() -> None:
    facts = VideoFacts(64, 48, 3, 0, 120_000)
    assert Sampling(8, "dense").in_evaluation(facts)[0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert Sampling(8, "dense", short="hold").in_evaluation(facts)[0].tolist() == [0, 1, 2, 2, 2, 2, 2, 2]
    assert Sampling(8, "uniform").in_evaluation(facts)[0].tolist() == [0, 0, 0, 1, 1, 2, 2, 2]


def test_several_clips_see_other_frames() -> None:
    facts = VideoFacts(64, 48, 60, 0, 2_400_000)
    spread = Sampling(5, "uniform", clips=3).in_evaluation(facts)
    assert spread.shape == (3, 5) and len(np.unique(spread)) == 15
    dense = Sampling(5, "dense", clips=3).in_evaluation(facts)
    assert dense[:, 0].tolist() == [0, 28, 55] and dense[-1, -1] == 59


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"frames": 0}, "frames must be a whole number at least 1"),
        ({"kind": "evenly"}, "sampling 'evenly' is not known"),
        ({"rate": 5.0}, "rate is of dense sampling"),
        ({"kind": "dense", "rate": 0.0}, "rate must be a finite number above 0"),
        ({"short": "pad"}, "short 'pad' is not known"),
        ({"clips": 0}, "clips must be"),
    ],
)
def test_sampling_that_cannot_be(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        Sampling(**options)


# The same chance for every frame


@pytest.mark.parametrize("augment", ["light", "strong"])
def test_all_frames_of_a_clip_share_their_chance(augment: str) -> None:
    frame = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (1, 40, 60, 3), dtype=np.uint8))
    augmentation = ClipAugmentation(augment, IMAGE)
    found = [augmentation(frame.expand(5, -1, -1, -1), seed) for seed in range(12)]
    assert all(bool((clip == clip[:1]).all()) for clip in found)
    assert len({clip.numpy().tobytes() for clip in found}) == 12


def test_clips_are_mirrored_unless_classes_speak_of_sides() -> None:
    ramp = torch.arange(60, dtype=torch.uint8).expand(3, 40, 60)[..., None].repeat(1, 1, 1, 3)
    for flip, expected in ((True, {True, False}), (False, {False})):
        augmentation = ClipAugmentation("light", IMAGE, flip=flip)
        found = {bool(clip[0, 0, 0, 0] > clip[0, 0, -1, 0]) for clip in (augmentation(ramp, k) for k in range(20))}
        assert found == expected
    assert tells_left_from_right(["Turn Left", "other"]) and tells_left_from_right(["swipe-right"])
    assert not tells_left_from_right(["leftovers", "bright", "copyright"])


def test_own_augmentation_sees_frames_and_is_checked() -> None:
    frames = torch.zeros(4, 40, 60, 3, dtype=torch.uint8)
    shapes: list[tuple[int, ...]] = []

    def own(clip: Tensor) -> Tensor:
        shapes.append(tuple(clip.shape))
        return clip[:, :, :32, :32] + torch.randint(0, 9, (1,), dtype=torch.uint8)

    made = ClipAugmentation(own, IMAGE)
    assert torch.equal(made(frames, 3), made(frames, 3)) and shapes[0] == (4, 3, 40, 60)
    with pytest.raises(ValueError, match=r"augment must return uint8 of shape \(4, 3, 32, 32\)"):
        ClipAugmentation(lambda clip: clip, IMAGE)(frames, 0)


@pytest.mark.parametrize("size", [(40, 80), (80, 40), (32, 32)])
def test_three_crops_lie_along_the_longer_side(size: tuple[int, int]) -> None:
    height, width = size
    rows = torch.arange(height, dtype=torch.uint8)[:, None].expand(height, width)
    columns = torch.arange(width, dtype=torch.uint8).expand(height, width)
    frames = torch.stack([rows, columns, columns], -1)[None].repeat(2, 1, 1, 1)
    preprocessing = Preprocessing(image_size=min(size), crop_pct=1.0)
    first, middle, last = fixed_crops(frames, preprocessing, 3)
    axis = 0 if height > width else 1
    extent = max(size) - min(size)
    starts = [int(crop[0, 0, 0, axis]) for crop in (first, middle, last)]
    assert starts == [0, extent // 2, extent]
    assert torch.equal(middle, fixed_crops(frames, preprocessing, 1)[0])


# The same run


@pytest.mark.parametrize("augment", ["light", "strong"])
def test_batches_are_a_function_of_the_attempt(clips: Clips, augment: str) -> None:
    whole = made(clips, count=8, augment=augment)
    assert same(whole, made(clips, count=8, augment=augment))
    assert same(whole[4:], made(clips, first=2, augment=augment)), "from any attempt on"
    assert same(whole, made(clips, count=8, augment=augment, workers=2)), "with any number of workers"
    assert not same(whole, made(clips, count=8, augment=augment, seed=6))


def test_the_cache_changes_no_pixel(clips: Clips) -> None:
    plain = made(clips, count=8)
    for _ in range(2):
        assert same(plain, made(clips, count=8, cache="1MB"))
    assert same(plain, made(clips, count=8, cache="20KB")), "where a part fits only"


def test_what_is_cached_is_not_decoded_again(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = made(clips, count=8, cache="1MB")
    monkeypatch.setattr("hone.data.video.frames.read_frames", lambda *_: pytest.fail("decoded"))
    assert same(plain, made(clips, count=8, cache="1MB"))


def test_a_full_disk_stops_the_cache_only(clips: Clips, monkeypatch: pytest.MonkeyPatch) -> None:
    plain = made(clips, count=4)

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.pwritev", full)
    assert same(plain, made(clips, count=4, cache="1MB"))


def test_slots_of_frames_do_not_overlap(clips: Clips, tmp_path: Path) -> None:
    assert clips.stats is not None
    cache = FrameCache(clips.paths, clips.stats, 40, 10**9, tmp_path)
    slots = [
        (int(cache.starts[row] + frame * cache.lengths[row]), int(cache.lengths[row]))
        for row in range(6)
        for frame in range(clips.facts(row).frames)
    ]
    slots.sort()
    assert all(start + length <= later for (start, length), (later, _) in pairwise(slots))


def test_ranks_share_a_batch(clips: Clips) -> None:
    whole = made(clips)
    parts = [made(clips, rank=rank, world_size=2) for rank in range(2)]
    for place, (inputs, target) in enumerate(whole):
        assert torch.equal(inputs, torch.cat([part[place][0] for part in parts]))
        assert torch.equal(target, torch.cat([part[place][1] for part in parts]))


def test_a_clip_that_is_drawn_twice_is_seen_twice(clips: Clips) -> None:
    one = clips.take([0])
    (inputs, _), *_ = made(one, count=1, batch_size=4, accumulate=1)
    assert len({clip.numpy().tobytes() for clip in inputs}) == 4


def test_inputs_are_the_decoded_frames_normalised(clips: Clips) -> None:
    from hone.data.video.decoding import read_frames

    preprocessing = ClipPreprocessing(IMAGE, Sampling(4, "uniform"))
    evaluated = EvalClips(clips, preprocessing, batch_size=4, cache=0)
    found = torch.cat([inputs for inputs, _, _ in evaluated])
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (IMAGE.mean, IMAGE.std))
    for row in range(6):
        wanted = preprocessing.sampling.in_evaluation(clips.facts(row))[0]
        frames = read_frames(clips.paths[row], wanted, clips.facts(row), IMAGE.resize)
        (crop,) = fixed_crops(frames, IMAGE, 1)
        torch.testing.assert_close(found[row], (crop.permute(3, 0, 1, 2) / 255 - mean) / std)
        numbers = [number_of(frame) - 100 * int(Path(clips.paths[row]).stem) for frame in frames.numpy()]
        assert numbers == wanted.tolist()


def test_each_video_is_evaluated_once_in_all_its_views(clips: Clips) -> None:
    preprocessing = ClipPreprocessing(IMAGE, Sampling(4, "dense", clips=2), crops=3)
    for workers in (0, 1):
        found = list(EvalClips(clips, preprocessing, batch_size=12, workers=workers, cache=0, channels_last=True))
        assert [inputs.shape for inputs, _, _ in found] == [(12, 3, 4, 32, 32)] * 3
        assert found[0][0].is_contiguous(memory_format=torch.channels_last_3d)
        assert torch.cat([indices for _, _, indices in found]).tolist() == list(range(6))


def test_a_run_of_json_and_back() -> None:
    preprocessing = ClipPreprocessing(IMAGE, Sampling(6, "dense", 12.5, "hold", 4), 3, 7.25)
    assert ClipPreprocessing.from_json(preprocessing.to_json()) == preprocessing
    for text in ("", "[]", "{}", '{"image": 1}', Preprocessing().to_json()):
        with pytest.raises(ValueError, match=r"preprocessing\.json must"):
            ClipPreprocessing.from_json(text)
