"""What is frozen runs once: training, evaluation and probe from stored features, where the recipe allows it."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import chain
from typing import Any

import torch
from torch import Tensor

from hone.data import Examples, Order
from hone.data.cache_folder import cache_folder
from hone.data.decoded_cache import parse_bytes
from hone.recipe.job import Job
from hone.recipe.kinds.views import Views, name_of_inputs
from hone.transfer import (
    CannotCacheError,
    FeatureCache,
    Features,
    FreezePlan,
    NoRoomError,
    StoredFeatures,
    apply_freeze,
    ever_trained,
)

#: Rows of features that are gathered at a time where nothing else says how many.
_CHUNK = 256


@dataclass(frozen=True)
class FeatureBatches:
    """Each sample of a data set once, as features: what an evaluation takes.

    Attributes:
        stored: of the samples; None where there are none.
        targets: of the samples, (N, ...).
        device: where the batches are wanted.
        batch_size: samples of a batch.
    """

    stored: StoredFeatures | None
    targets: Tensor
    device: torch.device
    batch_size: int = _CHUNK

    def __iter__(self) -> Iterator[tuple[Features, Tensor, Tensor]]:
        if self.stored is None:
            return
        for rows in torch.split(torch.arange(len(self.targets)), self.batch_size):
            yield self.stored[rows].to(self.device), self.targets[rows].to(self.device), rows


@dataclass(frozen=True)
class CachedTraining:
    """Micro-batches of stored features, in the order in which the photos would come.

    Attributes:
        stored: of all views.
        views: the photos' views.
        order: which photos come next.
        device: where the batches are wanted.
    """

    stored: StoredFeatures
    views: Views
    order: Order
    device: torch.device

    @property
    def updates_per_epoch(self) -> int:
        """As without a cache."""
        return self.order.updates_per_epoch

    def batches(self, attempt: int = 0) -> Iterator[tuple[Features, Tensor]]:
        """Features and targets from ``attempt`` on."""
        for now, micro in self.order.keys(attempt):
            rows = self.views.rows(self.order, now, micro)
            yield self.stored[rows].to(self.device), self.views.targets(rows).to(self.device)

    def close(self) -> None:
        """There is nothing to end."""


def cache_training(job: Job) -> str:
    """Let a job train and evaluate from stored features, if what it trains leaves a part frozen for good.

    Args:
        job: before its first update; its batches are replaced.

    Returns:
        What was done, or why not; empty where nobody would expect it.

    Raises:
        ValueError: ``views`` was stated, and the frozen part can't run once.
    """
    reason = _unfit(job)
    if reason is None:
        try:
            return _cached(job)
        except (CannotCacheError, NoRoomError) as error:
            reason = str(error)
    if job.recipe.views is not None:
        raise ValueError(f"views needs a frozen part that runs once: {reason or 'nothing is frozen for good'}")
    return f"run in every epoch: {reason}" if reason else ""


def _unfit(job: Job) -> str | None:
    """Why there is no point in trying; an empty reason goes without saying, None says that there is one."""
    recipe = job.recipe
    if not is_cacheable(job) or recipe.strategy == "probe":
        return ""
    if recipe.augment != "none" and recipe.views is None:
        return (
            "" if recipe.train == "all" else "photos are augmented anew each time (augment none or views K fixes them)"
        )
    return None


def _cached(job: Job) -> str:
    recipe, world = job.recipe, job.world
    views: Views = job.kind.views(recipe, job.splits.train, job.preprocessing, world)  # type: ignore[attr-defined]
    begin_training(job)
    cache = FeatureCache(
        job.model, _folder(), budget=parse_bytes(recipe.cache), trains=ever_trained(job.model, job.plan)
    )
    try:
        with job.precision.autocast():
            stored = cache.features(views, count=len(views), data=views.name)
            job.train = CachedTraining(stored, views, views.order(), world.device)
            val = job.splits.val
            if len(val):
                kept = cache.features(job.evaluation(val), count=len(val), data=_name(job, val))
                job.validation = FeatureBatches(kept, val.targets, world.device, int(recipe.batch_size or _CHUNK))
    except BaseException:
        cache.remove()
        raise
    slots = " + ".join("x".join(map(str, shape.sizes)) for shape in stored.layout.slots)
    return f"frozen part runs once: {len(views) + len(val):,} x {slots} numbers {', '.join(dict.fromkeys(cache.notes))}"


@dataclass(frozen=True)
class ProbeData:
    """What a probe is fitted to and measured on, as the network takes it: stored features, or else photos.

    Attributes:
        train: batches that begin with all photos as they are; further views follow.
        count: how many photos come first.
        val: batches of the validation photos.
    """

    train: Iterable[Any]
    count: int
    val: Iterable[Any]


@contextmanager
def probe_data(job: Job) -> Iterator[ProbeData]:
    """The data of a probe, while the network takes it; afterwards the network is as before."""
    if isinstance(job.train, CachedTraining):
        stored, kept = job.train.stored, job.train.views
        train = FeatureBatches(stored, kept.targets(torch.arange(len(kept))), job.world.device)
        yield ProbeData(train, len(job.splits.train), job.validation)
        begin_training(job)
        return
    cache, examples = _head_cache(job), probed_examples(job)
    views = _further_views(job, examples)
    try:
        found = None if cache is None else _of_head(job, cache, examples, views)
        if found is None:
            found = ProbeData(_chained(job.evaluation(examples, whole=True), views), len(examples), job.validation)
        yield found
    finally:
        if cache is not None:
            cache.remove()
        begin_training(job)


def probed_examples(job: Job, most: int = 10_000) -> Examples:
    """The training examples that a probe is fitted to; more would not make a better one."""
    examples = job.splits.train
    if len(examples) <= most or not hasattr(job.kind, "views"):
        return examples
    order = torch.randperm(len(examples), generator=torch.Generator().manual_seed(job.recipe.seed))
    return examples.take(order[:most].numpy())


def _head_cache(job: Job) -> FeatureCache | None:
    if not is_cacheable(job):
        return None
    job.model.train()
    trains = apply_freeze(job.model, FreezePlan("head"))
    budget = parse_bytes(job.recipe.cache)
    return FeatureCache(job.model, _folder(), budget=budget, trains=trains, folds=True)  # nothing trains from them


def is_cacheable(job: Job) -> bool:
    """Whether the data can be told apart by name, there is room, and nothing else stands in for the modules' calls."""
    recipe = job.recipe
    bare = job.world.size == 1 and recipe.lora is None and not (recipe.compile or recipe.checkpointing)
    is_single = getattr(job.preprocessing, "views", 1) == 1  # an evaluation sees each sample once
    return bare and is_single and hasattr(job.kind, "views") and parse_bytes(recipe.cache) > 0


