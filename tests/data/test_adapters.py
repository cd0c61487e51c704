"""A user's Dataset keeps every guarantee; a user's DataLoader keeps its own order and says so."""

from __future__ import annotations

import random
from itertools import islice
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, Subset, TensorDataset
from torch.utils.data.distributed import DistributedSampler

from hone.data import batches_from, eval_batches_from


class Noisy(Dataset[Any]):
    """Draws from all three default generators for each sample."""

    targets = (0, 0, 0, 0, 0, 0, 0, 0, 1, 1, 2, 2)

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[torch.Tensor, int]:
        return torch.tensor([row, float(torch.rand(())), np.random.rand(), random.random()]), self.targets[row]


def take(data: Any, count: int, attempt: int = 0, **options: Any) -> list[Any]:
    source = batches_from(data, **({"batch_size": 4, "seed": 2} | options)).batches(attempt)
    taken = list(islice(source, count))
    source.close()
    return taken


def same(first: list[Any], second: list[Any]) -> bool:
    return len(first) == len(second) and all(
        torch.equal(a, b) and torch.equal(s, t) for (a, s), (b, t) in zip(first, second, strict=True)
    )


def test_a_dataset_resumes_anywhere_with_any_workers_and_processes() -> None:
    whole = take(Noisy(), 8)
    assert same(whole[3:], take(Noisy(), 5, 3, workers=2))
    ranks = [take(Noisy(), 8, rank=rank, world_size=2) for rank in range(2)]
    assert same(whole, [tuple(map(torch.cat, zip(*parts, strict=True))) for parts in zip(*ranks, strict=True)])
    draws = torch.cat([inputs[:, 1:] for inputs, _ in whole])
    assert all(len(draws[:, column].unique()) == len(draws) for column in range(3))


def test_the_models_random_numbers_are_left_alone() -> None:
    torch.manual_seed(0)
    expected = torch.rand(3)
    torch.manual_seed(0)
    take(Noisy(), 4)
    list(eval_batches_from(Noisy(), batch_size=5))
    assert torch.equal(torch.rand(3), expected)


def test_monai_transforms_are_seeded_through_their_own_generators() -> None:
    from monai.data import Dataset as MonaiDataset
    from monai.transforms import Compose, RandGaussianNoised, RandRotate90d

    samples = [{"image": torch.arange(16.0).reshape(1, 4, 4) + k, "label": torch.tensor(k)} for k in range(8)]
    transform = Compose([RandRotate90d(["image"], prob=0.5), RandGaussianNoised(["image"], prob=0.9)])
    for data in (MonaiDataset(samples, transform), Subset(MonaiDataset(samples, transform), range(8))):
        whole = take(data, 4)
        assert same(whole[1:], take(data, 3, 1)) and not torch.equal(whole[0][0], whole[2][0])


def test_balanced_uses_the_datasets_targets() -> None:
    labels = torch.cat([target for _, target in take(Noisy(), 3, sampler="balanced")])
    assert labels.bincount().tolist() == [4, 4, 4]
    given = take(Subset(Noisy(), range(12)), 3, sampler="balanced", targets=Noisy.targets)
    assert torch.cat([target for _, target in given]).bincount().tolist() == [4, 4, 4]


def test_channels_last_and_volumes() -> None:
    images = TensorDataset(torch.rand(4, 3, 5, 5), torch.arange(4))
    assert take(images, 1, channels_last=True)[0][0].is_contiguous(memory_format=torch.channels_last)
    volumes = TensorDataset(torch.rand(4, 3, 5, 5, 5), torch.arange(4))
    assert take(volumes, 1, channels_last=True)[0][0].is_contiguous(memory_format=torch.channels_last_3d)


def test_a_loader_in_its_own_order() -> None:
    loader = DataLoader(TensorDataset(torch.arange(10.0), torch.arange(10)), batch_size=3)
    batches = batches_from(loader)
    assert batches.updates_per_epoch == 4 and "hand over the Dataset" in batches.caveat
    assert batches_from(Noisy()).caveat == ""
    starts = [int(target[0]) for _, target in islice(batches.batches(2), 6)]
    assert starts == [6, 9, 0, 3, 6, 9]


def test_a_loader_whose_sampler_follows_the_epoch_resumes_in_its_order() -> None:
    data = TensorDataset(torch.arange(8.0), torch.arange(8))

    def batches() -> Any:
        sampler = DistributedSampler(data, num_replicas=1, rank=0, shuffle=True, seed=0)
        return batches_from(DataLoader(data, batch_size=2, sampler=sampler), accumulate=2)

    whole = list(islice(batches().batches(), 12))
    assert same(whole[6:], list(islice(batches().batches(3), 6)))
    assert not same(whole[:4], whole[4:8])


@pytest.mark.parametrize("workers", [0, 1])
def test_evaluation_of_a_dataset(workers: int) -> None:
    seen = []
    for rank in range(2):
        batches = eval_batches_from(Noisy(), batch_size=4, rank=rank, world_size=2, workers=workers)
        for inputs, target, indices in batches:
            assert inputs[:, 0].tolist() == indices.tolist() and target.tolist() == [Noisy.targets[k] for k in indices]
            seen += indices.tolist()
        assert len(batches) == 2
        batches.close()
    assert sorted(seen) == list(range(12))


def test_evaluation_of_a_loader() -> None:
    loader = DataLoader(TensorDataset(torch.arange(5.0), torch.arange(5)), batch_size=2)
    assert [indices.tolist() for _, _, indices in eval_batches_from(loader)] == [[0, 1], [2, 3], [4]]


class Endless(IterableDataset[Any]):
    def __iter__(self) -> Any:
        yield from ((torch.zeros(1), 0) for _ in range(4))


def test_what_is_refused() -> None:
    with pytest.raises(TypeError, match="map-style Dataset or a DataLoader, got Endless"):
        batches_from(Endless())
    with pytest.raises(ValueError, match="updates_per_epoch must be given for a DataLoader without a length"):
        batches_from(DataLoader(Endless()))
    assert batches_from(DataLoader(Endless()), updates_per_epoch=3).updates_per_epoch == 3
    with pytest.raises(ValueError, match="a sample must be"):
        take(TensorDataset(torch.arange(8.0)), 1)
    with pytest.raises(ValueError, match="DataLoader must give at least one batch"):
        take(DataLoader(TensorDataset(torch.zeros(0), torch.zeros(0))), 1)
