"""Training clips from any attempt on, and evaluation clips that see every video once."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from functools import partial

import numpy as np
import torch

from ...checks import integer
from ..assembly import Normalize
from ..batches import check_some
from ..order import Order, check_ranks, chunks
from ..seeding import derive, restored_generators, sample_seed
from ..stream import Stream
from .augmentation import ClipAugmentation, ClipMixing, Transform, fixed_crops, tells_left_from_right
from .clips import Clips
from .frames import Frames
from .preprocessing import ClipPreprocessing


class ClipBatches:
    """Micro-batches of clips for ever, beginning at any attempt, the same ones for any number of workers and processes.

    What :class:`hone.data.TrainBatches` is for photos; seeds, order and shares are its own. Clips are mirrored unless
    class names speak of sides.

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
    ) -> None:
        check_ranks(rank, world_size, batch_size)
        check_some(clips, "train")
        self.order = Order(
            len(clips),
            batch_size=batch_size,
            accumulate=accumulate,
            seed=seed,
            sampler=sampler,
            targets=clips.targets,
        )
        self.device = torch.device(device)
        self._normalize = NormalizeClips(preprocessing, self.device, channels_last)
        self._mixing = ClipMixing(len(clips.classes), seed) if augment == "strong" else None
        flip = not tells_left_from_right(clips.classes)
        assemble = _TrainAssembly(
            Frames(clips, preprocessing.image.train_side, cache),
            preprocessing,
            self.order,
            ClipAugmentation(augment, preprocessing.image, flip=flip),
            share=(rank, world_size),
            partner=self._mixing is not None,
        )
        self._stream = Stream(assemble, workers=workers, device=self.device)

    @property
    def updates_per_epoch(self) -> int:
        """``max(1, n // (batch_size x accumulate))``."""
        return self.order.updates_per_epoch

    def batches(self, attempt: int = 0) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        """Micro-batches from ``attempt`` on, ``accumulate`` an attempt, for ever; closing it ends the workers.

        Yields:
            inputs: (share, 3, frames, image_size, image_size) float32, normalised, on the device.
            target: (share,) int64; (share, C) float32 where clips are mixed.

        Raises:
            ValueError: a clip can't be read; it is named.
        """
        keys = partial(self.order.keys, integer("attempt", attempt, at_least=0))
        with contextlib.closing(self._stream.run(keys)) as source:
            for (now, _), (clips, target) in zip(keys(), source, strict=False):
                inputs = self._normalize(clips)
                if self._mixing is not None:
                    inputs, target = self._mixing(inputs, target, now)
                    inputs = self._normalize.lay_out(inputs)
                yield inputs, target

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


class EvalClips:
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
        self.batch_size = max(1, integer("batch_size", batch_size, at_least=1) // preprocessing.views)
        self._rows = np.arange(rank, len(clips), world_size)
        self._normalize = NormalizeClips(preprocessing, torch.device(device), channels_last)
        assemble = _EvalAssembly(Frames(clips, preprocessing.image.resize, cache), preprocessing)
        self._stream = Stream(assemble, workers=workers, device=torch.device(device), keep_workers=True)

    def __len__(self) -> int:
        """The number of batches of this process."""
        return -(-len(self._rows) // self.batch_size)

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
        """Yield inputs, targets (n,), and indices (n,) int64 into the clips.

        Inputs are (n x views, 3, frames, image_size, image_size) float32, the views of a video one after another.

        Raises:
            ValueError: a clip can't be read; it is named.
        """
        with contextlib.closing(self._stream.run(partial(chunks, self._rows, self.batch_size))) as source:
            for clips, target, indices in source:
                yield self._normalize(clips), target, indices

    def close(self) -> None:
        """End the workers, if any."""
        self._stream.close()


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

    def __call__(self, clips: torch.Tensor) -> torch.Tensor:
        """(n, T, size, size, 3) uint8 -> (n, 3, T, size, size) float32."""
        frames = self.frames(clips.flatten(0, 1))
        return self.lay_out(frames.view(*clips.shape[:2], *frames.shape[1:]).transpose(1, 2))

    def lay_out(self, inputs: torch.Tensor) -> torch.Tensor:
        """The inputs in the memory format that was asked for."""
        return inputs.contiguous(
            memory_format=torch.channels_last_3d if self.channels_last else torch.contiguous_format
        )


class _TrainAssembly:
    """One process's share of a micro-batch: key ``(attempt, micro-batch)``."""

    def __init__(
        self,
        frames: Frames,
        preprocessing: ClipPreprocessing,
        order: Order,
        augmentation: ClipAugmentation,
        *,
        share: tuple[int, int],
        partner: bool,
    ) -> None:
        self.frames, self.preprocessing, self.order, self.augmentation = frames, preprocessing, order, augmentation
        self.share, self.partner = share, partner

    def __call__(self, key: tuple[int, int]) -> tuple[torch.Tensor, torch.Tensor]:
        """(share, T, size, size, 3) uint8 and their targets; one row more in front where mixing wants it."""
        attempt, micro = key
        places = self.order.places(micro, *self.share)
        if self.partner:
            places = np.concatenate([[(places[0] - 1) % self.order.global_batch], places])
        rows = self.order(attempt)[places]
        _, length, size, _ = self.preprocessing.shape
        clips = torch.empty((len(rows), length, size, size, 3), dtype=torch.uint8)
        guard = restored_generators() if self.augmentation.uses_generators else contextlib.nullcontext()
        with guard:
            for line, (row, place) in enumerate(zip(rows.tolist(), places.tolist(), strict=True)):
                seed = sample_seed(self.order.seed, attempt, place)
                # A generator of its own: where in the video a clip begins must say nothing of how it is cropped.
                when = random.Random(derive("when", seed))
                wanted = self.preprocessing.sampling.in_training(self.frames.facts(row), when)
                clips[line] = self.augmentation(self.frames.read(row, wanted), seed)
        return clips, self.frames.clips.targets[torch.from_numpy(rows)]


class _EvalAssembly:
    """All views of some videos: key (n,) int64 indices."""

    def __init__(self, frames: Frames, preprocessing: ClipPreprocessing) -> None:
        self.frames, self.preprocessing = frames, preprocessing

    def __call__(self, key: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """(n x views, T, size, size, 3) uint8, the targets (n,), the indices (n,)."""
        image, sampling, crops = self.preprocessing.image, self.preprocessing.sampling, self.preprocessing.crops
        views: list[torch.Tensor] = []
        for row in key.tolist():
            wanted = sampling.in_evaluation(self.frames.facts(row))
            decoded = self.frames.read(row, wanted.reshape(-1))
            for clip in torch.split(decoded, sampling.frames):
                views += fixed_crops(clip, image, crops)
        rows = torch.from_numpy(key)
        return torch.stack(views), self.frames.clips.targets[rows], rows
