"""What became of every tensor when weights were copied from one model into another."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class AuditRow:
    """One tensor.

    Attributes:
        name: its name in the model (in the source, for a skipped tensor of the source).
        status: ``"copied"``, ``"resized"`` (copied after a change of shape), ``"new"`` (left as the model initialised
            it) or ``"skipped"`` (of the source, used nowhere).
        reason: why; empty for what was simply copied.
        shape: in the model (in the source, for a skipped tensor).
        source: its name in the source; None where nothing was copied.
    """

    name: str
    status: str
    reason: str
    shape: tuple[int, ...]
    source: str | None = None


@dataclass(frozen=True)
class Audit:
    """What was copied, tensor by tensor.

    Attributes:
        rows: first the model's tensors in its order, then those of the source that were not used.
        matched: ``"by name"`` or ``"by order and shape"``.
        share: how much of the trunk's parameters was copied or resized, 0 to 1.
        output: the output layer in words, such as ``"1280 -> 5"``; empty where it was copied too.
    """

    rows: tuple[AuditRow, ...]
    matched: str
    share: float
    output: str = ""

    def count(self, status: str) -> int:
        """How many tensors have this status."""
        return Counter(row.status for row in self.rows)[status]

    def summary(self) -> str:
        """One line.

        Example:
            >>> rows = (AuditRow("conv.weight", "copied", "", (4, 3)), AuditRow("fc.weight", "new", "shape", (5, 4)))
            >>> Audit(rows, "by name", 1.0, "4 -> 5").summary()
            '1 of 2 tensors copied, output layer new (4 -> 5)'
        """
        resized, total = self.count("resized"), sum(row.status != "skipped" for row in self.rows)
        parts = [f"{self.count('copied') + resized} of {total} tensors copied"]
        if self.matched != "by name":
            parts[0] += f" {self.matched}"
        if resized:
            parts.append(f"{resized} of them resized")
        if skipped := self.count("skipped"):
            head = sum(row.reason.startswith("output layer") for row in self.rows if row.status == "skipped")
            if skipped > head:
                parts.append(f"{skipped - head} of the source not used")
        if self.output:
            parts.append(f"output layer new ({self.output})")
        return ", ".join(parts)

    def to_json(self) -> dict[str, Any]:
        """Plain values, as ``transfer.json`` holds them."""
        rows = [{**asdict(row), "shape": list(row.shape)} for row in self.rows]
        return {"summary": self.summary(), "matched": self.matched, "share": self.share, "tensors": rows}
