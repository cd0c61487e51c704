"""Cut the rate when a reading stops getting better: the one schedule that learns from the run."""

from __future__ import annotations

import math
from bisect import bisect_right
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from hone.checks import integer, invalid, number, one_of

from .bound import Curve, Horizon, Schedule, Values


@dataclass(frozen=True)
class ReduceLROnPlateau(Schedule):
    """The rate is cut when ``patience`` readings in a row were no better than the best before them.

    The bound schedule takes each evaluation's result by ``read(value, update)``. A second reading at the same update
    (one for each process, say) counts once. A reading that is not finite says nothing about a plateau: it is counted
    apart (``state_dict()["not_finite"]``) and neither starts nor ends one.

    Args:
        mode: "min" where smaller readings are better, "max" where larger ones are.
        factor: what the rate is multiplied by, at least 0 and below 1.
        patience: readings without improvement that are let pass, at least 0.
        threshold: how much better is better, at least 0.
        threshold_mode: "rel" (a share of the best) or "abs".
        cooldown: readings after a cut that don't count as bad, at least 0.
        min_lr: the floor, a rate, at least 0.
        eps: a cut smaller than this rate is not made, at least 0.

    Raises:
        ValueError: an argument is out of its range.

    Example:
        >>> bound = ReduceLROnPlateau(patience=0, factor=0.5).bind(total_updates=30, updates_per_epoch=10, base_lr=0.1)
        >>> bound.read(1.0, 10), bound.read(1.2, 20)
        (False, True)
        >>> bound(19)["lr"], bound(20)["lr"]
        (1.0, 0.5)

    Reference:
        ``torch.optim.lr_scheduler.ReduceLROnPlateau``.
    """

    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        one_of("mode", self.mode, ("min", "max"))
        number("factor", self.factor, at_least=0, below=1)
        integer("patience", self.patience, at_least=0)
        number("threshold", self.threshold, at_least=0)
        one_of("threshold_mode", self.threshold_mode, ("rel", "abs"))
        integer("cooldown", self.cooldown, at_least=0)
        number("min_lr", self.min_lr, at_least=0)
        number("eps", self.eps, at_least=0)

    def curve(self, run: Horizon) -> Curve:
        return PlateauCurve(self, run.base_lr)


@dataclass
class PlateauState:
    """All that a plateau has learned: JSON can hold it.

    Args:
        best: the best reading so far; None before the first.
        bad_readings: readings in a row without improvement.
        cooldown_left: readings for which bad ones don't count.
        cut_updates: the updates from which each cut holds.
        cut_factors: the factor from each of them on.
        last_update: the update of the latest reading; None before the first.
        not_finite: readings that were no finite number.
    """

    best: float | None = None
    bad_readings: int = 0
    cooldown_left: int = 0
    cut_updates: list[int] = field(default_factory=list)
    cut_factors: list[float] = field(default_factory=list)
    last_update: int | None = None
    not_finite: int = 0


class PlateauCurve:
    """The factor that the readings so far have led to, at any update, past ones included."""

    def __init__(self, rule: ReduceLROnPlateau, base_lr: float) -> None:
        self.rule = rule
        self.base_lr = base_lr
        self.state = PlateauState()

    def __call__(self, update: int) -> Values:
        cuts = bisect_right(self.state.cut_updates, update)
        return {"lr": self.state.cut_factors[cuts - 1] if cuts else 1.0}

    def read(self, value: float, update: int) -> bool:
        """Take in a reading made after ``update`` updates; True where it cut the rate."""
        state, rule, value = self.state, self.rule, float(value)
        if state.last_update is not None and update < state.last_update:
            raise invalid("update", f"not lie before the last reading's ({state.last_update})", update)
        if update == state.last_update:
            return False
        state.last_update = update
        if not math.isfinite(value):
            state.not_finite += 1
            return False
        if self._is_better(value):
            state.best, state.bad_readings = value, 0
        else:
            state.bad_readings += 1
        if state.cooldown_left > 0:
            state.cooldown_left -= 1
            state.bad_readings = 0
        if state.bad_readings <= rule.patience:
            return False
        state.cooldown_left, state.bad_readings = rule.cooldown, 0
        return self._cut(update)

    def _is_better(self, value: float) -> bool:
        best, rule = self.state.best, self.rule
        if best is None:
            return True
        sign = 1.0 if rule.mode == "max" else -1.0
        if rule.threshold_mode == "rel":
            return sign * value > sign * (best * (1.0 + sign * rule.threshold))
        return sign * value > sign * best + rule.threshold

    def _cut(self, update: int) -> bool:
        before = self.state.cut_factors[-1] if self.state.cut_factors else 1.0
        after = max(before * self.rule.factor, self.rule.min_lr / self.base_lr)
        if (before - after) * self.base_lr <= self.rule.eps:
            return False
        self.state.cut_updates.append(update)
        self.state.cut_factors.append(after)
        return True

    def state_dict(self) -> dict[str, Any]:
        """All that was learned from readings: JSON can hold it."""
        return asdict(self.state)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a saved ``state_dict()``, which is left as it is."""
        names = set(PlateauState.__dataclass_fields__)
        if set(state) != names:
            raise invalid("state", f"have the keys {sorted(names)}", sorted(state))
        copied: dict[str, Any] = {
            key: list(value) if isinstance(value, list) else value for key, value in state.items()
        }
        self.state = PlateauState(**copied)
