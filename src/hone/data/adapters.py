"""Batches from a user's own torch Dataset or DataLoader."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset, IterableDataset, default_collate

from ..checks import integer, invalid
from .order import Order, check_ranks, chunks
from .own_dataset import DatasetAssembly, DatasetEvalAssembly, Finish
from .stream import Stream

Collate = Callable[[list[Any]], Any]
Finished = Callable[[Any], tuple[torch.Tensor, Any]]


class DatasetBatches:
    """Training batches from a map-style Dataset, with the guarantees of ``TrainBatches``.

    The dataset's own transforms run; before each sample the default generators of torch, numpy and random are seeded
    from (seed, attempt, place), and so are transforms that have ``set_random_state`` (MONAI) or ``set_random_seed``.
    A transform with hidden generators of another kind is beyond reach.

    Args: as ``batches_from``.
    """

    #: What can't be guaranteed; nothing.
    caveat = ""

    def __init__(self, dataset: Dataset[Any], order: Order, stream: Stream, finish: Finished) -> None:
        self.dataset, self.order, self._stream, self._finish = dataset, order, stream, finish

    @property
    def updates_per_epoch(self) -> int:
        """``max(1, n // (batch_size x accumulate))``."""
        return self.order.updates_per_epoch

    def batches(self, attempt: int = 0) -> Iterator[tuple[torch.Tensor, Any]]:
        """Micro-batches (inputs, target) from ``attempt`` on, for ever; closing it ends the workers."""
        keys = partial(self.order.keys, integer("attempt", attempt, at_least=0))
        with closing(self._stream.run(keys)) as source:
            for batch in source:
                yield self._finish(batch)

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


class LoaderBatches:
    """Training batches from a DataLoader, in the order that it has itself.

    Args:
        loader: any iterable of (inputs, target) that can be iterated again and again.
        accumulate: micro-batches an update.
        updates_per_epoch: needed where the loader has no length.
        finish: makes (inputs, target) on the device of what the loader gives.
    """

    caveat = (
        "a DataLoader keeps its own order and random numbers: a resumed run repeats the uninterrupted one only where"
        " its sampler follows from set_epoch and its dataset draws nothing; hand over the Dataset for an exact resume"
    )

    def __init__(
        self,
        loader: DataLoader[Any],
        accumulate: int,
        updates_per_epoch: int,
        finish: Finished,
    ) -> None:
        self.loader, self.accumulate, self.updates_per_epoch, self._finish = (
            loader,
            accumulate,
            updates_per_epoch,
            finish,
        )

    def batches(self, attempt: int = 0) -> Iterator[tuple[torch.Tensor, Any]]:
        """Micro-batches (inputs, target) from the attempt's place in its epoch on, for ever.

        The batches before that place are loaded and passed over.
        """
        epoch, step = divmod(integer("attempt", attempt, at_least=0), self.updates_per_epoch)
        passed = step * self.accumulate
        while True:
            holders: tuple[Any, ...] = (self.loader.sampler, self.loader.batch_sampler)
            for holder in holders:
                if hasattr(holder, "set_epoch"):
                    holder.set_epoch(epoch)
            found = False
            for place, batch in enumerate(self.loader):
                found = True
                if place >= passed:
                    yield self._finish(batch)
            if not found:
                raise invalid("DataLoader", "give at least one batch", 0)
            epoch, passed = epoch + 1, 0

    def close(self) -> None:
        """Nothing to end: the loader is the user's."""


class DatasetEval:
    """Every sample of a Dataset exactly once over all processes: (inputs, target, indices).

    Args: as ``eval_batches_from``.
    """

    def __init__(self, rows: np.ndarray, batch_size: int, stream: Stream, finish: Finished) -> None:
        self._rows, self.batch_size, self._stream, self._finish = rows, batch_size, stream, finish

    def __len__(self) -> int:
        """The number of batches of this process."""
        return -(-len(self._rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Any, torch.Tensor]]:
        """Yield inputs, targets, and indices (n,) int64 into the dataset."""
        with closing(self._stream.run(partial(chunks, self._rows, self.batch_size))) as source:
            for batch, indices in source:
                yield *self._finish(batch), indices

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


class LoaderEval:
    """What a DataLoader gives, with running indices: (inputs, target, indices). Which samples, the loader says."""

    def __init__(self, loader: DataLoader[Any], finish: Finished) -> None:
        self.loader, self._finish = loader, finish

    def __len__(self) -> int:
        """The number of batches."""
        return len(self.loader)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, Any, torch.Tensor]]:
        """Yield inputs, targets, and indices (n,) int64 counted from 0."""
        start = 0
        for batch in self.loader:
            inputs, target = self._finish(batch)
            yield inputs, target, torch.arange(start, start + len(inputs))
            start += len(inputs)

    def close(self) -> None:
        """Nothing to end: the loader is the user's."""


