"""How the output layer starts: fitted to what the source network already sees, or at random."""

from __future__ import annotations

import torch
from torch import Tensor

from hone.recipe.cached import ProbeData
from hone.recipe.folds import out_of_fold
from hone.recipe.job import Job
from hone.training import Outputs
from hone.transfer import find_head
from hone.transfer.probe import fit_probe, head_features


def start_from_probe(job: Job, data: ProbeData) -> Outputs | None:
    """Fit the new output layer to the frozen source's features of the training photos, each seen once.

    Training then begins where the probe ends (LP-FT), and the best weights are never worse than the probe's.

    Args:
        job: before its first update; its head is changed in place.
        data: what the network makes its features from.

    Returns:
        Where the recipe asks for folds, what probes that have not seen them say of all samples.

    Raises:
        ValueError: the output layer is no linear layer.

    Reference:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    """
    features, target = probe_features(job, data)
    head = dict(find_head(job.model)[0].layer.named_parameters())
    outputs = len(head["weight"])
    weight, bias = fit_probe(features, target, outputs, task=job.splits.task, independent=data.count)
    with torch.no_grad():
        head["weight"].copy_(weight)
        if "bias" in head:
            head["bias"].copy_(bias)
    if job.recipe.folds is None:
        return None
    features, target = features[: data.count], target[: data.count]
    logits = out_of_fold(features, target, outputs, job.splits.task, job.recipe.folds, job.recipe.seed)
    loss = float(job.criterion(logits, job.splits.train.targets))
    return Outputs(logits, job.splits.train.targets, torch.arange(len(logits)), loss)


def probe_features(job: Job, data: ProbeData) -> tuple[Tensor, Tensor]:
    """The source's features of the training photos, (N, F), and the targets as the loss takes them."""
    with job.precision.autocast():
        features, target = head_features(job.model, data.train)
    return features, target if job.units is None else job.units.standardize(target)
