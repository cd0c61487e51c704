"""A user's own torch Dataset or DataLoader as the data of a run, from Python."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from hone import checks
from hone.data import Examples, Splits, batches_from, eval_batches_from
from hone.data.examples import TASKS, Task
from hone.recipe.schema import Recipe
from hone.training import World


@dataclass(frozen=True)
class OwnData:
    """Data that prepares its own inputs: samples are ``(input, target)``.

    Attributes:
        train: a map-style Dataset (every guarantee of resuming) or a DataLoader (its own order and batches).
        val: the same, or None.
        classes: names of the classes or labels; empty for regression.
        task: classify, multilabel or regress.
    """

    train: Any
    val: Any
    classes: tuple[str, ...]
    task: Task

    @staticmethod
    def of(train: Any, val: Any, classes: Sequence[str] | None, task: str) -> OwnData:
        """Check what a caller handed over.

        Args:
            train: Dataset or DataLoader.
            val: the same, or None.
            classes: names; by default ``train.classes``, as torchvision's datasets have it.
            task: ``auto`` is classify.

        Raises:
            ValueError: the classes are neither given nor known to the data set.
        """
        kind = cast(Task, "classify" if task == "auto" else checks.one_of("task", task, TASKS))
        names = classes if classes is not None else getattr(_dataset(train), "classes", None)
        if kind == "regress":
            return OwnData(train, val, (), kind)
        if names is None:
            raise ValueError(f"classes must be given: {type(_dataset(train)).__name__} has no attribute classes")
        return OwnData(train, val, tuple(map(str, names)), kind)

    @property
    def name(self) -> str:
        """What stands for the data in the recipe."""
        kind = type(_dataset(self.train))
        return f"{kind.__module__}.{kind.__qualname__} (handed over in Python)"

    def splits(self) -> Splits:
        """The data as far as it is known without reading it."""
        return Splits(self._examples(self.train), self._examples(self.val), self._examples(None))

    def training_batches(self, recipe: Recipe, world: World) -> Any:
        """Micro-batches from any attempt on."""
        return batches_from(
            self.train,
            batch_size=recipe.batch_size,
            accumulate=recipe.accumulate,
            seed=recipe.seed,
            sampler=recipe.sampler,
            workers=recipe.workers or 0,
            rank=world.rank,
            world_size=world.size,
            device=world.device,
            channels_last=recipe.layout != "contiguous",
        )

    def evaluation_batches(self, data: Any, recipe: Recipe, world: World) -> Any:
        """Each sample of ``train`` or ``val`` once."""
        return eval_batches_from(
            data,
            batch_size=recipe.batch_size,
            workers=recipe.workers or 0,
            rank=world.rank,
            world_size=world.size,
            device=world.device,
            channels_last=recipe.layout != "contiguous",
        )

    def _examples(self, data: Any) -> Examples:
        count = 0 if data is None else len(_dataset(data))
        return Examples(
            [f"sample {row}" for row in range(count)], self._targets(data, count), list(self.classes), self.task
        )

    def _targets(self, data: Any, count: int) -> Tensor:
        """The data set's ``targets``, as torchvision's have them; zeros where they are not known before training."""
        found = None if data is None else getattr(_dataset(data), "targets", None)
        if found is None:
            width = (len(self.classes),) if self.task == "multilabel" else ()
            return torch.zeros(count, *width, dtype=torch.int64 if self.task == "classify" else torch.float32)
        return torch.as_tensor(found)


def _dataset(data: Any) -> Any:
    return data.dataset if isinstance(data, DataLoader) else data