def batches_from(
    data: Dataset[Any] | DataLoader[Any],
    *,
    batch_size: int = 32,
    accumulate: int = 1,
    seed: int = 0,
    sampler: str = "shuffle",
    targets: Sequence[int] | torch.Tensor | None = None,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    device: str | torch.device = "cpu",
    channels_last: bool = False,
    collate: Collate = default_collate,
    updates_per_epoch: int | None = None,
    start_method: str | None = None,
) -> DatasetBatches | LoaderBatches:
    """Training batches from a user's Dataset (map-style: all guarantees) or DataLoader (its own order).

    Args:
        data: its samples are (input, target) or a dict with "image" and "label".
        batch_size: samples of a micro-batch over all processes; a DataLoader has its own.
        accumulate: micro-batches an update.
        seed: the run's seed.
        sampler: "shuffle" or "balanced".
        targets: (n,) class indices for "balanced"; ``data.targets`` where not given.
        workers: processes that load ahead; a DataLoader has its own.
        rank: this process, in [0, world_size).
        world_size: processes that train together.
        device: where the batches are wanted.
        channels_last: lay 4-D inputs out channels last.
        collate: makes a batch of a list of samples.
        updates_per_epoch: for a DataLoader without a length.
        start_method: how workers start.

    Raises:
        TypeError: neither a map-style Dataset nor a DataLoader.
        ValueError: an argument is out of range.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> data = TensorDataset(torch.arange(6.0), torch.arange(6))
        >>> batches = batches_from(data, batch_size=3)
        >>> [target.shape for _, (_, target) in zip(range(2), batches.batches(5))], batches.updates_per_epoch
        ([torch.Size([3]), torch.Size([3])], 2)
    """
    check_ranks(rank, world_size, batch_size)
    integer("accumulate", accumulate, at_least=1)
    finish = Finish(torch.device(device), channels_last)
    if isinstance(data, DataLoader):
        return LoaderBatches(data, accumulate, updates_per_epoch or _loader_updates(data, accumulate), finish)
    labels = targets if targets is not None else getattr(data, "targets", None)
    order = Order(
        _length(data),
        batch_size=batch_size,
        accumulate=accumulate,
        seed=seed,
        sampler=sampler,
        targets=None if labels is None else torch.as_tensor(labels),
    )
    assemble = DatasetAssembly(data, order, collate, rank, world_size)
    stream = Stream(assemble, workers=workers, device=torch.device(device), start_method=start_method)
    return DatasetBatches(data, order, stream, finish)


def eval_batches_from(
    data: Dataset[Any] | DataLoader[Any],
    *,
    batch_size: int = 64,
    workers: int = 0,
    rank: int = 0,
    world_size: int = 1,
    device: str | torch.device = "cpu",
    channels_last: bool = False,
    collate: Collate = default_collate,
    start_method: str | None = None,
) -> DatasetEval | LoaderEval:
    """Evaluation batches (inputs, target, indices) from a user's Dataset or DataLoader.

    Args: as ``batches_from``; a Dataset's samples are each given once over all processes.

    Raises:
        TypeError: neither a map-style Dataset nor a DataLoader.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> data = TensorDataset(torch.arange(3.0), torch.arange(3))
        >>> [indices.tolist() for _, _, indices in eval_batches_from(data, batch_size=2)]
        [[0, 1], [2]]
    """
    check_ranks(rank, world_size)
    finish = Finish(torch.device(device), channels_last)
    if isinstance(data, DataLoader):
        return LoaderEval(data, finish)
    rows = np.arange(rank, _length(data), world_size)
    assemble = DatasetEvalAssembly(data, collate)
    stream = Stream(
        assemble, workers=workers, device=torch.device(device), keep_workers=True, start_method=start_method
    )
    return DatasetEval(rows, integer("batch_size", batch_size, at_least=1), stream, finish)


def _length(data: Any) -> int:
    if isinstance(data, IterableDataset) or not hasattr(data, "__getitem__") or not hasattr(data, "__len__"):
        raise TypeError(f"data must be a map-style Dataset or a DataLoader, got {type(data).__name__}")
    return len(data)


def _loader_updates(loader: DataLoader[Any], accumulate: int) -> int:
    try:
        return max(1, len(loader) // accumulate)
    except TypeError:
        raise invalid("updates_per_epoch", "be given for a DataLoader without a length", None) from None
