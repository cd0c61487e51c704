"""hone: fine-tune PyTorch vision models on your own data."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

#: Public name -> the module that defines it. Resolved on first use (PEP 562), so ``import hone`` loads no torch.
_HOME: dict[str, str] = {"Run": "hone.recipe.folder", "finetune": "hone.commands.fit", "load": "hone.recipe.folder"}
_ROOMS = (
    "data",
    "export",
    "losses",
    "models",
    "precision",
    "report",
    "schedules",
    "testing",
    "training",
    "transfer",
)

__all__ = ["__version__", *_HOME, *_ROOMS]


def __getattr__(name: str) -> Any:
    if name in _ROOMS:
        return importlib.import_module(f"hone.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hone' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
