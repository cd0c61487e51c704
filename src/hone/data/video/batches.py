"""Training clips from any attempt on, and evaluation clips that see every video once."""

from __future__ import annotations

import contextlib
import random

import numpy as np
import torch
from torch import Tensor

from ...checks import integer
from ..assembly import Normalize
from ..order import Order, check_ranks, chunks
from ..passes import MicroBatches, OncePerPass, Share, check_some
from ..seeding import derive, restored_generators
from ..sides import mirrors
from .augmentation import ClipAugmentation, ClipMixing, Transform, fixed_crops
from .clips import Clips
from .frames import Frames
from .preprocessing import ClipPreprocessing


class ClipBatches(MicroBatches):
    """Micro-batches of clips for ever, beginning at any attempt, the same ones for any number of workers and processes.

    What :class:`hone.data.TrainBatches` is for photos; seeds, order and shares are its own.

    Args:
        clips: what to train on.
        preprocessing: frames, size, interpolation, mean and std of the model's input.
        batch_size: clips of a micro-batch over all processes; a multiple of ``world_size``.
        accumulate: micro-batches an update.
        seed: the run's seed: order, sampling, augmentation and mixing follow from it and from the attempt.
        augment: "none", "light", "strong", or a function of (T, 3, H, W) uint8 (see :class:`ClipAugmentation`).
        sampler: "shuffle", or "balanced" to draw every class equally often.
        workers: processes that decode and augment ahead; 0 does it in this one.
        rank: this process, in [0, world_size).
        world_size: processes that train together.
        cache: bytes of decoded frames to keep, such as "2GB"; 0 keeps none.
        device: where the batches are wanted.
        channels_last: lay the inputs out channels last.
        hflip: whether the named augmentations mirror half of the clips; None does unless class names speak of sides.

    Raises:
        ValueError: an argument is out of range, or there is nothing to train on.
    """

    def __init__(
        self,
        clips: Clips,
        preprocessing: ClipPreprocessing,
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
        hflip: bool | None = None,
    ) -> None:
        check_ranks(rank, world_size, batch_size)
        check_some(clips, "train")
        order = Order(
            len(clips),
            batch_size=batch_size,
            accumulate=accumulate,
            seed=seed,
            sampler=sampler,
            targets=clips.targets,
        )
        mixing = ClipMixing(len(clips.classes), seed) if augment == "strong" else None
        assemble = _TrainAssembly(
            Frames(clips, preprocessing.image.train_side, cache),
            preprocessing,
            Share(order, rank=rank, world_size=world_size, partner=mixing is not None),
            ClipAugmentation(augment, preprocessing.image, flip=mirrors(hflip, clips.classes)),
        )
        finish = _Finish(NormalizeClips(preprocessing, torch.device(device), channels_last), mixing)
        super().__init__(order, assemble, finish, workers=workers, device=device)


class _Finish:
    """From bytes to inputs and target: normalised, mixed."""

    def __init__(self, normalize: NormalizeClips, mixing: ClipMixing | None) -> None:
        self.normalize, self.mixing = normalize, mixing

    def __call__(self, batch: tuple[Tensor, Tensor], attempt: int) -> tuple[Tensor, Tensor]:
        clips, target = batch
        inputs = self.normalize(clips)
        if self.mixing is None:
            return inputs, target
        inputs, target = self.mixing(inputs, target, attempt)
        return self.normalize.lay_out(inputs), target


