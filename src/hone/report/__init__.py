"""Pictures and pages of what happened: a run's report, the demo's page, curves, tables."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .compare import RunRow, compare_runs, comparison_table, write_comparison
    from .confusion import draw_confusion
    from .demo_report import write_demo_report
    from .demo_result import Arm, DemoResult, catch_up
    from .facts import class_scores, confusion_counts, machine_facts, most_wrong, sample_predictions, score
    from .folder import RunFolder, read_run
    from .rates import draw_rates, terminal_rates
    from .result import Best, Case, ClassScore, Layer, Machine, Mistake, Predictions, Result
    from .run_report import write_report

#: Public name -> the file that defines it; resolved on first use, so that a command which draws nothing loads nothing.
_HOME = {
    "Arm": "demo_result",
    "Best": "result",
    "Case": "result",
    "ClassScore": "result",
    "DemoResult": "demo_result",
    "Layer": "result",
    "Machine": "result",
    "Mistake": "result",
    "Predictions": "result",
    "Result": "result",
    "RunFolder": "folder",
    "RunRow": "compare",
    "catch_up": "demo_result",
    "class_scores": "facts",
    "compare_runs": "compare",
    "comparison_table": "compare",
    "confusion_counts": "facts",
    "draw_confusion": "confusion",
    "draw_rates": "rates",
    "machine_facts": "facts",
    "most_wrong": "facts",
    "read_run": "folder",
    "sample_predictions": "facts",
    "score": "facts",
    "terminal_rates": "rates",
    "write_comparison": "compare",
    "write_demo_report": "demo_report",
    "write_report": "run_report",
}

__all__ = [
    "Arm",
    "Best",
    "Case",
    "ClassScore",
    "DemoResult",
    "Layer",
    "Machine",
    "Mistake",
    "Predictions",
    "Result",
    "RunFolder",
    "RunRow",
    "catch_up",
    "class_scores",
    "compare_runs",
    "comparison_table",
    "confusion_counts",
    "draw_confusion",
    "draw_rates",
    "machine_facts",
    "most_wrong",
    "read_run",
    "sample_predictions",
    "score",
    "terminal_rates",
    "write_comparison",
    "write_demo_report",
    "write_report",
]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
