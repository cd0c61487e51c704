"""The model's own random numbers (dropout, stochastic depth) as a function of the attempt.

Before each attempt the default generators are seeded with a hash of seed, attempt and rank, so a resumed run draws what
the uninterrupted one drew without any generator's state in the checkpoint. They are seeded directly, which takes a few
microseconds; ``torch.manual_seed`` takes over a hundred.
"""

from __future__ import annotations

import torch

from hone.data.seeding import derive


def seed_attempt(seed: int, attempt: int, rank: int, device: torch.device) -> None:
    """Seed the generators that a model on ``device`` draws from, for one attempt.

    Example:
        >>> seed_attempt(0, 5, 0, torch.device("cpu"))
        >>> first = torch.rand(1)
        >>> seed_attempt(0, 5, 0, torch.device("cpu"))
        >>> bool(torch.rand(1) == first)
        True
    """
    value = derive("model", seed, attempt, rank)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
