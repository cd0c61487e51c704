"""The lines of ``metrics.jsonl``: losses averaged and clocks read between one line and the next."""

from __future__ import annotations

import time
from typing import Any

from torch import Tensor

from hone.recipe.job import Job
from hone.recipe.state import RunState
from hone.training import Step


class Meter:
    """Collects steps without reading the device, and makes a line of them when one is asked for."""

    def __init__(self, job: Job, state: RunState) -> None:
        self._job, self._state = job, state
        self._clock = time.monotonic()
        self._mark = state.seconds - state.evaluating
        self._loss: Tensor | None = None
        self._count = 0

    def add(self, step: Step) -> None:
        """Count a step."""
        self._loss = step.loss if self._loss is None else self._loss + step.loss
        self._count += 1

    def stop_clock(self) -> None:
        """Bring the state's seconds up to now."""
        now = time.monotonic()
        self._state.seconds += now - self._clock
        self._clock = now

    def line(self, step: Step) -> dict[str, Any]:
        """The line about the steps since the last one."""
        self.stop_clock()
        job, loop = self._job, self._state.loop
        spent = self._state.seconds - self._state.evaluating
        samples = self._count * job.samples_an_update
        loss = job.world.total(self._loss) / (self._count * job.world.size) if self._loss is not None else 0.0
        line = {
            "kind": "train",
            "update": loop.update,
            "attempt": loop.attempt,
            "epoch": self._epoch(),
            "loss": float(loss),
            "lr": {str(g["name"]): float(g["lr"]) for g in job.optimizer.param_groups},
            "samples_per_second": samples / max(spent - self._mark, 1e-9),
            "samples_an_update": samples // self._count,
            "skipped": self._state.skipped,
        }
        if step.grad_norm is not None:
            line["grad_norm"] = float(step.grad_norm)
        self._mark, self._loss, self._count = spent, None, 0
        return line

    def evaluation_line(self, metrics: dict[str, float], is_best: bool) -> dict[str, Any]:
        """The line about an evaluation."""
        self.stop_clock()
        return {
            "kind": "eval",
            "update": self._state.loop.update,
            "epoch": self._epoch(),
            "seconds": self._state.seconds,
            "metrics": metrics,
            "best": is_best,
        }

    def _epoch(self) -> float:
        return self._state.loop.attempt / self._job.train.updates_per_epoch
