"""Batches: the same for any number of workers, any start, any number of processes, any accumulation."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from hone.data import EvalBatches, Examples, Preprocessing, TrainBatches

PREPROCESSING = Preprocessing(image_size=24)
Batch = tuple[torch.Tensor, torch.Tensor]


def take(examples: Examples, count: int, attempt: int = 0, **options: Any) -> list[Batch]:
    options = {"batch_size": 6, "cache": 0, "seed": 4} | options
    batches = TrainBatches(examples, PREPROCESSING, **options)
    source = batches.batches(attempt)
    taken = list(islice(source, count))
    source.close()
    batches.close()
    return taken


def same(first: list[Batch], second: list[Batch]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) and torch.equal(s, t) for (a, s), (b, t) in zip(first, second, strict=True)
    )


def crop_by_chance(image: torch.Tensor) -> torch.Tensor:
    """A user's transform that draws from all three default generators."""
    import random

    top, left = int(torch.randint(0, 4, ())), int(np.random.randint(0, 4))
    return image[:, top : top + 24, left : left + 24] if random.random() < 0.5 else image[:, :24, :24]


def test_the_comparison_can_fail(made: Examples) -> None:
    assert not same(take(made, 2), take(made, 2, seed=5))
    assert not same(take(made, 2), take(made, 2, 1))
    assert not same(take(made, 2), take(made, 2, rank=1, world_size=2))


AUGMENTS = ["none", "light", "strong", crop_by_chance]


@pytest.mark.parametrize("on_device", [False, True])
def test_crops_of_another_size_show_the_same(made: Examples, on_device: bool) -> None:
    whole, smaller = take(made, 2, on_device=on_device), take(made, 2, on_device=on_device, size=12)
    for (large, large_target), (small, target) in zip(whole, smaller, strict=True):
        assert small.shape[2:] == (12, 12) and torch.equal(target, large_target)
        reduced = torch.nn.functional.interpolate(large, size=(12, 12), mode="area")
        seen = torch.stack([reduced.flatten(), small.flatten()])
        assert float(torch.corrcoef(seen)[0, 1]) > 0.9


@pytest.mark.parametrize("augment", AUGMENTS)
def test_any_attempt_can_be_the_first(made: Examples, augment: Any) -> None:
    whole = take(made, 14, accumulate=2, batch_size=4, augment=augment)
    for attempt in (1, 4, 6):
        assert same(
            whole[2 * attempt :], take(made, 14 - 2 * attempt, attempt, accumulate=2, batch_size=4, augment=augment)
        )


@pytest.mark.parametrize(("workers", "augment", "start_method"), [(1, "light", "fork"), (3, "strong", "fork")])
def test_workers_change_nothing(made: Examples, workers: int, augment: str, start_method: str) -> None:
    alone = take(made, 7, 3, augment=augment)
    assert same(alone, take(made, 7, 3, augment=augment, workers=workers, start_method=start_method, cache="1MB"))


def test_spawned_workers_change_nothing(made: Examples) -> None:
    assert same(take(made, 3, augment="light"), take(made, 3, augment="light", workers=1, start_method="spawn"))


@pytest.mark.parametrize("augment", AUGMENTS)
@pytest.mark.parametrize("world_size", [2, 3])
def test_the_shares_of_all_processes_are_what_one_would_see(made: Examples, augment: Any, world_size: int) -> None:
    options = {"batch_size": 6, "accumulate": 2, "augment": augment}
    alone = take(made, 6, 1, **options)
    ranks = [take(made, 6, 1, **options, rank=rank, world_size=world_size) for rank in range(world_size)]
    joined = [tuple(torch.cat(parts) for parts in zip(*shares, strict=True)) for shares in zip(*ranks, strict=True)]
    assert same(alone, joined)


@pytest.mark.parametrize("augment", AUGMENTS)
def test_accumulation_divides_the_same_batch(made: Examples, augment: Any) -> None:
    large = take(made, 2, batch_size=12, augment=augment)
    small = take(made, 6, batch_size=4, accumulate=3, augment=augment)
    joined = [tuple(torch.cat(part) for part in zip(*small[k : k + 3], strict=True)) for k in (0, 3)]
    assert same(large, joined)


