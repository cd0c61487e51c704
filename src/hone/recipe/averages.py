"""Averages of a run's weights, tried at its end and kept where validation says so."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from torch import Tensor

from hone.recipe.job import Job
from hone.training import Step, write_tensors
from hone.training.folders import written_beside
from hone.transfer import apply_freeze
from hone.transfer.averaging import AverageState, Ema, interpolate, reestimate_norms

#: The moving average looks back over about this share of the run.
_HORIZON = 0.2
#: Points on the line from the probe to the tuned weights; each costs an evaluation.
_LINE = (0.5,)


class Averages:
    """The moving average of a run, and where it began.

    Args:
        job: before its first update, or as its checkpoint left it.
        folder: where the weights at the start are kept until the end.
    """

    def __init__(self, job: Job, folder: Path) -> None:
        self._job, self._start = job, folder / "start.safetensors"
        self.is_on = job.recipe.strategy == "finetune" and job.recipe.lora is None and len(job.splits.val) > 0
        self._ema = Ema(max(0.0, 1 - 1 / max(_HORIZON * job.total_updates, 1.0)))
        self._state = AverageState(job.model) if self.is_on else None

    def begin(self) -> None:
        """Keep the weights that fine-tuning starts from."""
        if self.is_on and self._job.world.is_first:
            self._start.parent.mkdir(parents=True, exist_ok=True)
            with written_beside(self._start) as draft:
                write_tensors(draft, self._job.model.state_dict())

    def take(self, step: Step) -> None:
        """Count the weights after an update."""
        if self._state is not None and not step.skipped:
            self._state.take(self._job.model, self._ema.share(step.update))

    def tensors(self) -> dict[str, Tensor]:
        """For the checkpoint."""
        return {} if self._state is None else self._state.weights()

    def load(self, tensors: Mapping[str, Tensor]) -> None:
        """From a checkpoint."""
        if self._state is not None and tensors:
            self._state.load(tensors)

    def candidates(self) -> Iterator[str]:
        """Put one average after another into the model, and say what it is; at the end the model is as it was."""
        if self._state is None:
            return
        model = self._job.model
        last = {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
        try:
            model.load_state_dict(self._state.weights())
            self._renew_norms()
            yield "average of the last updates"
            if self._job.recipe.head == "probe" and self._start.exists():
                first = {name: tensor.to(last[name].device) for name, tensor in load_file(self._start).items()}
                for share in _LINE:
                    model.load_state_dict(interpolate(first, last, share))
                    self._renew_norms()
                    yield f"{share:.0%} of the way from the probe"
        finally:
            model.load_state_dict(last)

    def end(self) -> None:
        """Delete what was kept for the end."""
        if self._job.world.is_first:
            self._start.unlink(missing_ok=True)

    def _renew_norms(self) -> None:
        job = self._job
        stream: Any = job.train.batches(0)
        batches = (next(stream)[0] for _ in range(job.train.updates_per_epoch * job.recipe.accumulate))
        job.model.train()
        apply_freeze(job.model, job.plan, max(job.total_updates - 1, 0))
        with job.precision.autocast():
            reestimate_norms(job.model, batches)
        if hasattr(stream, "close"):
            stream.close()
