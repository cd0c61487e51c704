"""What the doctor says: one verdict per format, the first fault, a row per layer, as data, as text and as JSON."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any


@dataclasses.dataclass(frozen=True)
class Fault:
    """Where numbers first go bad.

    Attributes:
        module: dotted name; "" for the model itself, "loss" for the loss.
        operation: torch's name of the operation.
        direction: "forward" or "backward".
        what: "overflow", "underflow", "rounding", "not finite" (in float32 too) or "error" (the operation raised).
        detail: the figures, or the error's text.
    """

    module: str
    operation: str
    direction: str
    what: str
    detail: str

    def __str__(self) -> str:
        return f"{self.what} in {self.module or 'the model'}, {self.operation} ({self.direction}): {self.detail}"


@dataclasses.dataclass(frozen=True)
class Layer:
    """One operation's result and gradient in half precision against float32; None where there was nothing to compare.

    Attributes:
        overflow: share of the results that are inf or NaN.
        underflow: share of the non-zero results that became 0.
        error: relative error of the results.
        grad_overflow: as ``overflow``, of the gradient.
        grad_underflow: as ``underflow``, of the gradient, at the loss scale in use.
        grad_error: relative error of the gradient.
        switches: the gradient here flips at a threshold (ReLU, max-pooling), so it differs by rounding alone.
    """

    module: str
    operation: str
    overflow: float | None
    underflow: float | None
    error: float | None
    grad_overflow: float | None
    grad_underflow: float | None
    grad_error: float | None
    switches: bool


#: Gradients that rounded weights alone turn further than this (a cosine) can't be compared.
LEAST_TELLING = 0.5


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How one format fares.

    Attributes:
        kind: "fp32", "bf16" or "fp16".
        safe: it trains as float32 does.
        fault: the first bad module and operation, where it is not safe.
        loss: the loss in this format.
        loss_error: relative to float32's.
        grad_cosine: cosine between all gradients in this format and in float32.
        scale: the loss scale at which the gradients are finite; 1 but in fp16.
        keep_fp32: with these modules in float32 the format was tried again, and is safe.
        layers: a row per operation, in the order of the forward pass.
        rounding_cosine: as ``grad_cosine``, of float32 with rounded weights and inputs; measured where it matters, and
            well below 1 where the model magnifies rounding by itself.
    """

    kind: str
    safe: bool
    fault: Fault | None
    loss: float
    loss_error: float
    grad_cosine: float
    scale: float
    keep_fp32: tuple[str, ...] = ()
    layers: tuple[Layer, ...] = ()
    rounding_cosine: float = 1.0

    @property
    def is_telling(self) -> bool:
        """Whether the comparison says much: not so where rounding the weights alone turns the gradients elsewhere."""
        return self.rounding_cosine >= LEAST_TELLING

    @property
    def summary(self) -> str:
        """One line."""
        if self.safe:
            figures = f"loss within {self.loss_error:.1e}, gradients cosine {self.grad_cosine:.4f}"
            if self.rounding_cosine < 1:
                figures += f" (float32 with rounded weights: {self.rounding_cosine:.4f})"
            scale = f", loss scale {self.scale:g}" if self.kind == "fp16" else ""
            if not self.is_telling:
                scale += "; nothing fails, but rounding alone turns these gradients: more or larger samples would tell"
            return f"{self.kind} is safe: {figures}{scale}"
        advice = ""
        if self.keep_fp32:
            advice = "; safe with " + " ".join(f"--keep-fp32 {name}" for name in self.keep_fp32)
        return f"{self.kind} is not safe: {self.fault}{advice}"


@dataclasses.dataclass(frozen=True)
class Diagnosis:
    """The verdicts for a model, a batch and a loss.

    Example:
        >>> fine = Verdict("fp32", True, None, 0.7, 0.0, 1.0, 1.0)
        >>> print(Diagnosis((fine,)))
        fp32 is safe: loss within 0.0e+00, gradients cosine 1.0000
    """

    verdicts: tuple[Verdict, ...]

    def __getitem__(self, kind: str) -> Verdict:
        return {verdict.kind: verdict for verdict in self.verdicts}[kind]

    @property
    def recommended(self) -> str:
        """The format to train in: the first that is safe of bf16 and fp16, else fp32."""
        safe = {verdict.kind for verdict in self.verdicts if verdict.safe}
        return next((kind for kind in ("bf16", "fp16") if kind in safe), "fp32")

    def __str__(self) -> str:
        return "\n".join(verdict.summary for verdict in self.verdicts)

    def table(self, kind: str) -> str:
        """The layers of one format as text, a line each."""
        head = f"{'module':<32} {'operation':<16} {'overflow':>9} {'underflow':>9} {'error':>9}   gradient: same three"
        return "\n".join([head, *(row_text(layer) for layer in self[kind].layers)])

    def to_dict(self) -> dict[str, Any]:
        """Plain data: lists, dicts, numbers, strings."""
        return {"recommended": self.recommended, "verdicts": [dataclasses.asdict(v) for v in self.verdicts]}

    def to_json(self, path: Path | None = None) -> str:
        """The diagnosis as JSON (a loss that is not finite is null), written to ``path`` if one is given."""
        text = json.dumps(without_nan(self.to_dict()), indent=2, allow_nan=False)
        if path is not None:
            path.write_text(text + "\n")
        return text


def row_text(layer: Layer) -> str:
    """One layer as a line of the table."""
    figures = (
        layer.overflow,
        layer.underflow,
        layer.error,
        layer.grad_overflow,
        layer.grad_underflow,
        layer.grad_error,
    )
    columns = " ".join(f"{'-' if figure is None else f'{figure:.1e}':>9}" for figure in figures)
    note = "  (rounding alone)" if layer.switches else ""
    return f"{layer.module or '(model)':<32} {layer.operation:<16} {columns}{note}"


def without_nan(value: Any) -> Any:
    """``value`` with every inf and NaN replaced by None, as JSON knows neither."""
    if isinstance(value, dict):
        return {key: without_nan(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(item) for item in value]
    if isinstance(value, float) and (value != value or value in (float("inf"), float("-inf"))):
        return None
    return value