@pytest.mark.parametrize("augment", ["light", "strong"])
def test_finishing_on_the_device_keeps_every_law(made: Examples, augment: str) -> None:
    options = {"batch_size": 4, "accumulate": 2, "augment": augment, "on_device": True}
    whole = take(made, 8, **options)
    assert same(whole[4:], take(made, 4, 2, **options))
    assert same(whole, take(made, 8, workers=2, **options))
    shares = [take(made, 8, rank=rank, world_size=2, **options) for rank in range(2)]
    for (inputs, target), *parts in zip(whole, *shares, strict=True):
        assert torch.equal(target, torch.cat([part[1] for part in parts]))
        # The largest crop of a share decides how its products are added up: now and then a byte rounds the other way.
        assert (inputs - torch.cat([part[0] for part in parts])).abs().mean() < 1e-3
    in_workers = take(made, 8, **(options | {"on_device": False}))
    assert (whole[0][0] - in_workers[0][0]).abs().mean() < 0.02 and not same(whole, in_workers)


def test_a_photo_drawn_twice_is_augmented_twice(made: Examples) -> None:
    one = made.take([3])
    inputs, _ = take(one, 1, batch_size=8)[0]
    assert len({tuple(image.flatten().tolist()) for image in inputs}) == 8


def test_epochs_are_augmented_differently(made: Examples) -> None:
    first, second = take(made.take([3]), 2, batch_size=1)
    assert not torch.equal(first[0], second[0])


@pytest.mark.parametrize("augment", ["strong", crop_by_chance])
def test_the_models_random_numbers_are_left_alone(made: Examples, augment: Any) -> None:
    torch.manual_seed(1)
    np.random.seed(1)
    expected = torch.rand(3), np.random.rand(3)
    torch.manual_seed(1)
    np.random.seed(1)
    take(made, 2, augment=augment)
    list(EvalBatches(made, PREPROCESSING, 8, cache=0))
    assert torch.equal(torch.rand(3), expected[0])
    assert np.array_equal(np.random.rand(3), expected[1])


@pytest.mark.parametrize("channels_last", [False, True])
def test_inputs_are_normalised_and_laid_out(made: Examples, channels_last: bool) -> None:
    inputs, target = take(made, 1, augment="none", channels_last=channels_last)[0]
    layout = torch.channels_last if channels_last else torch.contiguous_format
    assert inputs.is_contiguous(memory_format=layout) and inputs.dtype == torch.float32
    batches = TrainBatches(made, PREPROCESSING, batch_size=6, seed=4, augment="none", cache=0)
    for line, row in enumerate(batches.order(0).tolist()):
        assert target[line] == made.targets[row]
        # An independent path: Pillow's resize and crop, numpy's arithmetic.
        with Image.open(made.paths[row]) as image:
            width, height = image.size
            side = PREPROCESSING.resize
            scale = side / min(width, height)
            size = (int(width * scale), side) if height <= width else (side, int(height * scale))
            small = image.resize(size, Image.Resampling.BILINEAR)
        left, top = round((size[0] - 24) / 2), round((size[1] - 24) / 2)
        pixels = np.asarray(small.crop((left, top, left + 24, top + 24)), dtype=np.float64) / 255
        expected = (pixels - PREPROCESSING.mean) / PREPROCESSING.std
        # One grey level is 0.0175 after normalisation; two resamplers may round differently by one.
        assert np.abs(inputs[line].permute(1, 2, 0).numpy() - expected).max() < 2 * 0.0176


def test_strong_mixes_targets_of_neighbours(made: Examples) -> None:
    batches = TrainBatches(made, PREPROCESSING, batch_size=6, seed=4, augment="strong", cache=0)
    shares = set()
    for attempt, (_, target) in zip(range(8), batches.batches(), strict=False):
        labels = made.targets[torch.from_numpy(batches.order(attempt))]
        one_hot = torch.nn.functional.one_hot(labels, 3).float()
        differing = (labels != labels.roll(1)).nonzero().flatten()
        share = target[differing[0], labels[differing[0]]]
        assert torch.allclose(target, share * one_hot + (1 - share) * one_hot.roll(1, 0), atol=1e-6)
        shares.add(round(float(share), 4))
    assert len(shares) > 4


