"""How the output layer starts: fitted to what the source network already sees, or at random."""

from __future__ import annotations

import torch

from hone.recipe.build import Job
from hone.recipe.own import OwnData
from hone.transfer import find_head
from hone.transfer.probe import fit_probe, head_features

#: Features of more samples than this would not make a better start.
_ENOUGH = 10_000


def start_from_probe(job: Job) -> None:
    """Fit the new output layer to the frozen source's features of the training photos, each seen once.

    Training then begins where the probe ends (LP-FT), and the best weights are never worse than the probe's.

    Args:
        job: before its first update; its head is changed in place.

    Raises:
        ValueError: the output layer is no linear layer.

    Reference:
        Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022.
    """
    examples = job.splits.train
    if len(examples) > _ENOUGH and not isinstance(job.kind, OwnData):
        order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(job.recipe.seed))
        examples = examples.take(order[:_ENOUGH].numpy())
    batches = job.evaluation(examples, whole=True)
    with job.precision.autocast():
        features, target = head_features(job.model, batches)
    weight, bias = fit_probe(features, target, len(examples.classes))
    head = dict(find_head(job.model)[0].layer.named_parameters())
    with torch.no_grad():
        head["weight"].copy_(weight)
        if "bias" in head:
            head["bias"].copy_(bias)
