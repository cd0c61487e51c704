"""Training crops from any attempt on, and whole images for evaluation, each once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import numpy as np
import torch
from torch import Tensor

from ...checks import integer
from ..batches import check_some
from ..order import Order, check_ranks, chunks
from ..seeding import sample_seed
from ..stream import Stream
from .augmentation import MaskAugmentation
from .coding import Coding
from .examples import MaskExamples
from .pairs import MaskedImages
from .preprocessing import MaskPreprocessing

#: Pixels of an evaluation batch, as a multiple of a training batch's: without gradients a pixel takes less memory.
_MORE = 4


class CropAssembly:
    """The crops of one process's share of a micro-batch: key ``(attempt, micro-batch)``."""

    def __init__(
        self, images: MaskedImages, order: Order, augmentation: MaskAugmentation, rank: int, world_size: int
    ) -> None:
        self.images, self.order, self.augmentation = images, order, augmentation
        self.rank, self.world_size = rank, world_size

    def __call__(self, key: tuple[int, int]) -> Tensor:
        """(share, size, size, 3 + planes) uint8."""
        attempt, micro = key
        places = self.order.places(micro, self.rank, self.world_size).tolist()
        rows = self.order(attempt)[places].tolist()
        size = self.augmentation.size
        pairs = torch.empty((len(rows), size, size, 3 + self.images.examples.coding.planes), dtype=torch.uint8)
        for line, (row, place) in enumerate(zip(rows, places, strict=True)):
            pairs[line] = self.augmentation(self.images[row], sample_seed(self.order.seed, attempt, place))
        return pairs


class ImageAssembly:
    """Whole images of one size and their masks: key (n,) int64 indices."""

    def __init__(self, images: MaskedImages) -> None:
        self.images = images

    def __call__(self, key: np.ndarray) -> tuple[Tensor, Tensor]:
        """(n, H, W, 3 + planes) uint8, and their indices."""
        return torch.stack([self.images[row] for row in key.tolist()]), torch.from_numpy(key)


class Finish:
    """From bytes to the network's input and the loss's target, where the network is.

    Args:
        coding: of the masks' planes.
        preprocessing: gives mean and std.
        device: where the batches are.
        channels_last: lay the inputs out channels last.
    """

    def __init__(
        self, coding: Coding, preprocessing: MaskPreprocessing, device: torch.device, channels_last: bool
    ) -> None:
        mean, std = torch.tensor(preprocessing.mean), torch.tensor(preprocessing.std)
        self.coding, self.scale, self.shift = coding, (1 / (255 * std)).to(device), (-mean / std).to(device)
        self.format = torch.channels_last if channels_last else torch.contiguous_format

    def __call__(self, pairs: Tensor) -> tuple[Tensor, Tensor]:
        """(n, 3, H, W) float32; (n, H, W) int64, or (n, C, H, W) float32 where labels are several."""
        return self.inputs(pairs[..., :3]), self.coding.target(pairs[..., 3:])

    def inputs(self, images: Tensor) -> Tensor:
        """(n, H, W, 3) uint8 -> (n, 3, H, W) float32."""
        n, height, width, channels = images.shape
        rows = images.reshape(n, height, width * channels).float()
        # Constants tiled to a row's length: long contiguous vectors, twice as fast as broadcasting over three.
        torch.addcmul(self.shift.repeat(width), rows, self.scale.repeat(width), out=rows)
        return rows.view(n, height, width, channels).permute(0, 3, 1, 2).contiguous(memory_format=self.format)