@pytest.mark.parametrize(("world_size", "workers"), [(1, 0), (2, 0), (3, 0), (3, 2)])
def test_evaluation_sees_every_sample_once(made: Examples, world_size: int, workers: int) -> None:
    seen: list[int] = []
    for rank in range(world_size):
        batches = EvalBatches(made, PREPROCESSING, 4, workers, rank, world_size, cache=0)
        for _ in range(2):
            passed = []
            for inputs, target, indices in batches:
                assert inputs.shape[1:] == (3, 24, 24) and torch.equal(target, made.targets[indices])
                passed += indices.tolist()
        assert len(batches) == -(-len(passed) // 4)
        batches.close()
        seen += passed
    assert sorted(seen) == list(range(len(made)))


def test_evaluation_with_workers_equals_without(made: Examples) -> None:
    alone = list(EvalBatches(made, PREPROCESSING, 5, cache=0))
    helped = list(EvalBatches(made, PREPROCESSING, 5, workers=2, cache="1MB"))
    assert all(torch.equal(a, b) for one, two in zip(alone, helped, strict=True) for a, b in zip(one, two, strict=True))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_file_is_one_clear_line(made: Examples, tmp_path: Path, workers: int) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_bytes(Path(made.paths[0]).read_bytes()[:400])
    examples = Examples([str(bad), made.paths[1]], torch.tensor([0, 1]), ["a", "b"])
    with pytest.raises(ValueError, match=r"bad\.jpg can't be read as an image: .*truncated") as caught:
        take(examples, 2, batch_size=2, workers=workers)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 5, "world_size": 2}, "batch_size must be a multiple of the 2 processes"),
        ({"rank": 2, "world_size": 2}, "rank must be a whole number .*at most 1"),
        ({"augment": "lite"}, "did you mean light"),
        ({"workers": -1}, "workers"),
        ({"cache": "2 bananas"}, "cache must be a number of bytes"),
    ],
)
def test_bad_arguments(made: Examples, options: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        TrainBatches(made, PREPROCESSING, **({"batch_size": 6} | options))


def test_nothing_to_train_on(made: Examples) -> None:
    with pytest.raises(ValueError, match="train must hold at least one example"):
        TrainBatches(made.take([]), PREPROCESSING, batch_size=2)


def children() -> set[int]:
    """The live processes that were started from this one."""
    return {process.pid for process in multiprocessing.active_children() if process.pid is not None}


@pytest.mark.parametrize("ending", ["close", "drop", "error"])
def test_workers_end_at_once(made: Examples, tmp_path: Path, ending: str) -> None:
    before = children()
    (tmp_path / "bad.jpg").write_text("x")
    examples = (
        made.take([0, 1]) if ending != "error" else Examples([str(tmp_path / "bad.jpg")], torch.tensor([0]), ["a"])
    )
    batches = TrainBatches(examples, PREPROCESSING, batch_size=2, workers=2, cache=0)
    source = batches.batches()
    start = time.monotonic()
    if ending == "error":
        with pytest.raises(ValueError, match=r"bad\.jpg"):
            next(source)
    else:
        next(source)
        assert len(children() - before) == 2
    if ending == "close":
        source.close()
    del source, batches
    assert children() <= before
    assert time.monotonic() - start < 4  # a worker that must be waited for costs five seconds


def test_kept_workers_serve_every_pass_and_end_with_the_batches(made: Examples) -> None:
    before = children()
    batches = EvalBatches(made, PREPROCESSING, 8, workers=1, cache=0)
    list(batches)
    first = children() - before
    for _ in batches:
        break
    assert len(list(batches)) == 4
    assert children() - before == first and len(first) == 1
    batches.close()
    assert children() <= before
    with pytest.raises(RuntimeError, match="closed"):
        list(batches)


def test_an_interrupt_of_the_terminal_leaves_the_workers_to_the_parent(made: Examples) -> None:
    before = children()
    source = TrainBatches(made, PREPROCESSING, batch_size=2, workers=1, cache=0).batches()
    taken = [next(source)]
    workers = children() - before
    assert len(workers) == 1
    for worker in workers:
        os.kill(worker, signal.SIGINT)
    taken += [next(source) for _ in range(12)]
    assert workers <= children()
    source.close()
    assert same(taken, take(made, 13, batch_size=2, seed=0))