class EvalClips(OncePerPass):
    """Every video exactly once over all processes, in all its views; can be iterated again and again.

    What :class:`hone.data.EvalBatches` is for photos.

    Args:
        clips: what to evaluate on.
        preprocessing: which clips and crops of a video, and how they become inputs.
        batch_size: views of a batch of this process, but at least one video's.
        workers: processes that decode ahead; they are kept between passes. 0 does it in this one.
        rank: this process, in [0, world_size).
        world_size: processes that evaluate together.
        cache: bytes of decoded frames to keep, such as "2GB"; 0 keeps none.
        device: where the batches are wanted.
        channels_last: lay the inputs out channels last.
    """

    def __init__(
        self,
        clips: Clips,
        preprocessing: ClipPreprocessing,
        batch_size: int = 16,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        *,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
    ) -> None:
        check_ranks(rank, world_size)
        videos = max(1, integer("batch_size", batch_size, at_least=1) // preprocessing.views)
        normalize = NormalizeClips(preprocessing, torch.device(device), channels_last)
        super().__init__(
            list(chunks(np.arange(rank, len(clips), world_size), videos)),
            _EvalAssembly(Frames(clips, preprocessing.image.resize, cache), preprocessing),
            lambda batch: (normalize(batch[0]), *batch[1:]),
            workers=workers,
            device=device,
        )


class NormalizeClips:
    """``(x / 255 - mean) / std`` of a whole batch of bytes, on its device: (n, T, H, W, 3) -> (n, 3, T, H, W).

    Args:
        preprocessing: gives mean and std.
        device: where the batches will be.
        channels_last: lay the result out channels last.

    Example:
        >>> from hone.data import Preprocessing
        >>> image = Preprocessing(image_size=2, mean=(0.5,) * 3, std=(0.25,) * 3)
        >>> normalize = NormalizeClips(ClipPreprocessing(image), torch.device("cpu"))
        >>> normalize(torch.zeros(1, 4, 2, 2, 3, dtype=torch.uint8)).shape
        torch.Size([1, 3, 4, 2, 2])
    """

    def __init__(self, preprocessing: ClipPreprocessing, device: torch.device, channels_last: bool = False) -> None:
        self.frames = Normalize(preprocessing.image, device, channels_last=True)
        self.channels_last = channels_last

    def __call__(self, clips: Tensor) -> Tensor:
        """(n, T, size, size, 3) uint8 -> (n, 3, T, size, size) float32."""
        frames = self.frames(clips.flatten(0, 1))
        return self.lay_out(frames.view(*clips.shape[:2], *frames.shape[1:]).transpose(1, 2))

    def lay_out(self, inputs: Tensor) -> Tensor:
        """The inputs in the memory format that was asked for."""
        return inputs.contiguous(
            memory_format=torch.channels_last_3d if self.channels_last else torch.contiguous_format
        )


class _TrainAssembly:
    """One process's share of a micro-batch: key ``(attempt, micro-batch)``."""

    def __init__(
        self, frames: Frames, preprocessing: ClipPreprocessing, share: Share, augmentation: ClipAugmentation
    ) -> None:
        self.frames, self.preprocessing, self.share, self.augmentation = frames, preprocessing, share, augmentation

    def __call__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(share, T, size, size, 3) uint8 and their targets; one row more in front where mixing wants it."""
        samples = self.share(key)
        _, length, size, _ = self.preprocessing.shape
        clips = torch.empty((len(samples), length, size, size, 3), dtype=torch.uint8)
        guard = restored_generators() if self.augmentation.uses_generators else contextlib.nullcontext()
        with guard:
            for line, (row, seed) in zip(clips, samples, strict=True):
                # A generator of its own: where in the video a clip begins must say nothing of how it is cropped.
                when = random.Random(derive("when", seed))
                wanted = self.preprocessing.sampling.in_training(self.frames.facts(row), when)
                line.copy_(self.augmentation(self.frames.read(row, wanted), seed))
        return clips, self.frames.clips.targets[[row for row, _ in samples]]


class _EvalAssembly:
    """All views of some videos: key (n,) int64 indices."""

    def __init__(self, frames: Frames, preprocessing: ClipPreprocessing) -> None:
        self.frames, self.preprocessing = frames, preprocessing

    def __call__(self, key: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """(n x views, T, size, size, 3) uint8, the targets (n,), the indices (n,)."""
        image, sampling, crops = self.preprocessing.image, self.preprocessing.sampling, self.preprocessing.crops
        views: list[Tensor] = []
        for row in key.tolist():
            wanted = sampling.in_evaluation(self.frames.facts(row))
            decoded = self.frames.read(row, wanted.reshape(-1))
            for clip in torch.split(decoded, sampling.frames):
                views += fixed_crops(clip, image, crops)
        rows = torch.from_numpy(key)
        return torch.stack(views), self.frames.clips.targets[rows], rows
