"""Two examples' shapes through model and loss before a run: what does not fit is said while nothing is written yet."""

from __future__ import annotations

import torch
from torch import Tensor

from hone.recipe.build import Job


def check_fits(job: Job) -> None:
    """Run a blank batch, or the first of the user's own data, through model and loss, without gradients, in eval mode.

    Args:
        job: before its first update; nothing of it changes.

    Raises:
        ValueError: the model can't take images of this size, or the loss can't take what the model gives.
    """
    size = job.preprocessing.image_size
    if job.own is not None:
        inputs, target = next(job.train.batches(0))
        what = f"inputs of shape {tuple(inputs.shape[1:])}"
    else:
        target, what = _targets(job), f"images of {size} px"
        inputs = torch.zeros(len(target), 3, size, size, device=job.world.device)
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


def _targets(job: Job) -> Tensor:
    """Targets of two examples, as training has them: mixed ones are a share of each class."""
    targets = job.splits.train.targets[:2].to(job.world.device)
    if job.splits.task == "classify" and job.recipe.augment == "strong":
        return torch.nn.functional.one_hot(targets, len(job.splits.classes)).float()
    return targets


def _loss_name(job: Job) -> str:
    return job.recipe.loss.name or "by default"


def _line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]
