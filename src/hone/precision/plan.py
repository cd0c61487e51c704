"""Plans for a training step (format, layout, compile, checkpointing, batch), what each costs, and which to take."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

from hone.checks import invalid


@dataclasses.dataclass(frozen=True)
class Plan:
    """One way to run the same training step.

    Attributes:
        compile: the model goes through ``torch.compile``.
        checkpointing: blocks recompute their activations.
        kind: the number format.
        channels_last: images and weights in NHWC (NDHWC for volumes) memory order.
        batch_size: samples a step.
    """

    compile: bool = False
    checkpointing: bool = False
    kind: str = "fp32"
    channels_last: bool = False
    batch_size: int = 1

    @property
    def plainness(self) -> tuple[int, int, int, int, int]:
        """Smaller is plainer: what a reader would have to be told about is further from 0."""
        formats = ("fp32", "tf32", "bf16", "fp16")
        return self.compile, self.checkpointing, formats.index(self.kind), self.channels_last, self.batch_size

    def __str__(self) -> str:
        words = [self.kind, "channels_last"] if self.channels_last else [self.kind]
        words += ["compiled"] * self.compile + ["checkpointing"] * self.checkpointing
        return f"{', '.join(words)}, batch {self.batch_size}"


@dataclasses.dataclass(frozen=True)
class Measurement:
    """What a plan costs.

    Attributes:
        plan: the plan.
        samples_per_second: median over the steps; 0 where it failed.
        low: lower quartile.
        high: upper quartile.
        peak_bytes: most memory in use during the steps above what was in use before; None where it can't be read.
        failure: why it could not be measured, else "".
    """

    plan: Plan
    samples_per_second: float
    low: float
    high: float
    peak_bytes: int | None
    failure: str = ""


@dataclasses.dataclass(frozen=True)
class PlanTable:
    """All measurements, and the choice among them.

    Example:
        >>> plain = Measurement(Plan(), 10.0, 9.0, 11.0, None)
        >>> other = Measurement(Plan(channels_last=True), 10.5, 9.5, 11.0, None)
        >>> print(PlanTable((plain, other)).best.plan)
        fp32, batch 1
    """

    rows: tuple[Measurement, ...]

    @property
    def best(self) -> Measurement:
        """The fastest; of those that tie with it, the plainest.

        Two plans tie where the ranges between their quartiles overlap: the difference is within the measurement's own
        noise.

        Raises:
            ValueError: no plan could be measured.
        """
        good = [row for row in self.rows if not row.failure]
        if not good:
            raise invalid("plans", "contain one that runs", [f"{row.plan}: {row.failure}" for row in self.rows])
        fastest = max(good, key=lambda row: row.samples_per_second)
        return min((row for row in good if row.high >= fastest.low), key=lambda row: row.plan.plainness)

    def __str__(self) -> str:
        best = self.best
        lines = [f"{'plan':<44} {'samples/s':>9} {'quartiles':>15} {'peak MiB':>9}"]
        for row in self.rows:
            if row.failure:
                lines.append(f"{row.plan!s:<44} {row.failure}")
                continue
            peak = "-" if row.peak_bytes is None else f"{row.peak_bytes / 2**20:.0f}"
            quartiles = f"{row.low:.1f}-{row.high:.1f}"
            mark = "  <- taken" if row is best else ""
            lines.append(f"{row.plan!s:<44} {row.samples_per_second:>9.1f} {quartiles:>15} {peak:>9}{mark}")
        return "\n".join(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain data: the rows and the plan that is taken."""
        return {"best": dataclasses.asdict(self.best.plan), "rows": [dataclasses.asdict(row) for row in self.rows]}

    def to_json(self) -> str:
        """The table as JSON."""
        return json.dumps(self.to_dict(), indent=2, allow_nan=False)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> PlanTable:
        """The table that ``to_dict`` wrote."""
        return cls(tuple(Measurement(**{**row, "plan": Plan(**row["plan"])}) for row in data["rows"]))


def all_plans(
    *,
    kinds: Sequence[str],
    batch_sizes: Sequence[int],
    channels_last: Sequence[bool] = (False, True),
    compile: Sequence[bool] = (False,),
    checkpointing: Sequence[bool] = (False,),
) -> list[Plan]:
    """Every combination, the plainest first.

    Example:
        >>> [str(plan) for plan in all_plans(kinds=["fp32"], batch_sizes=[8])]
        ['fp32, batch 8', 'fp32, channels_last, batch 8']
    """
    plans = [
        Plan(compile=c, checkpointing=k, kind=kind, channels_last=last, batch_size=n)
        for c in compile
        for k in checkpointing
        for kind in kinds
        for last in channels_last
        for n in batch_sizes
    ]
    return sorted(plans, key=lambda plan: plan.plainness)
