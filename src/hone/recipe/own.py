"""A user's own torch Dataset or DataLoader as the data of a run, from Python."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader

from hone import checks
from hone.data import Examples, Preprocessing, Splits, batches_from, eval_batches_from
from hone.data.examples import PHOTO_TASKS, Task
from hone.recipe.closer_look import CloserLook
from hone.recipe.folder import Loaded, Run
from hone.recipe.kinds import photos
from hone.recipe.kinds.kind import TrainingBatches
from hone.recipe.prediction import Asked, Prediction
from hone.recipe.schema import Recipe
from hone.recipe.source import Target
from hone.training import Inference, Outputs, World


@dataclass(frozen=True)
class OwnExamples(Examples):
    """The samples of a Dataset or DataLoader, as far as they are known without reading it.

    Attributes:
        source: the Dataset or DataLoader; None where there is none.
    """

    source: Any = None


@dataclass(frozen=True)
class OwnData:
    """A kind of data that prepares its own inputs: samples are ``(input, target)``.

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
        kind = cast(Task, "classify" if task == "auto" else checks.one_of("task", task, PHOTO_TASKS))
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

    def read(self, recipe: Recipe, classes: Sequence[str] | None = None) -> Splits:
        """The data as far as it is known without reading it."""
        return Splits(self._examples(self.train), self._examples(self.val), self._examples(None))

    def training_batches(self, recipe: Recipe, examples: Examples, preprocessing: Any, world: World) -> TrainingBatches:
        """Micro-batches from any attempt on."""
        if recipe.hflip is not None:
            raise ValueError(f"hflip must be left out for data that augments itself, got {recipe.hflip}")
        found: TrainingBatches = batches_from(
            _source(examples),
            accumulate=recipe.accumulate,
            seed=recipe.seed,
            sampler=recipe.sampler,
            **_shared(recipe, world),
        )
        return found

    def evaluation_batches(self, recipe: Recipe, examples: Examples, preprocessing: Any, world: World) -> Any:
        """Each sample of the Dataset or DataLoader once."""
        return eval_batches_from(_source(examples), **_shared(recipe, world))

    def trial_batch(
        self, recipe: Recipe, examples: Examples, preprocessing: Any, batches: TrainingBatches, device: torch.device
    ) -> tuple[Any, Tensor, str]:
        """The first batch: nothing else says what the samples look like."""
        inputs, target = next(batches.batches(0))
        return inputs, target, f"inputs of shape {tuple(inputs.shape[1:])}"

    def prefer(self, recipe: Recipe, splits: Splits | None, device: torch.device) -> Recipe:
        """As for photos."""
        return photos.prefer(recipe, splits, device)

    def criterion(self, recipe: Recipe, examples: Examples) -> Callable[..., Tensor]:
        """As for photos."""
        return photos.criterion(recipe, examples)

    def target(self, recipe: Recipe, examples: Examples, *, with_weights: bool = True) -> Target:
        """As for photos."""
        return photos.target(recipe, examples, with_weights=with_weights)

    def preprocessing(self, recipe: Recipe, examples: Examples, target: Target, device: torch.device) -> Preprocessing:
        """As for photos: what :func:`hone.load` tells of the network's usual input."""
        return photos.preprocessing(recipe, examples, target, device)

    def settled(self, preprocessing: Any) -> dict[str, Any]:
        """As for photos."""
        return photos.settled(preprocessing)

    def read_preprocessing(self, text: str) -> Preprocessing:
        """As for photos."""
        return photos.read_preprocessing(text)

    def inference(self, recipe: Recipe, preprocessing: Any, classes: Sequence[str]) -> Inference:
        """The plain call."""
        return Inference()

    def details(self, outputs: Outputs, examples: Examples, look: CloserLook | None) -> dict[str, Any]:
        """As for photos."""
        return photos.details(outputs, examples)

    def network(self, run: Run, state: dict[str, Tensor]) -> nn.Module:
        """As for photos."""
        return photos.network(run, state)

    def predict(self, loaded: Loaded, run: Run, paths: Sequence[str], asked: Asked) -> Iterator[Prediction]:
        """As for photos."""
        return photos.predict(loaded, run, paths, asked)

    def columns(self, classes: Sequence[str]) -> list[str]:
        """As for photos."""
        return photos.columns(classes)

    def _examples(self, data: Any) -> OwnExamples:
        count = 0 if data is None else len(_dataset(data))
        paths = [f"sample {row}" for row in range(count)]
        return OwnExamples(paths, self._targets(data, count), list(self.classes), self.task, source=data)

    def _targets(self, data: Any, count: int) -> Tensor:
        """The data set's ``targets``, as torchvision's have them; zeros where they are not known before training."""
        found = None if data is None else getattr(_dataset(data), "targets", None)
        if found is None:
            width = (len(self.classes),) if self.task == "multilabel" else ()
            return torch.zeros(count, *width, dtype=torch.int64 if self.task == "classify" else torch.float32)
        return torch.as_tensor(found)


def _source(examples: Examples) -> Any:
    return examples.source if isinstance(examples, OwnExamples) else None


def _shared(recipe: Recipe, world: World) -> dict[str, Any]:
    return {
        "batch_size": recipe.batch_size,
        "workers": recipe.workers or 0,
        "rank": world.rank,
        "world_size": world.size,
        "device": world.device,
        "channels_last": recipe.layout != "contiguous",
    }


def _dataset(data: Any) -> Any:
    return data.dataset if isinstance(data, DataLoader) else data
