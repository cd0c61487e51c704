"""Answers of ``measure_plans`` kept on disk: the same model, shapes, plans and machine are measured once."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hone.precision.plan import Plan, PlanTable


def cache_file() -> Path:
    """``$XDG_CACHE_HOME/hone/plans.json``, by default under ``~/.cache``."""
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "hone" / "plans.json"


def plan_key(model: nn.Module, batch: tuple[Any, Tensor], plans: Sequence[Plan]) -> str:
    """A digest of all that an answer depends on.

    The model's class, its parameters' names, shapes and whether they train; the shapes and dtypes of one batch; the
    plans; the device, its threads, and torch's version.

    Example:
        >>> batch = torch.ones(8, 4), torch.zeros(8)
        >>> plan_key(nn.Linear(4, 2), batch, [Plan()]) == plan_key(nn.Linear(4, 3), batch, [Plan()])
        False
    """
    device = next(model.parameters()).device
    inputs = batch[0] if isinstance(batch[0], (tuple, list)) else (batch[0],)
    tensors = [value for value in (*inputs, batch[1]) if isinstance(value, Tensor)]
    described = {
        "model": type(model).__qualname__,
        "parameters": [(name, list(p.shape), p.requires_grad) for name, p in model.named_parameters()],
        "training": [name for name, module in model.named_modules() if module.training],
        "batch": [(list(value.shape), str(value.dtype)) for value in tensors],
        "plans": [dataclasses.asdict(plan) for plan in plans],
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "huge_pages": os.environ.get("THP_MEM_ALLOC_ENABLE", ""),
        "torch": torch.__version__,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def device_name(device: torch.device) -> str:
    """What hardware it is, not its number."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    capability = torch.backends.cpu.get_cpu_capability()
    return f"{device.type} {platform.machine()} {platform.processor()} {capability}"


def remembered(key: str, measure: Callable[[], PlanTable], path: Path | None = None) -> PlanTable:
    """The answer under ``key``, or else what ``measure`` finds, which is then kept.

    A file that can't be read as JSON is measured again and replaced: it is a cache.

    Args:
        key: from ``plan_key``.
        measure: called only where there is no answer.
        path: the file; by default ``cache_file()``.

    Returns:
        The table.
    """
    path = cache_file() if path is None else path
    answers = read_answers(path)
    if key in answers:
        return PlanTable.from_dict(answers[key])
    table = measure()
    # Read again: measuring took long enough for another process to have added its answer.
    answers = read_answers(path) | {key: table.to_dict()}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(answers))
    beside.replace(path)
    return table


def read_answers(path: Path) -> dict[str, Any]:
    """All answers in the file; none where there is no file, or no JSON object in it."""
    try:
        answers = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}
