"""Two examples' shapes through model and loss before a run: what does not fit is said while nothing is written yet."""

from __future__ import annotations

import torch
from torch import Tensor

from hone.recipe.job import Job


def check_fits(job: Job) -> None:
    """Run a blank batch, or a first one, through model and loss, without gradients, in eval mode.

    Args:
        job: before its first update; nothing of it changes.

    Raises:
        ValueError: the model can't take inputs of this size, or the loss can't take what the model gives.
    """
    inputs, target, what = job.kind.trial_batch(
        job.recipe, job.splits.train, job.preprocessing, job.train, job.world.device
    )
    job.model.eval()
    with torch.no_grad(), job.precision.autocast():
        try:
            logits = job.model(inputs)
        except Exception as error:  # whatever a library or a user's module raises for an input that does not fit
            raise ValueError(f"model {job.target.name} can't take {what}: {_line(error)}") from error
        try:
            loss = job.criterion(logits, target)
        except Exception as error:
            raise ValueError(f"loss {_loss_name(job)} does not fit this task and model: {_line(error)}") from error
    if not isinstance(loss, Tensor) or loss.ndim:
        found = f"shape {tuple(loss.shape)}" if isinstance(loss, Tensor) else type(loss).__name__
        raise ValueError(f"loss {_loss_name(job)} must give one number (a 0-d tensor), got {found}")


def _loss_name(job: Job) -> str:
    return job.recipe.loss.name or "by default"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
