"""The model's own random numbers (dropout, stochastic depth) as a function of the attempt.

Before each attempt the default generators are seeded with ``hash(seed, attempt, rank)``, so a resumed run draws what
the uninterrupted one drew without any generator's state in the checkpoint. They are seeded directly, which takes about
1 microsecond; ``torch.manual_seed`` takes about 130.
"""

from __future__ import annotations

import torch

_MASK = (1 << 64) - 1


def mix(*values: int) -> int:
    """A well-spread 63-bit hash of whole numbers (SplitMix64 over them in turn).

    Reference: Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014.

    Example:
        >>> mix(0, 1) == mix(0, 1), mix(0, 1) == mix(1, 0)
        (True, False)
    """
    state = 0
    for value in values:
        state = (state + 0x9E3779B97F4A7C15 + (value & _MASK)) & _MASK
        state = ((state ^ (state >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        state = ((state ^ (state >> 27)) * 0x94D049BB133111EB) & _MASK
        state ^= state >> 31
    return state >> 1


def seed_attempt(seed: int, attempt: int, rank: int, device: torch.device) -> None:
    """Seed the generators that a model on ``device`` draws from, for one attempt."""
    value = mix(seed, attempt, rank)
    torch.default_generator.manual_seed(value)
    if device.type == "cuda":
        torch.cuda.default_generators[device.index or 0].manual_seed(value)
    elif device.type == "mps":
        torch.mps.manual_seed(value)
