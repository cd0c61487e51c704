"""Divide one list of examples into train and val, the same way for the same seed."""

from __future__ import annotations

import numpy as np

from .seeding import derive


def split_rows(labels: np.ndarray | None, n: int, fraction: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """The rows that train and the rows that validate.

    With labels every class is divided by itself: ``round(fraction x count)`` rows validate, but at least one, and at
    least one trains; a class of one photo trains.

    Args:
        labels: (n,) class indices, or None for a split that looks at no classes.
        n: rows.
        fraction: share of the rows that validate, in [0, 1).
        seed: of the split alone; the order of training has its own.

    Returns:
        Two sorted arrays of rows that share none.

    Example:
        >>> train, val = split_rows(np.array([0, 0, 0, 0, 1, 1]), 6, 0.25, seed=0)
        >>> len(train), len(val)
        (4, 2)
    """
    groups = [np.arange(n)] if labels is None else [np.flatnonzero(labels == label) for label in np.unique(labels)]
    chosen: list[np.ndarray] = []
    for place, group in enumerate(groups):
        generator = np.random.Generator(np.random.Philox(derive("split", seed, place)))
        count = min(max(round(fraction * len(group)), 1), len(group) - 1) if fraction > 0 else 0
        chosen.append(generator.permutation(group)[:count])
    val = np.sort(np.concatenate(chosen))
    return np.setdiff1d(np.arange(n), val), val
