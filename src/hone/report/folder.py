"""Read a run folder as far as it is there: a run that was stopped lacks files, and a page about it says which."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .result import Best, Result

#: What a run leaves behind, and what each file is for.
FILES = {
    "recipe.yaml": "the recipe",
    "metrics.jsonl": "the curves",
    "result.json": "the final result",
    "classes.json": "the class names",
    "preprocessing.json": "the preprocessing",
    "transfer.json": "the record of the source weights",
}
_LOWER_IS_BETTER = ("loss", "mae", "mse", "rmse", "error", "hd95", "distance")


@dataclass(frozen=True)
class Evaluation:
    """One evaluation on the validation data."""

    update: int
    epoch: float
    metrics: dict[str, float]
    best: bool


@dataclass(frozen=True)
class TrainRow:
    """What was logged at one update."""

    update: int
    attempt: int
    loss: float
    rates: dict[str, float]
    samples_per_second: float
    grad_norm: float
    skipped: int


@dataclass(frozen=True)
class RunFolder:
    """What a run folder holds; `read_run` fills it. ``problems`` says what is missing or cannot be read."""

    path: Path
    recipe: str = ""
    train: list[TrainRow] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    result: Result | None = None
    classes: list[str] = field(default_factory=list)
    preprocessing: dict[str, Any] = field(default_factory=dict)
    transfer: list[dict[str, Any]] = field(default_factory=list)
    transfer_summary: str = ""
    problems: list[str] = field(default_factory=list)

    @property
    def name(self) -> str:
        return self.path.resolve().name

    @property
    def metric(self) -> str:
        """The metric that chose the best weights: the result's, else the first that was logged besides the loss."""
        if self.result is not None:
            return self.result.metric
        logged = [name for row in self.evaluations for name in row.metrics]
        return next((name for name in logged if name != "loss"), "loss" if logged else "")

    @property
    def higher_is_better(self) -> bool:
        if self.result is not None:
            return self.result.higher_is_better
        return not any(word in self.metric.lower() for word in _LOWER_IS_BETTER)

    @property
    def best(self) -> Best | None:
        """The best evaluation: the result's, else the last that was marked as best."""
        if self.result is not None and self.result.best is not None:
            return self.result.best
        marked = [row for row in self.evaluations if row.best and self.metric in row.metrics]
        return Best(marked[-1].update, marked[-1].metrics[self.metric]) if marked else None

    @property
    def updates(self) -> int:
        """How many updates were completed, as far as is known."""
        if self.result is not None and self.result.updates:
            return self.result.updates
        return max([row.update for row in self.train] + [row.update for row in self.evaluations], default=0)

    @property
    def finished(self) -> bool:
        return self.result is not None and not self.result.interrupted


def read_run(run: str | Path) -> RunFolder:
    """Read a run folder; a file that is missing or broken is named in ``problems``, nothing is made up.

    Args:
        run: the folder.

    Raises:
        FileNotFoundError: it is not a folder, or holds none of a run's files.
    """
    path = Path(run)
    if not path.is_dir():
        raise FileNotFoundError(f"no run folder at {path}")
    found = [name for name in FILES if (path / name).is_file()]
    if not found:
        raise FileNotFoundError(f"{path} is not a run folder: it holds none of {', '.join(FILES)}")
    problems = [f"{name} is not there: {what} cannot be shown" for name, what in FILES.items() if name not in found]
    rows = list(_lines(path / "metrics.jsonl", problems)) if "metrics.jsonl" in found else []
    parts: dict[str, Any] = {}
    for name in found:
        try:
            parts[name] = _part(path / name)
        except (OSError, ValueError) as error:
            problems.append(f"{name} cannot be read: {error}")
    if (result := parts.get("result.json")) is not None and not result.weights:
        # Random weights have no source, so there is nothing to record of it.
        problems = [problem for problem in problems if not problem.startswith("transfer.json is not there")]
    transfer: Any = parts.get("transfer.json", {})
    return RunFolder(
        path=path,
        recipe=parts.get("recipe.yaml", ""),
        train=[_train_row(row) for row in rows if row.get("kind") == "train"],
        evaluations=[_evaluation(row) for row in rows if row.get("kind") == "eval"],
        result=parts.get("result.json"),
        classes=[str(name) for name in parts.get("classes.json", [])],
        preprocessing=parts.get("preprocessing.json", {}),
        transfer=transfer.get("tensors", []),
        transfer_summary=str(transfer.get("summary", "")),
        problems=problems,
    )


def _part(path: Path) -> Any:
    """The content of one file in the form that `RunFolder` holds it."""
    if path.name == "metrics.jsonl":
        return None
    text = path.read_text(encoding="utf-8")
    if path.name == "recipe.yaml":
        return text
    if path.name == "result.json":
        return Result.from_json(text)
    content = json.loads(text)
    rows = content.get("tensors") if path.name == "transfer.json" and isinstance(content, dict) else []
    if not isinstance(content, list if path.name == "classes.json" else dict):
        raise ValueError(f"it holds a {type(content).__name__}")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise ValueError("it holds no list of tensors")
    return content


def _lines(path: Path, problems: list[str]) -> Iterator[dict[str, Any]]:
    """The rows of a metrics file. A last line cut off by a kill is expected; any broken line is counted."""
    broken = 0
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except ValueError:
                broken += 1
                continue
            if isinstance(row, dict) and isinstance(row.get("update"), int):
                yield row
            else:
                broken += 1
    if broken:
        problems.append(f"metrics.jsonl: {broken} line{'s' if broken > 1 else ''} could not be read and were left out")


def _real(value: Any) -> float:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else math.nan


def _train_row(row: dict[str, Any]) -> TrainRow:
    rates = row.get("lr")
    return TrainRow(
        update=row["update"],
        attempt=int(row.get("attempt", row["update"])),
        loss=_real(row.get("loss")),
        rates={name: _real(value) for name, value in (rates.items() if isinstance(rates, dict) else [("lr", rates)])},
        samples_per_second=_real(row.get("samples_per_second")),
        grad_norm=_real(row.get("grad_norm")),
        skipped=int(row.get("skipped") or 0),
    )


def _evaluation(row: dict[str, Any]) -> Evaluation:
    return Evaluation(
        update=row["update"],
        epoch=_real(row.get("epoch")),
        metrics={name: _real(value) for name, value in (row.get("metrics") or {}).items()},
        best=bool(row.get("best")),
    )
