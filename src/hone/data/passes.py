"""What batches of every kind share: micro-batches for ever from any attempt, and passes that see each sample once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import integer, invalid
from .examples import Examples
from .order import Order
from .seeding import sample_seed
from .stream import Assembly, Stream


class Share:
    """What one process takes of a micro-batch: key ``(attempt, micro-batch)``.

    Args:
        order: which samples an attempt takes.
        rank: this process.
        world_size: processes that train together.
        partner: put the sample before the first one in front, for ``Mixing``.

    Example:
        >>> share = Share(Order(4, batch_size=4), rank=1, world_size=2)
        >>> [row for row, seed in share((0, 0))] == Order(4, batch_size=4)(0)[2:].tolist()
        True
    """

    def __init__(self, order: Order, *, rank: int, world_size: int, partner: bool = False) -> None:
        self.order, self.rank, self.world_size, self.partner = order, rank, world_size, partner

    def __call__(self, key: tuple[int, int]) -> list[tuple[int, int]]:
        """The index and the seed of each sample."""
        attempt, micro = key
        places = self.order.places(micro, self.rank, self.world_size).tolist()
        if self.partner:
            places.insert(0, (places[0] - 1) % self.order.global_batch)
        seeds = [sample_seed(self.order.seed, attempt, place) for place in places]
        return list(zip(self.order(attempt)[places].tolist(), seeds, strict=True))


class MicroBatches:
    """Micro-batches for ever, beginning at any attempt, the same ones for any number of workers and processes.

    Args:
        order: which samples an attempt takes.
        assemble: makes a batch from ``(attempt, micro-batch)``, in a worker.
        finish: ``(batch, attempt) -> (inputs, target)``, where the model is. No method of these batches: they could not
            be freed at once, nor their workers.
        workers: processes that assemble ahead; 0 does it in this one.
        device: where the batches are wanted.
        start_method: how workers start; None is torch's own choice.
    """

    def __init__(
        self,
        order: Order,
        assemble: Assembly,
        finish: Callable[[Any, int], tuple[Tensor, Tensor]],
        *,
        workers: int,
        device: str | torch.device,
        start_method: str | None = None,
    ) -> None:
        self.order = order
        self.device = torch.device(device)
        self._finish = finish
        self._stream = Stream(assemble, workers=workers, device=self.device, start_method=start_method)

    @property
    def updates_per_epoch(self) -> int:
        """``max(1, n // (batch_size x accumulate))``."""
        return self.order.updates_per_epoch

    def batches(self, attempt: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Micro-batches from ``attempt`` on, ``accumulate`` an attempt, for ever; closing it ends the workers.

        Yields:
            inputs: this process's share, float32, normalised, on the device.
            target: what the loss takes.

        Raises:
            ValueError: a file can't be read; it is named.
        """
        keys = partial(self.order.keys, integer("attempt", attempt, at_least=0))
        with closing(self._stream.run(keys)) as source:
            for (now, _), batch in zip(keys(), source, strict=False):
                yield self._finish(batch, now)

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


class OncePerPass:
    """Every sample exactly once over all processes; can be iterated again and again.

    Process ``rank`` gets samples ``rank, rank + world_size, ...``: none is repeated to make the shares equal, so the
    ranks may differ by one sample, and metrics need no correction.

    Args:
        groups: the indices of each batch of this process.
        assemble: makes a batch, its targets and its indices from (n,) int64 indices, in a worker.
        finish: what ``assemble`` made -> (inputs, targets, indices), where the model is.
        workers: processes that assemble ahead; they are kept between passes. 0 does it in this one.
        device: where the batches are wanted.
        start_method: how workers start; None is torch's own choice.
    """

    def __init__(
        self,
        groups: Sequence[np.ndarray],
        assemble: Assembly,
        finish: Callable[[Any], tuple[Tensor, Tensor, Tensor]],
        *,
        workers: int,
        device: str | torch.device,
        start_method: str | None = None,
    ) -> None:
        self._groups, self._finish = groups, finish
        self._stream = Stream(
            assemble, workers=workers, device=torch.device(device), keep_workers=True, start_method=start_method
        )

    def __len__(self) -> int:
        """The number of batches of this process."""
        return len(self._groups)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield inputs, targets, and indices (n,) int64 into the examples.

        Raises:
            ValueError: a file can't be read; it is named.
        """
        groups = self._groups
        with closing(self._stream.run(lambda: groups)) as source:
            for batch in source:
                yield self._finish(batch)

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


def check_some(examples: Examples, name: str) -> None:
    """Raise where there is no example."""
    if not len(examples):
        raise invalid(name, "hold at least one example", 0)
