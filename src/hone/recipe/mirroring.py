"""Whether training may mirror photos: not where a mirrored photo looks like another class."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from hone.data import Examples
from hone.data.seeding import derive
from hone.data.sides import tells_left_from_right
from hone.recipe.cached import begin_training, is_cacheable, probe_data, probed_examples
from hone.recipe.folds import out_of_fold
from hone.recipe.job import Job
from hone.recipe.own import OwnExamples
from hone.recipe.start import probe_features
from hone.transfer.probe import can_probe, head_features

#: Photos that are looked at, and classes that they are of.
_PHOTOS, _CLASSES = 400, 20
#: Mirrored photos are told apart worse if at least so much more of them is wrong, and so many standard errors more.
_WORSE, _DOUBTS = 0.02, 2.0


def settle_mirroring(job: Job) -> None:
    """Decide whether training mirrors photos where the recipe leaves it open; what is decided is in the recipe.

    Half of the photos are mirrored by default, which makes two of each; but a mirrored digit, letter, arrow or photo
    lying on its side is a wrong example. A probe is fitted to some photos and asked about others, as they are and
    mirrored: if it is worse at the mirrored ones by more than chance would have it, photos stay as they are.

    Clips, images with masks, and volumes go by the names of their classes alone.

    Args:
        job: with its model, before its first update; recipe, batches and remarks are changed, its weights are not.
    """
    recipe, splits = job.recipe, job.splits
    if recipe.hflip is not None or isinstance(splits.train, OwnExamples) or not _would_mirror(job):
        return
    hflip, why = True, "class names speak of sides"
    if tells_left_from_right(splits.train.classes):
        hflip = False
    elif type(splits.train) is not Examples:
        return
    elif recipe.strategy in ("probe", "finetune") and job.target.origin and can_probe(job.model, splits.task):
        hflip, why = _by_probe(job)
    job.recipe = dataclasses.replace(recipe, hflip=hflip)
    if not hflip:
        job.train = job.kind.training_batches(job.recipe, splits.train, job.preprocessing, job.world)
        job.remarks.append(("mirrored", f"no {splits.train.noun}: {why}  (--hflip to mirror them)"))


def _would_mirror(job: Job) -> bool:
    recipe = job.recipe
    strengths = ("strong",) if job.splits.task.endswith("volume") else ("light", "strong")
    augments = recipe.augment in strengths and recipe.strategy != "probe"
    return augments or (bool(recipe.probe_views) and recipe.head == "probe")


def _by_probe(job: Job) -> tuple[bool, str]:
    """Whether mirrored photos are as good, and what was found, the same on all processes."""
    found = _found_by_probe(job) if job.world.is_first else (True, "")
    answer: tuple[bool, str] = job.world.gather(found)[0]
    return answer


def _found_by_probe(job: Job) -> tuple[bool, str]:
    examples, task = probed_examples(job), job.splits.task
    chosen = _some(examples, derive("mirrored", job.recipe.seed))
    if chosen is None:
        return True, ""
    rows, target = chosen
    some = job.evaluation(examples.take(rows.numpy()), whole=True)
    stores = job.recipe.head == "probe" and is_cacheable(job)  # the probe will ask for all of them
    plain = _stored(job)[rows] if stores else _features(job, some)
    both = torch.stack([plain, _features(job, ((inputs.flip(-1), *rest) for inputs, *rest in some))], 1)
    begin_training(job)
    outputs = int(target.max()) + 1 if task == "classify" else target[:1].numel()
    logits = out_of_fold(plain, target, outputs, task, 2, job.recipe.seed, judged=both)
    errors = [_errors(logits[:, side], target, task) for side in range(2)]
    excess = errors[1] - errors[0]
    doubt = float(excess.std()) / math.sqrt(len(excess))
    if float(excess.mean()) < max(_WORSE, _DOUBTS * doubt):
        return True, ""
    right = " and ".join(f"{max(1 - float(part.mean()), 0.0):.0%}" for part in errors)
    verb = f"explains {right}" if task == "regress" else f"gets {right} right"
    return False, f"a probe {verb} of photos as they are and mirrored"


def _stored(job: Job) -> Tensor:
    """Features of all photos that a probe is fitted to, as they are; they are kept for it."""
    plain = dataclasses.replace(job, recipe=dataclasses.replace(job.recipe, probe_views=0))
    with probe_data(plain) as data:
        return probe_features(plain, data)[0]


def _features(job: Job, batches: Iterable[Any]) -> Tensor:
    with job.precision.autocast():
        return head_features(job.model, batches)[0]


def _some(examples: Examples, seed: int) -> tuple[Tensor, Tensor] | None:
    """Rows of some photos and their targets, classes counted anew; None where there are too few to fit to and ask of.

    Example:
        >>> targets = torch.arange(90) % 30
        >>> rows, found = _some(Examples(["photo"] * 90, targets, [f"class {k}" for k in range(30)]), seed=0)
        >>> torch.bincount(found).tolist() == [3] * 20, len(rows)
        (True, 60)
    """
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(len(examples), generator=generator)
    if examples.task != "classify":
        return (order[:_PHOTOS], examples.targets[order[:_PHOTOS]]) if len(examples) >= 4 else None
    counts = examples.counts()
    kinds = [kind for kind in torch.randperm(len(counts), generator=generator).tolist() if counts[kind] >= 2][:_CLASSES]
    if len(kinds) < 2:
        return None
    groups = [order[examples.targets[order] == kind][: max(_PHOTOS // len(kinds), 2)] for kind in kinds]
    return torch.cat(groups), torch.cat([torch.full_like(rows, place) for place, rows in enumerate(groups)])


def _errors(logits: Tensor, target: Tensor, task: str) -> Tensor:
    """(N,): whether a sample is wrong, the share of its labels that are, or its squared error in variances."""
    if task == "regress":
        target = target.float().reshape(len(target), -1)
        return (F.mse_loss(logits, target, reduction="none") / target.var(0).clamp(min=1e-12)).mean(1)
    if task == "multilabel":
        return ((logits > 0) != (target > 0)).float().mean(1)
    return (logits.argmax(1) != target).float()
