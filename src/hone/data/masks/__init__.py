"""Masks: images with a class, or several labels, for each pixel; the crops that training sees, and whole images."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batches import MaskBatches, WholeImages
    from .examples import MaskExamples
    from .pairs import MaskedImages
    from .preprocessing import MaskPreprocessing
    from .reading import read_masks

#: Public name -> the file that defines it; resolved on first use.
_HOME = {
    "MaskBatches": "batches",
    "MaskExamples": "examples",
    "MaskPreprocessing": "preprocessing",
    "MaskedImages": "pairs",
    "WholeImages": "batches",
    "read_masks": "reading",
}

__all__ = ["MaskBatches", "MaskExamples", "MaskPreprocessing", "MaskedImages", "WholeImages", "read_masks"]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f".{_HOME[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
