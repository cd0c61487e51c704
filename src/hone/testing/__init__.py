"""The shared laws, to be run on one's own losses and schedules."""

from __future__ import annotations

import importlib
from typing import Any

#: Public name -> the module that defines it, resolved on first use.
_HOME: dict[str, str] = {
    "check_loss": "hone.testing.losses",
    "check_schedule": "hone.testing.schedules",
}

__all__ = [*_HOME]


def __getattr__(name: str) -> Any:
    if name in _HOME:
        return getattr(importlib.import_module(_HOME[name]), name)
    raise AttributeError(f"module 'hone.testing' has no attribute {name!r}")
