"""Training batches from any attempt on, and evaluation batches that see every sample once."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..checks import integer
from .assembly import CropAssembly, EvalAssembly, Normalize, TrainAssembly
from .augmentation import Augmentation, Mixing, Transform
from .device_augmentation import Crops, DeviceAugmentation
from .examples import Examples
from .order import Order, check_ranks, chunks
from .passes import MicroBatches, OncePerPass, Share, check_some
from .photos import Photos
from .preprocessing import Preprocessing
from .sides import mirrors
from .stream import Assembly


class TrainBatches(MicroBatches):
    """Micro-batches of photos for ever, beginning at any attempt, the same ones for any number of workers.

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
        hflip: whether the named augmentations mirror half of the photos; None does unless class names speak of sides.
        sampler: "shuffle", or "balanced" to draw every class equally often.
        workers: processes that decode and augment ahead; 0 does it in this one.
        rank: this process, in [0, world_size).
        world_size: processes that train together.
        size: side of the inputs, pixels; None is the preprocessing's ``image_size``.
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
        hflip: bool | None = None,
        sampler: str = "shuffle",
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        size: int | None = None,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
        start_method: str | None = None,
        on_device: bool | None = None,
    ) -> None:
        check_ranks(rank, world_size, batch_size)
        check_some(examples, "train")
        order = Order(
            len(examples),
            batch_size=batch_size,
            accumulate=accumulate,
            seed=seed,
            sampler=sampler,
            targets=examples.targets,
        )
        device = torch.device(device)
        photos = Photos(examples, preprocessing.train_side, preprocessing.interpolation, cache)
        mixing = _mixing(examples, augment, seed)
        share = Share(order, rank=rank, world_size=world_size, partner=mixing is not None)
        crop = preprocessing if size is None else preprocessing.with_size(size)
        augmentation = Augmentation(augment, crop, mirrors(hflip, examples.classes))
        on_device = device.type != "cpu" if on_device is None else on_device
        crops: DeviceAugmentation | None = None
        assemble: Assembly = TrainAssembly(photos, examples.targets, share, augmentation)
        if on_device and augmentation.chance is not None:
            crops = DeviceAugmentation(augmentation.chance, crop)
            assemble = CropAssembly(photos, examples.targets, share, augmentation.chance)
        finish = _Finish(crops, Normalize(crop, device, channels_last), mixing)
        super().__init__(order, assemble, finish, workers=workers, device=device, start_method=start_method)


class _Finish:
    """From what a worker made to inputs and target: crops resized, normalised, mixed."""

    def __init__(self, crops: DeviceAugmentation | None, normalize: Normalize, mixing: Mixing | None) -> None:
        self.crops, self.normalize, self.mixing = crops, normalize, mixing

    def __call__(self, batch: tuple[Any, Tensor], attempt: int) -> tuple[Tensor, Tensor]:
        images, target = batch
        inputs = self.normalize(images if self.crops is None else self.crops(Crops(*images)))
        if self.mixing is None:
            return inputs, target
        inputs, target = self.mixing(inputs, target, attempt)
        return self.normalize.lay_out(inputs), target


class EvalBatches(OncePerPass):
    """Every photo exactly once over all processes, centre-cropped; can be iterated again and again.

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
        rows = np.arange(rank, len(examples), world_size)
        groups = list(chunks(rows, integer("batch_size", batch_size, at_least=1)))
        normalize = Normalize(preprocessing, torch.device(device), channels_last)
        photos = Photos(examples, preprocessing.resize, preprocessing.interpolation, cache)
        super().__init__(
            groups,
            EvalAssembly(photos, examples.targets, preprocessing),
            lambda batch: (normalize(batch[0]), *batch[1:]),
            workers=workers,
            device=device,
            start_method=start_method,
        )


def _mixing(examples: Examples, augment: str | Transform, seed: int) -> Mixing | None:
    if augment != "strong" or examples.task == "regress":
        return None
    return Mixing(len(examples.classes) if examples.task == "classify" else None, seed)
