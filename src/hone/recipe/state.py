"""What a run has learned about itself besides the weights: in the checkpoint, together with the two integers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from hone.schedules.extension import OnExtend
from hone.training import LoopState, is_better


@dataclass
class BestState:
    """The best evaluation so far.

    Attributes:
        update: when; None before the first.
        value: of the run's metric.
        waited: evaluations since then.

    Example:
        >>> best = BestState()
        >>> best.take("accuracy", 0.8, update=10), best.take("accuracy", 0.8, update=20), best.waited
        (True, False, 1)
    """

    update: int | None = None
    value: float | None = None
    waited: int = 0

    def take(self, metric: str, value: float, update: int) -> bool:
        """Count an evaluation; whether it beats all before it. A tie goes to the earlier one."""
        if is_better(metric, value, self.value):
            self.update, self.value, self.waited = update, value, 0
            return True
        self.waited += 1
        return False


class Extension(NamedTuple):
    """From an update on, the run has another end.

    Attributes:
        on_extend: what the schedule made of it: ``continue``, ``stretch`` or ``restart``.
        update: where it was said.
        total_updates: the new length of the whole run.
    """

    on_extend: OnExtend
    update: int
    total_updates: int

    def __str__(self) -> str:
        word = {"continue": "continued", "stretch": "stretched", "restart": "restarted, and runs"}[self.on_extend]
        return f"from update {self.update} {word} to {self.total_updates}"


@dataclass
class RunState:
    """Where a run stands.

    Attributes:
        loop: the two integers.
        best: the best evaluation so far.
        kept: what an end has put in its place.
        seconds: of training and evaluation, over all sittings.
        evaluating: the part of them that was evaluation, or the fit of a probe.
        baselines: the metric of what was there before training, by name.
    """

    loop: LoopState = field(default_factory=LoopState)
    best: BestState = field(default_factory=BestState)
    kept: BestState | None = None
    seconds: float = 0.0
    evaluating: float = 0.0
    baselines: dict[str, float] = field(default_factory=dict)

    @property
    def skipped(self) -> int:
        """Attempts that were no update."""
        return self.loop.attempt - self.loop.update

    def go_on(self) -> None:
        """To another end than the one that was reached: from what was kept there, with new patience."""
        best = self.kept or self.best
        self.best, self.kept = BestState(best.update, best.value), None

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "update": self.loop.update,
            "attempt": self.loop.attempt,
            "best": vars(self.best),
            "kept": vars(self.kept) if self.kept else None,
            "seconds": self.seconds,
            "evaluating": self.evaluating,
            "baselines": self.baselines,
        }

    @staticmethod
    def from_json(values: Mapping[str, Any]) -> RunState:
        """Read what :meth:`to_json` wrote."""
        loop = LoopState(values["update"], values["attempt"])
        best, kept = BestState(**values["best"]), BestState(**values["kept"]) if values["kept"] else None
        return RunState(loop, best, kept, values["seconds"], values["evaluating"], dict(values["baselines"]))
