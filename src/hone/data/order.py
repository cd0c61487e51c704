"""Which samples come next: a pure function of the attempt."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from itertools import count

import numpy as np
import torch

from ..checks import integer, invalid, one_of
from .seeding import derive

SAMPLERS = ("shuffle", "balanced")


class Order:
    """The indices of the global batch of any attempt, computed from the attempt alone.

    An epoch is ``max(1, n // (batch_size x accumulate))`` updates. Epoch ``e`` draws a permutation seeded by
    ``(seed, e)``; attempt ``a`` takes the positions from ``(a mod epoch) x batch`` on. The few samples left over at the
    end of an epoch are others in every epoch. Where a batch is larger than the data, permutation follows permutation.

    ``sampler="balanced"`` draws every class equally often: each run of ``num_classes`` draws holds every class once, in
    a seeded order, and each class walks through seeded permutations of its own samples.

    Args:
        n: samples, at least 1.
        batch_size: samples of one micro-batch over all processes.
        accumulate: micro-batches an update.
        seed: the run's seed.
        sampler: "shuffle" or "balanced".
        targets: (n,) int64 class indices; needed by "balanced".

    Raises:
        ValueError: an argument is out of range, or "balanced" without class indices.

    Example:
        >>> order = Order(10, batch_size=4, seed=1)
        >>> order.updates_per_epoch
        2
        >>> [len(set(order(attempt).tolist())) for attempt in range(3)]
        [4, 4, 4]
        >>> bool((order(1) == Order(10, batch_size=4, seed=1)(1)).all())
        True
    """

    def __init__(
        self,
        n: int,
        *,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        sampler: str = "shuffle",
        targets: torch.Tensor | None = None,
    ) -> None:
        self.n = integer("number of samples", n, at_least=1)
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        self.accumulate = integer("accumulate", accumulate, at_least=1)
        self.seed = integer("seed", seed)
        self.sampler = one_of("sampler", sampler, SAMPLERS)
        self.global_batch = self.batch_size * self.accumulate
        self.updates_per_epoch = max(1, self.n // self.global_batch)
        self._members = _members(targets, self.n) if sampler == "balanced" else []
        self._epochs: OrderedDict[int, np.ndarray] = OrderedDict()

    def __call__(self, attempt: int) -> np.ndarray:
        """The (batch_size x accumulate,) int64 indices of the attempt, micro-batch after micro-batch."""
        epoch, step = divmod(integer("attempt", attempt, at_least=0), self.updates_per_epoch)
        start = step * self.global_batch
        return self._epoch(epoch)[start : start + self.global_batch]

    def keys(self, attempt: int) -> Iterator[tuple[int, int]]:
        """(attempt, micro-batch) from the first micro-batch of ``attempt`` on, for ever.

        Example:
            >>> keys = Order(8, batch_size=2, accumulate=2).keys(5)
            >>> [next(keys) for _ in range(3)]
            [(5, 0), (5, 1), (6, 0)]
        """
        for now in count(attempt):
            for micro in range(self.accumulate):
                yield now, micro

    def places(self, micro: int, rank: int = 0, world_size: int = 1) -> np.ndarray:
        """The places in the global batch of one process's share of a micro-batch.

        The shares of all ranks, one after another, are the micro-batch that a single process would see.

        Example:
            >>> Order(8, batch_size=4, accumulate=2).places(1, rank=1, world_size=2)
            array([6, 7])
        """
        share = self.batch_size // world_size
        start = micro * self.batch_size + rank * share
        return np.arange(start, start + share)

    def _epoch(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            draws = self.updates_per_epoch * self.global_batch
            self._epochs[epoch] = self._balanced(epoch, draws) if self._members else self._shuffled(epoch, draws)
            # Two: prefetching workers cross the border of an epoch while the last batches of the old one are read.
            while len(self._epochs) > 2:
                self._epochs.popitem(last=False)
        return self._epochs[epoch]

    def _shuffled(self, epoch: int, draws: int) -> np.ndarray:
        rounds = [_permutation(self.n, self.seed, epoch, part) for part in range(-(-draws // self.n))]
        return np.concatenate(rounds)[:draws]

    def _balanced(self, epoch: int, draws: int) -> np.ndarray:
        classes = len(self._members)
        turns = -(-draws // classes)
        generator = np.random.Generator(np.random.Philox(derive("balanced", self.seed, epoch)))
        # Row t: the classes of turn t in their order; argsort of uniform numbers is one permutation a row.
        turn_order = generator.random((turns, classes)).argsort(axis=1)
        drawn = np.empty((turns, classes), dtype=np.int64)
        for place, members in enumerate(self._members):
            rounds = [generator.permutation(members) for _ in range(-(-turns // len(members)))]
            drawn[:, place] = np.concatenate(rounds)[:turns]
        return np.take_along_axis(drawn, turn_order, axis=1).reshape(-1)[:draws]


def chunks(rows: np.ndarray, size: int) -> Iterator[np.ndarray]:
    """The rows in their order, ``size`` at a time; the last may be fewer.

    Example:
        >>> [part.tolist() for part in chunks(np.arange(5), 2)]
        [[0, 1], [2, 3], [4]]
    """
    for start in range(0, len(rows), size):
        yield rows[start : start + size]


def check_ranks(rank: int, world_size: int, batch_size: int | None = None) -> None:
    """Raise unless ``rank`` is one of ``world_size`` processes, and they can share a micro-batch evenly.

    Example:
        >>> check_ranks(rank=1, world_size=2, batch_size=31)
        Traceback (most recent call last):
        ...
        ValueError: batch_size must be a multiple of the 2 processes, got 31
    """
    integer("world_size", world_size, at_least=1)
    integer("rank", rank, at_least=0, at_most=world_size - 1)
    if batch_size is not None and integer("batch_size", batch_size, at_least=1) % world_size:
        raise invalid("batch_size", f"be a multiple of the {world_size} processes", batch_size)


def _permutation(n: int, seed: int, epoch: int, part: int) -> np.ndarray:
    return np.random.Generator(np.random.Philox(derive("order", seed, epoch, part))).permutation(n)


def _members(targets: torch.Tensor | None, n: int) -> list[np.ndarray]:
    """The samples of each class that has any."""
    if targets is None or targets.ndim != 1 or targets.is_floating_point() or len(targets) != n:
        raise invalid(
            "sampler", "be shuffle where the targets are not one class index a sample", "balanced", "use shuffle"
        )
    labels = targets.numpy()
    return [np.flatnonzero(labels == label) for label in np.unique(labels)]
