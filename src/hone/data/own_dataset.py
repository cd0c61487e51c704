"""From a user's samples to batches (in a worker), and from batches to (inputs, target) where the model is."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset

from ..checks import invalid
from .generators import Generators
from .order import Order
from .seeding import derive, restored_generators, sample_seed
from .stream import move

#: Under which keys a sample that is a mapping holds input and target.
INPUT_KEYS, TARGET_KEYS = ("image", "input", "inputs"), ("label", "target", "mask")


class DatasetAssembly:
    """One process's share of a micro-batch of a Dataset: key ``(attempt, micro-batch)``."""

    def __init__(
        self, dataset: Dataset[Any], order: Order, collate: Callable[[list[Any]], Any], rank: int, world_size: int
    ) -> None:
        self.dataset, self.order, self.collate, self.rank, self.world_size = dataset, order, collate, rank, world_size
        self.generators = Generators(dataset)

    def __call__(self, key: tuple[int, int]) -> Any:
        """The collated samples, each drawn under its own seed."""
        attempt, micro = key
        places = self.order.places(micro, self.rank, self.world_size)
        samples = []
        with restored_generators():
            for row, place in zip(self.order(attempt)[places].tolist(), places.tolist(), strict=True):
                self.generators.seed(sample_seed(self.order.seed, attempt, place))
                samples.append(self.dataset[row])
        return self.collate(samples)


class DatasetEvalAssembly:
    """Some samples of a Dataset: key (n,) int64 indices; what is random in it depends on the index alone."""

    def __init__(self, dataset: Dataset[Any], collate: Callable[[list[Any]], Any]) -> None:
        self.dataset, self.collate = dataset, collate
        self.generators = Generators(dataset)

    def __call__(self, key: np.ndarray) -> tuple[Any, torch.Tensor]:
        """The collated samples and their indices."""
        samples = []
        with restored_generators():
            for row in key.tolist():
                self.generators.seed(derive("evaluation", row))
                samples.append(self.dataset[row])
        return self.collate(samples), torch.from_numpy(key)


class Finish:
    """(inputs, target) on the device of what a Dataset or DataLoader gives.

    Args:
        device: where the batches are wanted.
        channels_last: lay 4-D inputs out channels last, 5-D ones channels last 3d.

    Example:
        >>> inputs, target = Finish(torch.device("cpu"))({"image": torch.zeros(2, 3), "label": torch.ones(2)})
        >>> inputs.shape, target.shape
        (torch.Size([2, 3]), torch.Size([2]))
    """

    def __init__(self, device: torch.device, channels_last: bool = False) -> None:
        self.device, self.channels_last = device, channels_last

    def __call__(self, batch: Any) -> tuple[torch.Tensor, Any]:
        """Take a pair, or a mapping with "image" and "label", apart.

        Raises:
            ValueError: it is neither.
        """
        inputs, target = (move(part, self.device) for part in _pair(batch))
        formats = {4: torch.channels_last, 5: torch.channels_last_3d}
        if self.channels_last and isinstance(inputs, torch.Tensor) and inputs.ndim in formats:
            inputs = inputs.contiguous(memory_format=formats[inputs.ndim])
        return inputs, target


def _pair(batch: Any) -> tuple[Any, Any]:
    if isinstance(batch, Mapping):
        found = [next((batch[key] for key in keys if key in batch), None) for keys in (INPUT_KEYS, TARGET_KEYS)]
        if found[0] is not None and found[1] is not None:
            return found[0], found[1]
        received = f"a mapping with {', '.join(map(str, batch))}"
    elif isinstance(batch, (tuple, list)) and len(batch) == 2:
        return batch[0], batch[1]
    else:
        received = type(batch).__name__
    raise invalid("a sample", 'be (input, target) or a mapping with "image" and "label"', received)
