"""Training batches from any attempt on, and evaluation batches that see every sample once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from functools import partial

import numpy as np
import torch

from ..checks import integer, invalid
from .assembly import CropAssembly, EvalAssembly, Normalize, Share, TrainAssembly
from .augmentation import Augmentation, Mixing, Transform
from .device_augmentation import Crops, DeviceAugmentation
from .examples import Examples
from .order import Order, check_ranks, chunks
from .photos import Photos
from .preprocessing import Preprocessing
from .stream import Assembly, Stream


class TrainBatches:
    """Micro-batches for ever, beginning at any attempt, the same ones for any number of workers and processes.

    The global batch of an attempt holds ``batch_size x accumulate`` samples. Of each micro-batch, process ``rank`` of
    ``world_size`` gets its share: the shares of all ranks, one after another, are what a single process would see.

    Args:
        examples: what to train on.
        preprocessing: size, interpolation, mean and std of the model's input.
        batch_size: samples of a micro-batch over all processes; a multiple of ``world_size``.
        accumulate: micro-batches an update.
        seed: the run's seed: order, augmentation and mixing follow from it and from the attempt.
        augment: "none", "light" (random resized crop, flip), "strong" (RandAugment; mixup and CutMix too, except for
            regression) or a function from (3, H, W) uint8 to (3, image_size, image_size) uint8.
        sampler: "shuffle", or "balanced" to draw every class equally often.
        workers: processes that decode and augment ahead; 0 does it in this one.
        rank: this process, in [0, world_size).
        world_size: processes that train together.
        cache: bytes of decoded photos to keep, such as "2GB"; 0 keeps none.
        device: where the batches are wanted.
        channels_last: lay the inputs out channels last.
        start_method: how workers start: "fork", "spawn" or "forkserver"; None is torch's own choice.
        on_device: resize the crops, flip them and apply RandAugment where the batches are wanted, instead of in the
            workers; a function of the user's stays in the workers. None does so where that is no CPU.

    Raises:
        ValueError: an argument is out of range, or there is nothing to train on.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = tempfile.TemporaryDirectory()
        >>> paths = [f"{folder.name}/{k}.png" for k in range(4)]
        >>> for path in paths:
        ...     Image.new("RGB", (40, 30)).save(path)
        >>> examples = Examples(paths, torch.tensor([0, 1, 0, 1]), ["cat", "dog"])
        >>> batches = TrainBatches(examples, Preprocessing(image_size=16), batch_size=2, cache=0)
        >>> inputs, target = next(batches.batches(attempt=7))
        >>> inputs.shape, target.dtype, batches.updates_per_epoch
        (torch.Size([2, 3, 16, 16]), torch.int64, 2)
        >>> folder.cleanup()
    """

    def __init__(
        self,
        examples: Examples,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        augment: str | Transform = "light",
        sampler: str = "shuffle",
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
        start_method: str | None = None,
        on_device: bool | None = None,
    ) -> None:
        check_ranks(rank, world_size, batch_size)
        check_some(examples, "train")
        self.order = Order(
            len(examples),
            batch_size=batch_size,
            accumulate=accumulate,
            seed=seed,
            sampler=sampler,
            targets=examples.targets,
        )
        self.device = torch.device(device)
        self._normalize = Normalize(preprocessing, self.device, channels_last)
        self._mixing = _mixing(examples, augment, seed)
        photos = Photos(examples, preprocessing.train_side, preprocessing.interpolation, cache)
        share = Share(self.order, rank=rank, world_size=world_size, partner=self._mixing is not None)
        augmentation = Augmentation(augment, preprocessing)
        on_device = self.device.type != "cpu" if on_device is None else on_device
        self._finish: DeviceAugmentation | None = None
        assemble: Assembly = TrainAssembly(photos, examples.targets, share, augmentation)
        if on_device and augmentation.chance is not None:
            self._finish = DeviceAugmentation(augmentation.chance, preprocessing)
            assemble = CropAssembly(photos, examples.targets, share, augmentation.chance)
        self._stream = Stream(assemble, workers=workers, device=self.device, start_method=start_method)

    @property
    def updates_per_epoch(self) -> int:
        """``max(1, n // (batch_size x accumulate))``."""
        return self.order.updates_per_epoch

    def batches(self, attempt: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Micro-batches from ``attempt`` on, ``accumulate`` an attempt, for ever; closing it ends the workers.

        Yields:
            inputs: (share, 3, image_size, image_size) float32, normalised, on the device.
            target: (share,) int64; (share, C) float32 where labels are several or mixed; float32 values.

        Raises:
            ValueError: a file can't be read; it is named.
        """
        keys = partial(self.order.keys, integer("attempt", attempt, at_least=0))
        with closing(self._stream.run(keys)) as source:
            for (now, _), (images, target) in zip(keys(), source, strict=False):
                if self._finish is not None:
                    images = self._finish(Crops(*images))
                inputs = self._normalize(images)
                if self._mixing is not None:
                    inputs, target = self._mixing(inputs, target, now)
                    inputs = self._normalize.lay_out(inputs)
                yield inputs, target

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


class EvalBatches:
    """Every sample exactly once over all processes, centre-cropped; can be iterated again and again.

    Process ``rank`` gets samples ``rank, rank + world_size, ...``: none is repeated to make the shares equal, so the
    ranks may differ by one sample, and metrics need no correction.

    Args:
        examples: what to evaluate on.
        preprocessing: size, crop, interpolation, mean and std of the model's input.
        batch_size: samples of a batch of this process; the last one may be smaller.
        workers: processes that decode ahead; they are kept between passes. 0 does it in this one.
        rank: this process, in [0, world_size).
        world_size: processes that evaluate together.
        cache: bytes of decoded photos to keep, such as "2GB"; 0 keeps none.
        device: where the batches are wanted.
        channels_last: lay the inputs out channels last.
        start_method: how workers start: "fork", "spawn" or "forkserver"; None is torch's own choice.

    Raises:
        ValueError: an argument is out of range.

    Example:
        >>> import tempfile
        >>> from PIL import Image
        >>> folder = tempfile.TemporaryDirectory()
        >>> paths = [f"{folder.name}/{k}.png" for k in range(3)]
        >>> for path in paths:
        ...     Image.new("RGB", (40, 30)).save(path)
        >>> examples = Examples(paths, torch.tensor([0, 1, 0]), ["cat", "dog"])
        >>> batches = EvalBatches(examples, Preprocessing(image_size=16), batch_size=2, cache=0)
        >>> [indices.tolist() for inputs, target, indices in batches]
        [[0, 1], [2]]
        >>> folder.cleanup()
    """

    def __init__(
        self,
        examples: Examples,
        preprocessing: Preprocessing,
        batch_size: int = 64,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        *,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
        start_method: str | None = None,
    ) -> None:
        check_ranks(rank, world_size)
        self.batch_size = integer("batch_size", batch_size, at_least=1)
        self._rows = np.arange(rank, len(examples), world_size)
        self._normalize = Normalize(preprocessing, torch.device(device), channels_last)
        photos = Photos(examples, preprocessing.resize, preprocessing.interpolation, cache)
        assemble = EvalAssembly(photos, examples.targets, preprocessing)
        self._stream = Stream(
            assemble, workers=workers, device=torch.device(device), keep_workers=True, start_method=start_method
        )

    def __len__(self) -> int:
        """The number of batches of this process."""
        return -(-len(self._rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield inputs (n, 3, image_size, image_size) float32, targets, and indices (n,) int64 into the examples.

        Raises:
            ValueError: a file can't be read; it is named.
        """
        with closing(self._stream.run(partial(chunks, self._rows, self.batch_size))) as source:
            for images, target, indices in source:
                yield self._normalize(images), target, indices

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


def check_some(examples: Examples, name: str) -> None:
    """Raise where there is no example."""
    if not len(examples):
        raise invalid(name, "hold at least one example", 0)


def _mixing(examples: Examples, augment: str | Transform, seed: int) -> Mixing | None:
    if augment != "strong" or examples.task == "regress":
        return None
    return Mixing(len(examples.classes) if examples.task == "classify" else None, seed)
