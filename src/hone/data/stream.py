"""Run an assembly of batches here or in worker processes, in the same order either way."""

from __future__ import annotations

import signal
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch.utils.data import DataLoader, Dataset, Sampler

from ..checks import integer


class Assembly(Protocol):
    """Makes one batch from its key; it must be picklable, and the batch a function of the key alone."""

    def __call__(self, key: Any) -> Any: ...


@dataclass(frozen=True)
class Failure:
    """An error that a worker met, sent as a value: raised there, it would arrive wrapped in a traceback's text."""

    message: str


class _Keyed(Dataset[Any]):
    def __init__(self, assemble: Assembly) -> None:
        self.assemble = assemble

    def __getitem__(self, key: Any) -> Any:
        try:
            return self.assemble(key)
        except ValueError as error:
            return Failure(str(error))


class _Keys(Sampler[Any]):
    """The keys of the pass that is about to begin; DataLoader asks for them anew at each pass."""

    def __init__(self) -> None:
        self.make: Callable[[], Iterable[Any]] = tuple

    def __iter__(self) -> Iterator[Any]:
        return iter(self.make())


class Stream:
    """Batches for a sequence of keys, assembled in this process or ahead of time by workers, moved to the device.

    Args:
        assemble: makes a batch from a key.
        workers: processes; 0 assembles in this one.
        device: where the batches are wanted; for CUDA they go through pinned memory, one ahead of their use.
        keep_workers: keep the processes between passes.
        start_method: "fork", "spawn" or "forkserver"; None is torch's own choice.

    Example:
        >>> list(Stream(lambda key: key * key).run(lambda: range(4)))
        [0, 1, 4, 9]
    """

    def __init__(
        self,
        assemble: Assembly,
        *,
        workers: int = 0,
        device: torch.device | None = None,
        keep_workers: bool = False,
        start_method: str | None = None,
    ) -> None:
        integer("workers", workers, at_least=0)
        self.device = device or torch.device("cpu")
        self._keys = _Keys()
        with _no_advice():
            self._loader: DataLoader[Any] | None = DataLoader(
                _Keyed(assemble),
                batch_size=None,
                sampler=self._keys,
                num_workers=workers,
                pin_memory=self.device.type == "cuda",
                persistent_workers=keep_workers and workers > 0,
                multiprocessing_context=start_method if workers else None,
                collate_fn=_as_it_is,
                worker_init_fn=_leave_interrupts_to_the_parent,
                # Its own: DataLoader draws a number at every pass, which would shift the model's random numbers.
                generator=torch.Generator(),
            )

    def run(self, keys: Callable[[], Iterable[Any]]) -> Generator[Any, None, None]:
        """The batches of ``keys()``, one after another; closing the generator ends the workers unless they are kept.

        Raises:
            ValueError: what the assembly raised, as one line, from whichever process.
        """
        if self._loader is None:
            raise RuntimeError("these batches were closed; make new ones")
        self._keys.make = keys
        with _no_advice():
            batches = _raised(iter(self._loader))
        # Held on to, the keys would tie a knot with whoever made them, and only the garbage collector would end the
        # workers: too late for their queues, which then cost five seconds a worker.
        self._keys.make = tuple
        try:
            yield from batches if self.device.type == "cpu" else ahead(batches, self.device)
        except Exception:
            self.close()
            raise

    def close(self) -> None:
        """End the workers."""
        self._loader = None


def _raised(batches: Iterable[Any]) -> Iterator[Any]:
    try:
        for batch in batches:
            if isinstance(batch, Failure):
                raise ValueError(batch.message)
            yield batch
    finally:
        # The traceback of an error would keep this frame, the frame the iterator, and the iterator its workers.
        del batches


def ahead(batches: Iterable[Any], device: torch.device) -> Iterator[Any]:
    """Move batches to the device; on CUDA the copy of the next one runs beside the computation on this one.

    Example:
        >>> [batch.tolist() for batch in ahead([torch.tensor(1), torch.tensor(2)], torch.device("cpu"))]
        [1, 2]
    """
    if device.type != "cuda":
        yield from (move(batch, device) for batch in batches)
        return
    copies = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    waiting: list[tuple[Any, torch.cuda.Event]] = []
    for batch in batches:
        with torch.cuda.stream(copies):
            waiting.append((move(batch, device), copies.record_event()))
        if len(waiting) > 1:
            yield _handed_over(*waiting.pop(0), device)
    for moved, copied in waiting:
        yield _handed_over(moved, copied, device)


def _handed_over(batch: Any, copied: torch.cuda.Event, device: torch.device) -> Any:
    """Let the computation's stream wait for the copy, and keep the memory until that stream is done with it."""
    current = torch.cuda.current_stream(device)
    current.wait_event(copied)
    _record(batch, current)
    return batch


def _record(value: Any, stream: torch.cuda.Stream) -> None:
    if isinstance(value, torch.Tensor):
        value.record_stream(stream)
    elif isinstance(value, dict):
        _record(list(value.values()), stream)
    elif isinstance(value, (list, tuple)):
        for part in value:
            _record(part, stream)


@contextmanager
def _no_advice() -> Iterator[None]:
    """The number of workers is the user's choice; DataLoader warns where it exceeds the number of cores."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)
        yield


def _leave_interrupts_to_the_parent(worker: int) -> None:
    """Ctrl-C reaches every process of the terminal; the parent, which still finishes its update, needs its workers."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _as_it_is(batch: Any) -> Any:
    return batch


def move(value: Any, device: torch.device) -> Any:
    """Tensors to the device, whatever the nesting; the copy does not wait where the memory is pinned."""
    if isinstance(value, torch.Tensor):
        return value.to(device, non_blocking=True)
    if isinstance(value, dict):
        return {name: move(part, device) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(move(part, device) for part in value)
    return value
