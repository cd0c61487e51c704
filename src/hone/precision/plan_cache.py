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
    inputs = batch[0] if isinstance(batch[0], (tuple, list)) else (batch[0],)
    tensors = [value for value in (*inputs, batch[1]) if isinstance(value, Tensor)]
    described = {
        "trains": [p.requires_grad for p in model.parameters()],
        "training": [name for name, module in model.named_modules() if module.training],
        "batch": [(list(value.shape), str(value.dtype)) for value in tensors],
        "plans": [dataclasses.asdict(plan) for plan in plans],
    }
    return setup_key(model, next(model.parameters()).device, json.dumps(described, sort_keys=True))


def setup_key(model: nn.Module, device: torch.device, more: str = "") -> str:
    """A digest of a network's shape, the machine, and whatever else matters.

    Args:
        model: its class and its parameters' names and shapes count, not their values.
        device: where it trains.
        more: anything as text.

    Example:
        >>> cpu = torch.device("cpu")
        >>> setup_key(nn.Linear(4, 2), cpu, "224 px") == setup_key(nn.Linear(4, 2), cpu, "160 px")
        False
    """
    described = {
        "model": type(model).__qualname__,
        "parameters": [(name, list(p.shape)) for name, p in model.named_parameters()],
        "device": device_name(device),
        "threads": torch.get_num_threads(),
        "huge_pages": os.environ.get("THP_MEM_ALLOC_ENABLE", ""),
        "torch": torch.__version__,
        "more": more,
    }
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def remember_choice(key: str, plan: Plan, path: Path | None = None) -> None:
    """Keep the plan that a measurement took for a setup, for runs that leave the choice to hone."""
    _add(path or cache_file(), f"choice {key}", dataclasses.asdict(plan))


def recall_choice(key: str, path: Path | None = None) -> Plan | None:
    """The plan that was taken for a setup; None where none was measured.

    Example:
        >>> import tempfile
        >>> with tempfile.TemporaryDirectory() as folder:
        ...     remember_choice("setup", Plan(channels_last=True), Path(folder) / "plans.json")
        ...     print(recall_choice("setup", Path(folder) / "plans.json"))
        fp32, channels_last, batch 1
    """
    found = read_answers(path or cache_file()).get(f"choice {key}")
    return Plan(**found) if isinstance(found, dict) else None


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
    _add(path, key, table.to_dict())
    return table


def _add(path: Path, key: str, answer: dict[str, Any]) -> None:
    # Read just now: measuring took long enough for another process to have added its answer.
    answers = read_answers(path) | {key: answer}
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f"{path.name}.{os.getpid()}")
    beside.write_text(json.dumps(answers))
    beside.replace(path)


def read_answers(path: Path) -> dict[str, Any]:
    """All answers in the file; none where there is no file, or no JSON object in it."""
    try:
        answers = json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return answers if isinstance(answers, dict) else {}
