"""The random generators that a dataset's transforms keep for themselves."""

from __future__ import annotations

from typing import Any

from .seeding import derive, seed_generators

#: Where transforms hide: a Dataset's transform, a Compose's parts are its own business, a Subset's dataset.
_PLACES = ("dataset", "transform", "transforms", "target_transform")
_SETTERS = ("set_random_state", "set_random_seed")


class Generators:
    """Seeds whatever the samples of a dataset may draw from.

    Args:
        dataset: searched, through ``dataset`` (Subset), ``transform`` and ``transforms``, for objects with
            ``set_random_state`` (MONAI) or ``set_random_seed``.

    Example:
        >>> import torch
        >>> generators = Generators(object())
        >>> generators.seed(5)
        >>> first = torch.rand(1)
        >>> generators.seed(5)
        >>> torch.equal(first, torch.rand(1))
        True
    """

    def __init__(self, dataset: object) -> None:
        self.own = _with_setter(dataset, depth=4)

    def seed(self, value: int) -> None:
        """Seed the default generators of torch, numpy and random, and the transforms' own."""
        for place, (holder, setter) in enumerate(self.own):
            # 32 bits: what numpy's RandomState takes.
            getattr(holder, setter)(derive("own", value, place) & 0xFFFFFFFF)
        seed_generators(value)


def _with_setter(holder: Any, depth: int) -> list[tuple[Any, str]]:
    setter = next((name for name in _SETTERS if callable(getattr(holder, name, None))), None)
    if setter is not None:
        return [(holder, setter)]
    if depth == 0:
        return []
    parts = [getattr(holder, name, None) for name in _PLACES]
    parts += list(holder) if isinstance(holder, (list, tuple)) else []
    return [found for part in parts if part is not None for found in _with_setter(part, depth - 1)]
