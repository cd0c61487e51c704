"""What a run needs to know about its kind of data, and asks nobody else.

A kind is a module with these functions (or an object with these methods). The loop, the recipe and the commands know
no task: they ask the kind. ``preprocessing`` stands for a frozen dataclass of the kind's own with ``to_json()`` and
``describe()``: all that it takes to prepare an input as in training, kept in the run folder.

A kind whose training inputs can be the same in every epoch also has ``views(recipe, examples, preprocessing, world)``,
which gives them as :class:`hone.recipe.kinds.views.Views`: the frozen part of a network then runs over them once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from hone.data import Examples, Splits
from hone.training import Inference, Outputs, World

if TYPE_CHECKING:
    from hone.recipe.closer_look import CloserLook
    from hone.recipe.folder import Loaded, Run
    from hone.recipe.prediction import Asked, Prediction
    from hone.recipe.schema import Recipe
    from hone.recipe.source import Target


class TrainingBatches(Protocol):
    """Micro-batches for ever, a pure function of seed, attempt and place."""

    @property
    def updates_per_epoch(self) -> int: ...

    def batches(self, attempt: int = 0) -> Iterator[tuple[Any, Tensor]]:
        """(inputs, target) from ``attempt`` on, ``accumulate`` of them an attempt."""

    def close(self) -> None:
        """End the workers, if any."""


class Kind(Protocol):
    """One kind of data."""

    def read(self, recipe: Recipe, classes: Sequence[str] | None = None) -> Splits:
        """Look at ``recipe.data`` once: files, targets, parts, all that is wrong with it.

        Args:
            recipe: as the user stated it.
            classes: of a trained model that is tried on the data; None sees the classes from the data.
        """

    def prefer(self, recipe: Recipe, splits: Splits | None, device: torch.device) -> Recipe:
        """The recipe with its model, batch size and augmentation chosen where the user left them open.

        Rates, lengths and sizes may be chosen here too; what is left open is settled as for photos. ``splits`` is None
        where the data is not looked at.
        """

    def criterion(self, recipe: Recipe, examples: Examples) -> Callable[..., Tensor]:
        """The loss that the recipe names, or the kind's own."""

    def target(self, recipe: Recipe, examples: Examples, *, with_weights: bool = True) -> Target:
        """The network with its source's weights and an output layer for these examples."""

    def preprocessing(self, recipe: Recipe, examples: Examples, target: Target, device: torch.device) -> Any:
        """How a sample becomes an input."""

    def settled(self, preprocessing: Any) -> dict[str, Any]:
        """The options of the recipe that the preprocessing decides."""

    def read_preprocessing(self, text: str) -> Any:
        """The same from the text of ``preprocessing.json``."""

    def training_batches(self, recipe: Recipe, examples: Examples, preprocessing: Any, world: World) -> TrainingBatches:
        """What is trained on."""

    def evaluation_batches(
        self, recipe: Recipe, examples: Examples, preprocessing: Any, world: World
    ) -> Iterable[tuple[Any, Tensor, Tensor]]:
        """(inputs, target, indices), each example once over all processes, as often as it is iterated."""

    def trial_batch(
        self, recipe: Recipe, examples: Examples, preprocessing: Any, batches: TrainingBatches, device: torch.device
    ) -> tuple[Any, Tensor, str]:
        """Inputs and target of two examples as training has them, and what the inputs are called."""

    def inference(self, recipe: Recipe, preprocessing: Any, classes: Sequence[str]) -> Inference:
        """How outputs come about in an evaluation, and what is kept of them."""

    def details(self, outputs: Outputs, examples: Examples, look: CloserLook | None) -> dict[str, Any]:
        """What the result says about single classes and samples: fields of :class:`hone.report.Result`.

        Args:
            outputs: of the best weights.
            examples: that they are of.
            look: shows single examples again; None where the run was interrupted and has no time for it.
        """

    def network(self, run: Run, state: dict[str, Tensor]) -> nn.Module:
        """The run's network without its weights, built from the run folder, with an output layer as saved.

        Raises:
            ValueError: it can't be built from the recipe.
        """

    def predict(self, loaded: Loaded, run: Run, paths: Sequence[str], asked: Asked) -> Iterator[Prediction]:
        """What the model says of files and folders; the model is on the device that was asked for."""

    def columns(self, classes: Sequence[str]) -> list[str]:
        """What the scores of a prediction are called."""
