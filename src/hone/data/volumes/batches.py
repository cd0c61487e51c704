"""Training patches from any attempt on, and whole volumes for evaluation, each once."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from ..order import Order, check_ranks, chunks
from ..passes import MicroBatches, OncePerPass, Share, check_some
from ..sides import mirrors
from .augmentation import VolumeAugmentation
from .examples import VolumeExamples
from .patches import FOREGROUND, read_middle
from .prepared import PreparedVolumes
from .preprocessing import VolumePreprocessing


class PatchAssembly:
    """The patches of one process's share of a micro-batch: key ``(attempt, micro-batch)``."""

    def __init__(self, volumes: PreparedVolumes, share: Share, augmentation: VolumeAugmentation) -> None:
        self.volumes, self.share, self.augmentation = volumes, share, augmentation

    def __call__(self, key: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """(share, channels, *patch_size) float32, and (share, *patch_size) int64 labels or (share,) int64 classes."""
        samples = self.share(key)
        pairs = [self._patch(row, seed) for row, seed in samples]
        images = torch.stack([image for image, _ in pairs])
        labels = [label for _, label in pairs if label is not None]
        if labels:
            return images, torch.stack(labels).long()
        return images, self.volumes.examples.targets[[row for row, _ in samples]]

    def _patch(self, row: int, seed: int) -> tuple[Tensor, Tensor | None]:
        examples, preprocessing = self.volumes.examples, self.volumes.preprocessing
        spacing = preprocessing.spacing_of(examples.facts[row].images[0].spacing)
        return self.augmentation(self.volumes[row], spacing, seed)


class WholeAssembly:
    """One volume: whole where it is segmented, in the middle of the input where it is classified. Key: (1,) int64."""

    def __init__(self, volumes: PreparedVolumes) -> None:
        self.volumes = volumes

    def __call__(self, key: np.ndarray) -> tuple[Tensor, Tensor, Tensor]:
        """(1, channels, *spatial) float32, its target, its index."""
        row = int(key[0])
        case, examples = self.volumes[row], self.volumes.examples
        if examples.task == "classify-volume":
            size = self.volumes.preprocessing.patch_size
            return read_middle(case, size)[None], examples.targets[row : row + 1], torch.from_numpy(key)
        image = torch.from_numpy(case.image.astype(np.float32))[None]
        label = np.zeros(case.image.shape[1:], np.uint8) if case.label is None else case.label
        return image, torch.from_numpy(label.astype(np.int64))[None], torch.from_numpy(key)


class VolumeBatches(MicroBatches):
    """Micro-batches of patches for ever, beginning at any attempt, the same ones for any number of workers.

    Args:
        examples: what to train on.
        preprocessing: spacing, normalisation and patch size.
        batch_size: patches of a micro-batch over all processes; a multiple of ``world_size``.
        accumulate: micro-batches an update.
        seed: the run's seed: order, places and augmentation follow from it and from the attempt.
        augment: "none", "light" (turned, scaled, intensities), or "strong" (further, and mirrored).
        hflip: whether "strong" mirrors; None: unless class names speak of left and right.
        sampler: "shuffle", or for classification "balanced".
        workers: processes that prepare and augment ahead; 0 does it in this one.
        rank: this process, in [0, world_size).
        world_size: processes that train together.
        cache: bytes of prepared volumes to keep on disk, such as "2GB"; 0 keeps none.
        device: where the batches are wanted.
        channels_last: lay the inputs out channels last.

    Raises:
        ValueError: an argument is out of range, or there is nothing to train on.
    """

    def __init__(
        self,
        examples: VolumeExamples,
        preprocessing: VolumePreprocessing,
        *,
        batch_size: int,
        accumulate: int = 1,
        seed: int = 0,
        augment: str = "light",
        hflip: bool | None = None,
        sampler: str = "shuffle",
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
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
        whole = examples.task == "classify-volume"
        augmentation = VolumeAugmentation(
            augment,
            preprocessing.patch_size,
            0.0 if whole else FOREGROUND,
            hflip=mirrors(hflip, examples.classes),
        )
        volumes = PreparedVolumes(examples, preprocessing, cache)
        assemble = PatchAssembly(volumes, Share(order, rank=rank, world_size=world_size), augmentation)
        layout = _layout(channels_last)
        super().__init__(
            order,
            assemble,
            lambda batch, attempt: (batch[0].contiguous(memory_format=layout), batch[1]),
            workers=workers,
            device=device,
        )


class WholeVolumes(OncePerPass):
    """Every volume exactly once over all processes, one at a time; can be iterated again and again.

    Args: as of :class:`VolumeBatches`.
    """

    def __init__(
        self,
        examples: VolumeExamples,
        preprocessing: VolumePreprocessing,
        *,
        workers: int = 0,
        rank: int = 0,
        world_size: int = 1,
        cache: str | int = "2GB",
        device: str | torch.device = "cpu",
        channels_last: bool = False,
    ) -> None:
        check_ranks(rank, world_size)
        layout = _layout(channels_last)
        super().__init__(
            list(chunks(np.arange(rank, len(examples), world_size), 1)),
            WholeAssembly(PreparedVolumes(examples, preprocessing, cache)),
            lambda batch: (batch[0].contiguous(memory_format=layout), *batch[1:]),
            workers=workers,
            device=device,
        )


def _layout(channels_last: bool) -> torch.memory_format:
    return torch.channels_last_3d if channels_last else torch.contiguous_format
