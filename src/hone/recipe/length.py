"""A run on a processor whose length nothing says is longer where the source's features say little of the labels."""

from __future__ import annotations

import dataclasses

from hone.recipe.cached import probe_data
from hone.recipe.choices import passes
from hone.recipe.job import Job
from hone.recipe.start import probe_features
from hone.recipe.strategy import trains_from_probe
from hone.transfer.probe import explained

#: Below this share of the labels that a probe explains, most is still to be learned.
_LITTLE = 0.5
#: A run then sees about so many images, at least and at most so often.
_IMAGES, _EPOCHS = 3_200, (3, 8)


def lengthen(job: Job) -> None:
    """Give a run that fine-tunes a whole network from a probe more passes if the probe explains little, and say so.

    Args:
        job: before its optimizer and schedule are made; its recipe and remarks are changed, its weights are not.
    """
    recipe, per_epoch = job.recipe, job.train.updates_per_epoch
    is_tuned = recipe.strategy == "finetune" and trains_from_probe(recipe, job.target, job.splits)
    epochs = passes(_IMAGES, len(job.splits.train), *_EPOCHS)
    if job.world.device.type != "cpu" or not is_tuned or epochs * per_epoch <= int(recipe.updates or 0):
        return
    share = _explained(job)
    if share is not None and share < _LITTLE:
        job.recipe = dataclasses.replace(recipe, updates=epochs * per_epoch)
        job.remarks.append(("length", f"{epochs} epochs: a probe explains {max(share, 0.0):.0%} of the labels only"))


def _explained(job: Job) -> float | None:
    """What the source's features say of the training labels; they are kept for the probe, if there is room."""
    with probe_data(job) as data:
        features, target = probe_features(job, data)
    return explained(features[: data.count], target[: data.count], task=job.splits.task)