def _of_head(job: Job, cache: FeatureCache, examples: Examples, views: Views | None) -> ProbeData | None:
    device, size = job.world.device, int(job.recipe.batch_size or _CHUNK)

    def features(part: Examples) -> FeatureBatches:
        if not len(part):
            return FeatureBatches(None, part.targets, device)
        batches: Any = job.evaluation(part, whole=True)
        return FeatureBatches(
            cache.features(batches, count=len(part), data=_name(job, part)), part.targets, device, size
        )

    try:
        with job.precision.autocast():
            plain, val, further = features(examples), features(job.splits.val), None
            if views is not None:
                stored = cache.features(views, count=len(views), data=views.name)
                further = FeatureBatches(stored, views.targets(torch.arange(len(views))), device, size)
    except (CannotCacheError, NoRoomError):
        cache.remove()
        return None
    return ProbeData(_chained(plain, further), len(examples), val)


def _chained(first: Iterable[Any], second: Iterable[Any] | None) -> Iterable[Any]:
    return first if second is None else chain(first, second)


def _further_views(job: Job, examples: Examples) -> Views | None:
    """The augmented views of a probe, if there are any."""
    if not job.recipe.probe_views or not hasattr(job.kind, "views"):
        return None
    recipe = dataclasses.replace(job.recipe, views=job.recipe.probe_views, augment="light")
    views: Views = job.kind.views(recipe, examples, job.preprocessing, job.world)
    return views


def begin_training(job: Job) -> None:
    """Put the model back into the modes of training, with what the plan freezes frozen."""
    job.model.train()
    apply_freeze(job.model, job.plan)


def _name(job: Job, examples: Examples) -> str:
    return name_of_inputs(examples, job.preprocessing, job.recipe)


def _folder() -> Any:
    return cache_folder() / "features"
