"""Training crops from any attempt on, and whole images for evaluation, each once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ...checks import integer
from ..order import Order, check_ranks, chunks
from ..passes import MicroBatches, OncePerPass, Share, check_some
from ..sides import mirrors
from .augmentation import MaskAugmentation
from .coding import Coding
from .examples import MaskExamples
from .pairs import MaskedImages
from .preprocessing import MaskPreprocessing

#: Pixels of an evaluation batch, as a multiple of a training batch's: without gradients a pixel takes less memory.
_MORE = 4


class CropAssembly:
    """The crops of one process's share of a micro-batch: key ``(attempt, micro-batch)``."""

    def __init__(self, images: MaskedImages, share: Share, augmentation: MaskAugmentation) -> None:
        self.images, self.share, self.augmentation = images, share, augmentation

    def __call__(self, key: tuple[int, int]) -> Tensor:
        """(share, size, size, 3 + planes) uint8."""
        samples, size = self.share(key), self.augmentation.size
        pairs = torch.empty((len(samples), size, size, 3 + self.images.examples.coding.planes), dtype=torch.uint8)
        for line, (row, seed) in zip(pairs, samples, strict=True):
            line.copy_(self.augmentation(self.images[row], seed))
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


class MaskBatches(MicroBatches):
    """Micro-batches of crops for ever, beginning at any attempt, the same ones for any number of workers.

    Args:
        examples: what to train on.
        preprocessing: crop size, mean and std.
        batch_size: crops of a micro-batch over all processes; a multiple of ``world_size``.
        accumulate: micro-batches an update.
        seed: the run's seed: order, places and augmentation follow from it and from the attempt.
        augment: "none", "light" or "strong"; see :class:`MaskAugmentation`.
        hflip: whether "light" and "strong" mirror; None: unless class names speak of left and right.
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
        hflip: bool | None = None,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
    ) -> None:
        check_ranks(rank, world_size, batch_size)
        check_some(examples, "train")
        order = Order(len(examples), batch_size=batch_size, accumulate=accumulate, seed=seed)
        augmentation = MaskAugmentation(
            augment,
            preprocessing.image_size,
            preprocessing.mean,
            labels=examples.coding.labels,
            hflip=mirrors(hflip, examples.classes),
        )
        images = MaskedImages(examples, preprocessing.peak, cache)
        share = Share(order, rank=rank, world_size=world_size)
        finish = Finish(examples.coding, preprocessing, torch.device(device), channels_last)
        super().__init__(
            order,
            CropAssembly(images, share, augmentation),
            lambda pairs, attempt: finish(pairs),
            workers=workers,
            device=device,
        )


class WholeImages(OncePerPass):
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
        groups = same_sizes(examples, np.arange(rank, len(examples), world_size), batch_size, most)
        finish = Finish(examples.coding, preprocessing, torch.device(device), channels_last)
        super().__init__(
            groups,
            ImageAssembly(MaskedImages(examples, preprocessing.peak, cache)),
            lambda batch: (*finish(batch[0]), batch[1]),
            workers=workers,
            device=device,
        )


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
