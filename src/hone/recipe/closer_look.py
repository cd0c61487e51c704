"""Another look at single examples with the best weights, at the end of a run: for pictures, and for what takes long."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors.torch import load_file
from torch import Tensor

if TYPE_CHECKING:
    from hone.data import Examples
    from hone.recipe.folder import Run
    from hone.recipe.job import Job


@dataclass(frozen=True)
class CloserLook:
    """What an evaluation does not keep: inputs, targets and logits of a few examples, one after another.

    Args:
        job: whose model, which from the first look on has the best weights.
        run: its folder.
        examples: what the result is measured on.
    """

    job: Job
    run: Run
    examples: Examples

    @property
    def folder(self) -> Path:
        """Where pictures go."""
        return self.run.path / "cases"

    def __call__(self, rows: Sequence[int]) -> Iterator[tuple[int, Any, Tensor, Tensor]]:
        """(row, input, target, logits) of each of some examples."""
        job = self.job
        job.restore(load_file(self.run.best if self.run.best.exists() else self.run.last))
        job.model.eval()
        for inputs, target, indices in job.evaluation(self.examples.take(rows), whole=True):
            with torch.inference_mode(), job.precision.autocast():
                logits = job.inference.infer(job.model, inputs)
            for place, index in enumerate(indices.tolist()):
                yield rows[index], inputs[place], target[place], logits[place]
