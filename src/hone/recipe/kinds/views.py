"""A fixed number of views of every sample: what training sees where it sees the same again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from hone import checks
from hone.data import Examples, Order, Preprocessing
from hone.data.assembly import Normalize
from hone.data.augmentation import Augmentation
from hone.data.order import chunks
from hone.data.photos import Photos
from hone.data.seeding import derive, restored_generators
from hone.data.sides import mirrors
from hone.data.stream import Stream
from hone.recipe.schema import Recipe
from hone.training import World
from hone.transfer import fingerprint

#: The share of the area that a crop keeps, the interpolation and the like are part of the code: a change counts on.
_VERSION = 1


class ViewsOf(Protocol):
    """How one kind of data makes a view.

    Attributes:
        side: to which samples are decoded, pixels.
    """

    side: int

    def view(self, row: int, seed: int) -> Tensor:
        """The bytes of a view of a sample, all of its chance drawn from one seed."""

    def inputs(self, views: Tensor) -> Tensor:
        """A batch of views as the model takes them."""


class PhotoViews:
    """Views of photos.

    Args:
        recipe: says the augmentation, the cache and the layout.
        examples: the photos.
        preprocessing: of the input.
        device: where the inputs are wanted.
    """

    def __init__(self, recipe: Recipe, examples: Examples, preprocessing: Preprocessing, device: torch.device) -> None:
        self.side = preprocessing.train_side
        self.photos = Photos(examples, self.side, preprocessing.interpolation, recipe.cache)
        self.augmentation = Augmentation(
            recipe.augment or "light", preprocessing, mirrors(recipe.hflip, examples.classes)
        )
        self.normalize = Normalize(preprocessing, device, recipe.layout != "contiguous")

    def view(self, row: int, seed: int) -> Tensor:
        """(size, size, 3) uint8."""
        return self.augmentation(self.photos[row], seed)

    def inputs(self, views: Tensor) -> Tensor:
        """(n, 3, size, size) float32."""
        return self.normalize(views)


class Views:
    """The views of all samples in the order of their rows: all of them in their first view, then in their second.

    Without augmentation there is one view, the one that training sees; with it, view ``k`` of sample ``i`` is drawn
    from ``hash(seed, i, k)``.

    Args:
        recipe: says augmentation, number of views, batch size and seed.
        examples: the samples.
        preprocessing: of the input.
        made: makes their views.
        world: where the batches are wanted.

    Raises:
        ValueError: several views are asked for, and the augmentation makes one only.
    """

    def __init__(self, recipe: Recipe, examples: Examples, preprocessing: Any, made: ViewsOf, world: World) -> None:
        augment = recipe.augment or "light"
        self.views = recipe.views or 1
        if self.views > 1 and augment == "none":
            raise checks.invalid("views", "be 1 where augment is none: all views would be the same", self.views)
        if augment == "strong":
            raise ValueError(
                f"views keeps each sample's views, and augment strong mixes {examples.noun} anew; give augment light"
            )
        self.examples, self.recipe, self.augment, self.made = examples, recipe, augment, made
        self.preprocessing = preprocessing
        self._stream = Stream(self._assemble, workers=recipe.workers or 0, device=world.device)

    def __len__(self) -> int:
        return self.views * len(self.examples)

    @property
    def name(self) -> str:
        """A name that changes with any sample, with the preprocessing and with the augmentation."""
        seed = self.recipe.seed if self.augment != "none" else None
        hflip = mirrors(self.recipe.hflip, self.examples.classes)
        drawn = (_VERSION, self.augment, hflip, self.views, seed, self.made.side)
        return fingerprint("views", repr(drawn), name_of_inputs(self.examples, self.preprocessing, self.recipe))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield inputs, targets, and rows (n,) int64."""
        keys = partial(chunks, np.arange(len(self)), int(self.recipe.batch_size or 1))
        with closing(self._stream.run(keys)) as source:
            for views, rows in source:
                yield self.made.inputs(views), self.targets(rows), rows

    def targets(self, rows: Tensor) -> Tensor:
        """Of some views."""
        return self.examples.targets[rows.cpu() % len(self.examples)]

    def rows(self, order: Order, attempt: int, micro: int) -> Tensor:
        """The views that a micro-batch takes: which of its sample's views is a matter of attempt and place."""
        places = order.places(micro)
        drawn = [derive("view", order.seed, attempt, place) % self.views for place in places.tolist()]
        return torch.from_numpy(order(attempt)[places] + np.array(drawn, dtype=np.int64) * len(self.examples))

    def order(self) -> Order:
        """Which samples come next, as without a cache."""
        recipe = self.recipe
        return Order(
            len(self.examples),
            batch_size=int(recipe.batch_size or 1),
            accumulate=recipe.accumulate,
            seed=recipe.seed,
            sampler=recipe.sampler,
            targets=self.examples.targets,
        )

    def _assemble(self, key: np.ndarray) -> tuple[Tensor, Tensor]:
        made = []
        with restored_generators():
            for row in key.tolist():
                view, sample = divmod(row, len(self.examples))
                made.append(self.made.view(sample, derive("views", self.recipe.seed, sample, view)))
        return torch.stack(made), torch.from_numpy(key)


def name_of_inputs(examples: Examples, preprocessing: Any, recipe: Recipe) -> str:
    """A name for exactly the inputs that an evaluation makes of these samples.

    A file counts by its path, its length and its times of change: a pixel that is changed in a file is another time.
    """
    parts: list[object] = [preprocessing.to_json(), recipe.batch_size, recipe.layout]
    for path in examples.paths:
        for file in [path, *_inside(path)]:
            state = os.stat(file)  # noqa: PTH116 (a Path for each of many files takes longer than the call)
            parts += [os.path.abspath(file), f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"]  # noqa: PTH100
    return fingerprint(*parts)


def _inside(path: str) -> list[str]:
    """The files of a folder of pictures; of a file, none."""
    return sorted(entry.path for entry in os.scandir(path)) if os.path.isdir(path) else []  # noqa: PTH112