class MaskBatches:
    """Micro-batches of crops for ever, beginning at any attempt, the same ones for any number of workers.

    Args:
        examples: what to train on.
        preprocessing: crop size, mean and std.
        batch_size: crops of a micro-batch over all processes; a multiple of ``world_size``.
        accumulate: micro-batches an update.
        seed: the run's seed: order, places and augmentation follow from it and from the attempt.
        augment: "none", "light" or "strong"; see :class:`MaskAugmentation`.
        workers: processes that decode and augment ahead; 0 does it in this one.
        rank: this process, in [0, world_size).
        world_size: processes that train together.
        cache: bytes of decoded images and masks to keep, such as "2GB"; 0 keeps none.
        device: where the batches are wanted.
        channels_last: lay the inputs out channels last.

    Raises:
        ValueError: an argument is out of range, or there is nothing to train on.
    """

    def __init__(
        self,
        examples: MaskExamples,
        preprocessing: MaskPreprocessing,
        *,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        augment: str = "light",
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
    ) -> None:
        check_ranks(rank, world_size, batch_size)
        check_some(examples, "train")
        self.order = Order(len(examples), batch_size=batch_size, accumulate=accumulate, seed=seed)
        augmentation = MaskAugmentation(
            augment, preprocessing.image_size, preprocessing.mean, labels=examples.coding.labels
        )
        images = MaskedImages(examples, preprocessing.peak, cache)
        place = torch.device(device)
        self._finish = Finish(examples.coding, preprocessing, place, channels_last)
        self._stream = Stream(
            CropAssembly(images, self.order, augmentation, rank, world_size), workers=workers, device=place
        )

    @property
    def updates_per_epoch(self) -> int:
        """``max(1, n // (batch_size x accumulate))``: an epoch is one crop of every image."""
        return self.order.updates_per_epoch

    def batches(self, attempt: int = 0) -> Iterator[tuple[Tensor, Tensor]]:
        """Micro-batches from ``attempt`` on, ``accumulate`` an attempt, for ever; closing it ends the workers.

        Yields:
            inputs: (share, 3, image_size, image_size) float32, normalised, on the device.
            target: (share, image_size, image_size) int64, -100 where pixels are ignored; (share, C, ...) float32
                where labels are several.

        Raises:
            ValueError: a file can't be read; it is named.
        """
        keys = partial(self.order.keys, integer("attempt", attempt, at_least=0))
        with closing(self._stream.run(keys)) as source:
            for pairs in source:
                yield self._finish(pairs)

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


class WholeImages:
    """Every image exactly once over all processes, at its own size; can be iterated again and again.

    A batch holds images of one size, so that what a network says of an image does not depend on its neighbours.

    Args:
        batch_size: images of a batch of this process; fewer where sizes differ, or where images are much larger than
            crops.
        others: as of :class:`MaskBatches`.
    """

    def __init__(
        self,
        examples: MaskExamples,
        preprocessing: MaskPreprocessing,
        *,
        batch_size: int = 16,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
    ) -> None:
        check_ranks(rank, world_size)
        most = _MORE * integer("batch_size", batch_size, at_least=1) * preprocessing.image_size**2
        self._keys = same_sizes(examples, np.arange(rank, len(examples), world_size), batch_size, most)
        place = torch.device(device)
        self._finish = Finish(examples.coding, preprocessing, place, channels_last)
        assemble = ImageAssembly(MaskedImages(examples, preprocessing.peak, cache))
        self._stream = Stream(assemble, workers=workers, device=place, keep_workers=True)

    def __len__(self) -> int:
        """The number of batches of this process."""
        return len(self._keys)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        """Yield inputs (n, 3, H, W) float32, targets, and indices (n,) int64 into the examples."""
        with closing(self._stream.run(lambda: self._keys)) as source:
            for pairs, indices in source:
                yield *self._finish(pairs), indices

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


def same_sizes(examples: MaskExamples, rows: np.ndarray, batch_size: int, most: int) -> list[np.ndarray]:
    """The rows in batches of one image size each, of at most ``most`` pixels where an image alone has no more.

    Example:
        >>> stats = np.array([[0, 0, 8, 8], [0, 0, 9, 8], [0, 0, 8, 8]])
        >>> examples = MaskExamples(["a", "b", "c"], torch.zeros(3, 2), ["bg", "x"], "segment", stats)
        >>> [batch.tolist() for batch in same_sizes(examples, np.arange(3), 2, 1000)]
        [[0, 2], [1]]
        >>> [batch.tolist() for batch in same_sizes(examples, np.arange(3), 2, 100)]
        [[0], [2], [1]]
    """
    if examples.stats is None:
        return list(chunks(rows, 1))
    groups: dict[tuple[int, int], list[int]] = {}
    for row in rows.tolist():
        width, height = examples.stats[row, 2:].tolist()
        groups.setdefault((width, height), []).append(row)
    return [
        batch
        for (width, height), group in groups.items()
        for batch in chunks(np.array(group), max(1, min(batch_size, most // (width * height))))
    ]
