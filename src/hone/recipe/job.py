"""A run that is ready to start: its objects, and the weights as they are saved and put back."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn
from torch.optim import Optimizer

from hone.data import Examples, Splits
from hone.precision import Precision
from hone.recipe.kinds.kind import Kind, TrainingBatches
from hone.recipe.schema import Recipe
from hone.recipe.source import Target
from hone.recipe.state import Extension
from hone.recipe.units import Units
from hone.training import Inference, World
from hone.transfer import FreezePlan, find_head, merge_adapters, merged_state_dict


@dataclass
class Job:
    """A run that is ready to start.

    Attributes:
        recipe: with every choice made.
        criterion: the loss.
        schedule: bound to the run's length.
        kind: of data.
        extensions: how often, since it was planned, the run was given another end.
        remarks: (subject, text) about what was decided and done for it.
    """

    recipe: Recipe
    world: World
    splits: Splits
    target: Target
    preprocessing: Any
    criterion: Callable[..., Tensor]
    plan: FreezePlan
    precision: Precision
    train: TrainingBatches
    kind: Kind
    units: Units | None = None
    optimizer: Optimizer = dataclasses.field(init=False)
    schedule: Any = dataclasses.field(init=False)
    extensions: tuple[Extension, ...] = ()
    remarks: list[tuple[str, str]] = dataclasses.field(default_factory=list)

    @property
    def model(self) -> nn.Module:
        """The model that is trained."""
        return self.target.model

    @property
    def total_updates(self) -> int:
        """Where the run ends: as planned, or as it was extended last; a probe makes no updates."""
        if self.recipe.strategy == "probe":
            return 0
        return self.extensions[-1].total_updates if self.extensions else int(self.recipe.updates or 0)

    @property
    def samples_an_update(self) -> int:
        """Of all processes."""
        return int(self.recipe.batch_size or 1) * self.recipe.accumulate

    def weights(self) -> dict[str, Tensor]:
        """The weights as they are saved: adapters merged, and for regression in the target's own units."""
        state = merged_state_dict(self.model)
        return state if self.units is None else self.units.fold(state, find_head(self.model)[0].name)

    def restore(self, weights: dict[str, Tensor]) -> None:
        """Put saved weights into the model, which from then on has no adapters and is trained no more."""
        merge_adapters(self.model).load_state_dict(weights)

    @functools.cached_property
    def validation(self) -> Any:
        """Batches that see each validation example once over all processes."""
        return self.evaluation(self.splits.val)

    def evaluation(self, examples: Examples, *, whole: bool = False) -> Any:
        """Batches that see each of the examples once over all processes, or on each process (``whole``)."""
        world = World(device=self.world.device) if whole else self.world
        return self.kind.evaluation_batches(self.recipe, examples, self.preprocessing, world)

    @functools.cached_property
    def inference(self) -> Inference:
        """How outputs come about in an evaluation."""
        return self.kind.inference(self.recipe, self.preprocessing, self.splits.classes)
