"""A fixed number of views of every photo: what training sees where it sees the same again and again."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from functools import partial

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
from hone.data.stream import Stream
from hone.recipe.schema import Recipe
from hone.training import World
from hone.transfer import fingerprint

#: The share of the area that a crop keeps, the interpolation and the like are part of the code: a change counts on.
_VERSION = 1


class PhotoViews:
    """The views of all photos in the order of their rows: all photos in their first view, then in their second.

    Without augmentation there is one view, the centre crop that training sees; with it, view ``k`` of photo ``i`` is
    drawn from ``hash(seed, i, k)``.

    Args:
        recipe: says augmentation, number of views, batch size and seed.
        examples: the photos.
        preprocessing: of the input.
        world: where the batches are wanted.

    Raises:
        ValueError: several views are asked for, and the augmentation makes one only.
    """

    def __init__(self, recipe: Recipe, examples: Examples, preprocessing: Preprocessing, world: World) -> None:
        augment = recipe.augment or "light"
        self.views = recipe.views or 1
        if self.views > 1 and augment == "none":
            raise checks.invalid("views", "be 1 where augment is none: all views would be the same", self.views)
        if augment == "strong":
            raise ValueError("views keeps each photo's views, and augment strong mixes photos anew; give augment light")
        self.examples, self.preprocessing, self.recipe, self.augment = examples, preprocessing, recipe, augment
        self.photos = Photos(examples, preprocessing.train_side, preprocessing.interpolation, recipe.cache)
        self.augmentation = Augmentation(augment, preprocessing)
        self._normalize = Normalize(preprocessing, world.device, recipe.layout != "contiguous")
        self._stream = Stream(self._assemble, workers=recipe.workers or 0, device=world.device)

    def __len__(self) -> int:
        return self.views * len(self.examples)

    @property
    def name(self) -> str:
        """A name that changes with any photo, with the preprocessing and with the augmentation."""
        seed = self.recipe.seed if self.augment != "none" else None
        drawn = (_VERSION, self.augment, self.views, seed, self.preprocessing.train_side)
        return fingerprint("views", repr(drawn), photos_name(self.examples, self.preprocessing, self.recipe))

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield inputs (n, 3, size, size) float32, targets, and rows (n,) int64."""
        keys = partial(chunks, np.arange(len(self)), int(self.recipe.batch_size or 1))
        with closing(self._stream.run(keys)) as source:
            for images, rows in source:
                yield self._normalize(images), self.targets(rows), rows

    def targets(self, rows: Tensor) -> Tensor:
        """Of some views."""
        return self.examples.targets[rows.cpu() % len(self.examples)]

    def rows(self, order: Order, attempt: int, micro: int) -> Tensor:
        """The views that a micro-batch takes: which of its photo's views is a matter of attempt and place."""
        places = order.places(micro)
        drawn = [derive("view", order.seed, attempt, place) % self.views for place in places.tolist()]
        return torch.from_numpy(order(attempt)[places] + np.array(drawn, dtype=np.int64) * len(self.examples))

    def order(self) -> Order:
        """Which photos come next, as without a cache."""
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
        size = self.preprocessing.image_size
        images = torch.empty((len(key), size, size, 3), dtype=torch.uint8)
        with restored_generators():
            for line, row in enumerate(key.tolist()):
                view, photo = divmod(row, len(self.examples))
                images[line] = self.augmentation(self.photos[photo], derive("views", self.recipe.seed, photo, view))
        return images, torch.from_numpy(key)


def photos_name(examples: Examples, preprocessing: Preprocessing, recipe: Recipe) -> str:
    """A name for exactly the inputs that an evaluation makes of these photos.

    A file counts by its path, its length and its times of change: a pixel that is changed in a file is another time.
    """
    parts: list[object] = [preprocessing.to_json(), recipe.batch_size, recipe.layout]
    for path in examples.paths:
        state = os.stat(path)  # noqa: PTH116 (a Path for each of many files takes longer than the call)
        parts += [os.path.abspath(path), f"{state.st_size} {state.st_mtime_ns} {state.st_ctime_ns}"]  # noqa: PTH100
    return fingerprint(*parts)
