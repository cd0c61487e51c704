"""Chance as a function of whole numbers: one seed for every draw, and generators that are put back afterwards."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import torch


def derive(*parts: int | str) -> int:
    """A 63-bit seed that depends on every part and on their order.

    ``blake2b(parts joined by "/")``: neighbouring inputs give unrelated seeds, on every machine the same ones.

    Args:
        parts: whole numbers and words, e.g. ``("order", seed, epoch)``; a word keeps two uses of one number apart.

    Returns:
        A whole number in [0, 2**63).

    Example:
        >>> derive("sample", 0, 7, 3) == derive("sample", 0, 7, 3)
        True
        >>> derive("sample", 0, 7, 3) == derive("sample", 0, 3, 7)
        False
    """
    digest = hashlib.blake2b("/".join(map(str, parts)).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1


def sample_seed(seed: int, attempt: int, place: int) -> int:
    """The seed of everything that is random about one sample: the run's seed, the attempt, the place in its batch.

    Not the sample's index: a photo that is drawn twice is augmented twice, in two ways.

    Args:
        seed: the run's seed.
        attempt: updates completed plus updates skipped.
        place: place in the global batch, in [0, batch_size x accumulate).

    Returns:
        A whole number in [0, 2**63).

    Example:
        >>> sample_seed(0, 12, 5) != sample_seed(0, 12, 6)
        True
    """
    return derive("sample", seed, attempt, place)


def seed_generators(value: int) -> None:
    """Seed the default generators of torch (CPU), numpy and random.

    ``torch.manual_seed`` would visit every device and costs a hundred times as much.

    Example:
        >>> seed_generators(3)
        >>> first = torch.rand(2)
        >>> seed_generators(3)
        >>> torch.equal(first, torch.rand(2))
        True
    """
    torch.default_generator.manual_seed(value)
    np.random.seed(value & 0xFFFFFFFF)
    random.seed(value)


@contextmanager
def restored_generators() -> Iterator[None]:
    """Put the default generators of torch (CPU), numpy and random back as they were when the block ends.

    Without it, transforms that run in the training process would shift the model's dropout, and a run with workers
    would differ from one without.

    Example:
        >>> before = torch.random.get_rng_state()
        >>> with restored_generators():
        ...     seed_generators(3)
        >>> torch.equal(before, torch.random.get_rng_state())
        True
    """
    states = torch.random.get_rng_state(), np.random.get_state(), random.getstate()
    try:
        yield
    finally:
        torch.random.set_rng_state(states[0])
        np.random.set_state(states[1])
        random.setstate(states[2])
