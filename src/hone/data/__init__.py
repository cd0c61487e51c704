"""Data: what is read, how it is decoded and augmented, and which samples come next."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .adapters import batches_from, eval_batches_from
    from .batches import EvalBatches, TrainBatches
    from .decoding import read_image
    from .examples import Examples, Splits
    from .order import Order
    from .pictures import sample_images
    from .preprocessing import Preprocessing
    from .reading import read_examples
    from .seeding import sample_seed

#: Public name -> the file that defines it; resolved on first use, so that ``import hone.data`` loads no torch.
_HOME = {
    "EvalBatches": "batches",
    "Examples": "examples",
    "Order": "order",
    "Preprocessing": "preprocessing",
    "Splits": "examples",
    "TrainBatches": "batches",
    "batches_from": "adapters",
    "eval_batches_from": "adapters",
    "read_examples": "reading",
    "read_image": "decoding",
    "sample_images": "pictures",
    "sample_seed": "seeding",
}

__all__ = [
    "EvalBatches",
    "Examples",
    "Order",
    "Preprocessing",
    "Splits",
    "TrainBatches",
    "batches_from",
    "eval_batches_from",
    "read_examples",
    "read_image",
    "sample_images",
    "sample_seed",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
