"""Several processes: who we are, what is shared, how the model is wrapped. One process is the same, doing nothing."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
import torch.distributed.nn  # before any group is made: see join_world
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel


@dataclass(frozen=True)
class World:
    """This process among all: its number, how many there are, and its device.

    Example:
        >>> World().is_first, World().size
        (True, 1)
    """

    rank: int = 0
    size: int = 1
    device: torch.device = torch.device("cpu")

    @property
    def is_first(self) -> bool:
        """Whether this is the process that prints and writes."""
        return self.rank == 0

    def wrap(self, model: nn.Module) -> nn.Module:
        """The model as the loop calls it: itself, or in DistributedDataParallel over the parameters that train now.

        DDP looks at ``requires_grad`` once, when it is built, so a stage that trains other parameters is wrapped anew.
        """
        if self.size == 1 or not any(p.requires_grad for p in model.parameters()):
            return model
        devices = [self.device.index] if self.device.type == "cuda" else None
        return DistributedDataParallel(model, device_ids=devices, gradient_as_bucket_view=True)

    def share_buffers(self, model: nn.Module) -> None:
        """Give every process the first one's buffers: each has its own running statistics of what it saw since."""
        if self.size > 1:
            for buffer in model.buffers():
                dist.broadcast(buffer, 0)

    def total(self, value: Tensor) -> Tensor:
        """The sum of ``value`` over all processes (a new tensor)."""
        if self.size > 1:
            value = value.detach().clone()
            dist.all_reduce(value)
        return value

    def gather(self, value: Any) -> list[Any]:
        """What every process holds, by rank, on every process (picklable host values)."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found

    def wait(self) -> None:
        """Go on when every process is here: what the first one wrote before can then be read by all."""
        self.gather(None)

    def any(self, flag: bool) -> bool:
        """Whether the flag is set on any process."""
        return any(self.gather(flag))


@contextmanager
def join_world(device: str = "auto") -> Iterator[World]:
    """Enter the process group that ``torchrun`` describes in the environment; without it, a world of one.

    Args:
        device: ``"auto"`` (CUDA, then MPS, then CPU) or a torch device name.

    Yields:
        The :class:`World`. The process group is taken down on the way out; its threads end with the last wrapped model.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    local = int(os.environ.get("LOCAL_RANK", "0"))
    place = pick_device(device, local)
    if size == 1:
        yield World(device=place)
        return
    if place.type == "cuda":
        torch.cuda.set_device(place)
    # torch.distributed.nn, which DDP imports, keeps the group of the moment of its import as its functions' default.
    # Imported only then, it holds the group until Python ends, and a thread that lets go of a tensor in the middle of
    # that end aborts the process.
    dist.init_process_group("nccl" if place.type == "cuda" else "gloo")
    try:
        yield World(dist.get_rank(), dist.get_world_size(), place)
    finally:
        dist.destroy_process_group()


def pick_device(device: str = "auto", local_rank: int = 0) -> torch.device:
    """The device by name; ``"auto"`` takes CUDA, then MPS, then the CPU.

    Raises:
        ValueError: the name is no device, or the device is not there.

    Example:
        >>> pick_device("cpu")
        device(type='cpu')
    """
    if device == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda", local_rank)
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        place = torch.device(device)
    except RuntimeError:
        raise ValueError(f"device must name a torch device such as cpu, cuda or cuda:1, got {device!r}") from None
    if place.type == "cuda" and not torch.cuda.is_available():
        raise ValueError(f"device {device!r} is not available here: torch {torch.__version__} sees no CUDA device")
    if place.type == "mps" and not torch.backends.mps.is_available():
        raise ValueError(f"device {device!r} is not available here")
    return torch.device("cuda", local_rank) if place.type == "cuda" and place.index is None else place
