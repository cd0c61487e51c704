"""The length of a run from the minutes that it may take, by the time that its own steps take here."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from hone.data import Splits
from hone.precision import Precision
from hone.recipe.averages import CHEAP, FEW, MANY
from hone.recipe.kinds.kind import TrainingBatches
from hone.recipe.schema import Recipe

#: Of the minutes that are given; the rest is for starting, writing and reporting.
_SPENT = 0.85
#: Longer runs gain nothing on small data (BiT-HyperRule), and repeat large data more than often enough.
_ENOUGH_UPDATES, _ENOUGH_EPOCHS = 500, 30


@dataclass(frozen=True)
class Pace:
    """How long the parts of a run take, in seconds.

    Attributes:
        update: one update, its data included.
        evaluation: one pass over the validation data.
        probe: features of all images, and the fit.
    """

    update: float
    evaluation: float
    probe: float

    def updates(self, minutes: float, updates_per_epoch: int, *, averaged: bool = True) -> int:
        """How many updates there is time for, with an evaluation an epoch and those of the averages at the end.

        Example:
            >>> Pace(update=1.0, evaluation=5.0, probe=20.0).updates(minutes=2.0, updates_per_epoch=10)
            38
        """
        seconds = 60 * _SPENT * minutes - self.probe
        tries = (MANY if MANY * self.evaluation <= CHEAP * seconds else FEW) if averaged else 0
        left = seconds - tries * self.evaluation
        most = max(_ENOUGH_UPDATES, 10 * updates_per_epoch)
        return min(
            int(left / (self.update + self.evaluation / updates_per_epoch)), most, _ENOUGH_EPOCHS * updates_per_epoch
        )


def within_budget(recipe: Recipe, pace: Pace, updates_per_epoch: int, *, can_probe: bool) -> tuple[Recipe, str]:
    """The recipe with as many updates as its minutes allow; the probe alone where they don't allow an epoch.

    Args:
        recipe: with a budget, settled.
        pace: of the run.
        updates_per_epoch: of the training data.
        can_probe: whether there is a probe to fall back on.

    Raises:
        ValueError: there is no time for an epoch, and no probe.
    """
    minutes = float(recipe.budget or 0.0)
    updates = pace.updates(minutes, updates_per_epoch, averaged=recipe.averages not in (None, "none"))
    if updates >= updates_per_epoch:
        every = min(recipe.eval_every or updates, updates)
        chosen = dataclasses.replace(recipe, updates=updates, eval_every=every, budget=None)
        return chosen, f"{minutes:g} min allow {updates} updates of {pace.update:.2g} s"
    epoch = pace.update * updates_per_epoch / 60
    if not can_probe:
        raise ValueError(
            f"budget of {minutes:g} min is too short for one epoch ({epoch:.2g} min), and there is no probe"
        )
    chosen = dataclasses.replace(recipe, strategy="probe", head="probe", updates=1, eval_every=1, budget=None)
    return chosen, f"{minutes:g} min are too short for one epoch ({epoch:.2g} min): the probe alone"


def measure_pace(
    model: nn.Module,
    criterion: Callable[..., Tensor],
    precision: Precision,
    train: TrainingBatches,
    splits: Splits,
    recipe: Recipe,
) -> Pace:
    """Time one batch forward and backward, and one forward; the model is as before.

    Args:
        model: on its device, in the modes of training.
        criterion: the loss.
        precision: for autocast.
        train: the batches.
        splits: how many samples there are.
        recipe: batch size and accumulation.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}
    update, forward = float("inf"), float("inf")
    stream = train.batches(0)
    for _ in range(2):
        start = time.perf_counter()
        inputs, target = next(stream)
        with precision.autocast():
            loss = criterion(model(inputs), target)
        loss.backward()  # type: ignore[no-untyped-call]
        loss.item()  # waits for a device
        update = min(update, time.perf_counter() - start)
        model.zero_grad(set_to_none=True)
        start = time.perf_counter()
        with torch.no_grad(), precision.autocast():
            _wait(model(inputs))
        forward = min(forward, time.perf_counter() - start)
    _close(stream)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
    batches = [len(part) / int(recipe.batch_size or 1) for part in (splits.train, splits.val)]
    return Pace(recipe.accumulate * update, batches[1] * forward, sum(batches) * forward + 2.0)


def _wait(output: Any) -> None:
    if isinstance(output, Tensor):
        output.float().sum().item()


def _close(stream: Any) -> None:
    if hasattr(stream, "close"):
        stream.close()
