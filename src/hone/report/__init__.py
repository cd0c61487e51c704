"""Pictures and pages of what happened: a run's report, the demo's page, curves, tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .facts import class_scores, confusion_counts, machine_facts, most_wrong, sample_predictions, score
    from .result import Best, ClassScore, Layer, Machine, Mistake, Predictions, Result

#: Public name -> the file that defines it; resolved on first use, so that a command which draws nothing loads nothing.
_HOME = {
    "Best": "result",
    "ClassScore": "result",
    "Layer": "result",
    "Machine": "result",
    "Mistake": "result",
    "Predictions": "result",
    "Result": "result",
    "class_scores": "facts",
    "confusion_counts": "facts",
    "machine_facts": "facts",
    "most_wrong": "facts",
    "sample_predictions": "facts",
    "score": "facts",
}

__all__ = [
    "Best",
    "ClassScore",
    "Layer",
    "Machine",
    "Mistake",
    "Predictions",
    "Result",
    "class_scores",
    "confusion_counts",
    "machine_facts",
    "most_wrong",
    "sample_predictions",
    "score",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
