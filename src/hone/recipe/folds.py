"""A probe measured on every image, each by a fit that has not seen it: for too few images to hold some out."""

from __future__ import annotations

import dataclasses

import torch
from torch import Tensor

from hone import checks
from hone.data import Splits
from hone.data.seeding import derive
from hone.transfer.probe import fit_probe


def whole(splits: Splits) -> Splits:
    """The images of train and val together, to be fitted to and, fold by fold, to be measured on.

    Example:
        >>> from hone.data import Examples
        >>> examples = Examples(["a", "b", "c"], torch.tensor([0, 1, 1]), ["daisy", "rose"])
        >>> len(whole(Splits(examples.take([0, 1]), examples.take([2]), examples.take([]))).train)
        3
    """
    train, val = splits.train, splits.val
    together = dataclasses.replace(
        train,
        paths=[*train.paths, *val.paths],
        targets=torch.cat([train.targets, val.targets]),
        stats=None,
    )
    return dataclasses.replace(splits, train=together, val=together)


def out_of_fold(
    features: Tensor, target: Tensor, outputs: int, task: str, folds: int, seed: int, judged: Tensor | None = None
) -> Tensor:
    """The logits of every sample from a probe that was fitted without its fold.

    Args:
        features: (N, F).
        target: as :func:`hone.transfer.probe.fit_probe` takes it.
        outputs: of the layer.
        task: classify, multilabel or regress.
        folds: how many; classes are spread evenly over them.
        seed: of the division.
        judged: (N, ..., F), other features of the same samples that the logits are of; None for the same.

    Returns:
        (N, ..., outputs) float32.

    Raises:
        ValueError: a class has fewer samples than 2, or there are fewer than ``folds``.

    Example:
        >>> x = torch.tensor([[0.0], [0.1], [0.9], [1.0]])
        >>> out_of_fold(x, torch.tensor([0, 0, 1, 1]), 2, "classify", 2, seed=0).argmax(1).tolist()
        [0, 0, 1, 1]
    """
    count = len(target)
    if folds > count:
        raise checks.invalid("folds", f"be at most the number of images, {count}", folds)
    if task.startswith("classify") and int(torch.bincount(target, minlength=outputs).min()) < 2:
        raise ValueError("folds needs at least 2 images of each class: one to fit to, one to measure on")
    order = torch.randperm(count, generator=torch.Generator().manual_seed(derive("folds", seed)))
    kinds = target if task.startswith("classify") else torch.zeros(count, dtype=torch.int64)
    places = torch.empty(count, dtype=torch.int64)
    for kind in range(int(kinds.max()) + 1):
        members = order[kinds[order] == kind]
        places[members] = torch.arange(len(members)) % folds
    judged = features if judged is None else judged
    logits = torch.empty(*judged.shape[:-1], outputs)
    for fold in range(int(places.max()) + 1):
        held = places == fold
        weight, bias = fit_probe(features[~held], target[~held], outputs, task=task)
        logits[held] = judged[held] @ weight.T + bias
    return logits
