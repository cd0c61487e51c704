"""From two traced runs to a verdict: is the outcome that of float32, and if not, which operation is to blame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

from torch import Tensor

from hone.precision.compare import widened
from hone.precision.trace import PASSING, SWITCHING, Record, Trace
from hone.precision.verdict import Fault, Layer, Verdict

#: More than this share of a gradient's norm gone to underflow: the layers before it learn from what is left.
MOST_LOST = 0.1
#: Rounding alone moves a loss and turns a gradient less than this, but for sums that cancel.
MOST_LOSS_ERROR, LEAST_COSINE = 0.05, 0.9
#: A gradient this much smaller than the largest may be a zero that rounding made: a bias before a normalisation.
NOISE = 1e-5
#: Relative error of one result at which an operation, not the rounding gathered before it, is to blame.
MOST_ERROR = 0.3
#: A model may itself magnify rounding (a normalisation over four values). It may differ from float32 by so many times
#: what float32 differs when its weights and inputs alone are rounded; a layer rounds its results about three times.
CONTROL_FACTOR = 4.0


@dataclasses.dataclass
class Run:
    """One forward and backward pass, traced."""

    trace: Trace
    loss: float = math.nan
    grads: tuple[Tensor | None, ...] = ()
    scale: float = 1.0
    error: Fault | None = None


def exact_verdict(exact: Run) -> Verdict:
    """float32: safe where the loss and all gradients are finite."""
    if exact.error is not None:
        raise RuntimeError(f"the model fails in float32: {exact.error}")
    sound = math.isfinite(exact.loss) and all(g is None or bool(g.isfinite().all()) for g in exact.grads)
    fault = None if sound else first_not_finite(exact.trace)
    return Verdict("fp32", sound, fault, exact.loss, 0.0, 1.0, 1.0)


def first_not_finite(trace: Trace) -> Fault:
    """The first operation that makes inf or NaN in float32."""
    detail = "inf or NaN in float32 too: not a matter of precision"
    for record in trace.records:
        if not record.value.isfinite().all():
            return Fault(record.module, record.operation, "forward", "not finite", detail)
    for index in trace.arrived:
        if not trace.records[index].grad.isfinite().all():
            return Fault(*culprit(trace, index), "backward", "not finite", detail)
    return Fault("", "parameters", "backward", "not finite", detail)


def judge(kind: str, run: Run, exact: Run, control: Run | None = None) -> Verdict:
    """Whether the outcome of ``run`` is that of float32, and if not, the first operation to blame.

    ``control`` is float32 with rounded weights and inputs: what it differs by as well is rounding alone.
    """
    layers = tuple(layer_of(record) for record in run.trace.records)
    if run.error is not None:
        return Verdict(kind, False, run.error, math.nan, math.nan, math.nan, run.scale, layers=layers)
    loss_error, cosine = outcome(run, exact)
    control_error, control_cosine = (0.0, 1.0) if control is None else outcome(control, exact)
    alike = loss_error <= max(MOST_LOSS_ERROR, CONTROL_FACTOR * control_error)
    alike &= cosine >= min(LEAST_COSINE, 1 - CONTROL_FACTOR * (1 - control_cosine))
    lost, hungry = first_lost(run.trace), starved(run.grads, exact.grads)
    fault = None
    if not alike or lost is not None or hungry:
        fault = first_forward(run.trace) or first_overflowing(run.trace) or lost or first_rounded(run.trace, control)
        if fault is None and (hungry or control_cosine >= LEAST_COSINE):
            fault = Fault("", "gradients", "backward", "rounding", "they differ, though no single operation stands out")
    return Verdict(
        kind,
        fault is None,
        fault,
        run.loss,
        loss_error,
        cosine,
        run.scale,
        layers=layers,
        rounding_cosine=control_cosine,
    )


def outcome(run: Run, exact: Run) -> tuple[float, float]:
    """The relative error of the loss, and the cosine between the gradients."""
    return abs(run.loss - exact.loss) / max(abs(exact.loss), 1e-12), cosine_of(run.grads, exact.grads)


def first_forward(trace: Trace) -> Fault | None:
    """The first result that overflowed, or lost its norm to underflow."""
    for record in trace.records:
        found = record.value
        if found is None:
            continue
        if found.overflow:
            detail = f"{found.overflow:.1%} of the results are inf or NaN"
            return Fault(record.module, record.operation, "forward", "overflow", detail)
        if found.lost > MOST_LOST:
            detail = f"{found.underflow:.1%} of the results are too small and became 0"
            return Fault(record.module, record.operation, "forward", "underflow", detail)
    return None


def first_overflowing(trace: Trace) -> Fault | None:
    """The first operation whose backward makes inf or NaN."""
    for index in trace.arrived:
        found = trace.records[index].grad
        if found is not None and found.overflow:
            detail = f"{found.overflow:.1%} of its input's gradient is inf or NaN at every loss scale"
            return Fault(*culprit(trace, index), "backward", "overflow", detail)
    return None


def first_lost(trace: Trace) -> Fault | None:
    """The first operation whose backward loses its norm to underflow."""
    for index in trace.arrived:
        found = trace.records[index].grad
        if found is not None and found.lost > MOST_LOST:
            detail = f"{found.underflow:.1%} of its input's gradient is too small and became 0"
            return Fault(*culprit(trace, index), "backward", "underflow", detail)
    return None


def first_rounded(trace: Trace, control: Run | None) -> Fault | None:
    """The first result, or else gradient, that has lost its digits where rounded weights alone would not lose them."""
    known = {} if control is None else {record.key: record for record in control.trace.records}

    def bad(record: Record, part: str) -> float | None:
        found = getattr(record, part)
        usual = getattr(known.get(record.key), part, None)
        most = max(MOST_ERROR, CONTROL_FACTOR * usual.error if usual is not None else 0.0)
        return found.error if found is not None and found.error > most else None

    for record in trace.records:
        error = bad(record, "value")
        if error is not None:
            detail = f"relative error {error:.2g}: too few digits"
            return Fault(record.module, record.operation, "forward", "rounding", detail)
    for index in trace.arrived:
        error = bad(trace.records[index], "grad")
        if error is not None:
            detail = f"relative error {error:.2g} of its input's gradient: too few digits"
            return Fault(*culprit(trace, index), "backward", "rounding", detail)
    return None


def culprit(trace: Trace, index: int) -> tuple[str, str]:
    """The operation whose backward made the gradient of record ``index``: the one that used its result.

    Where several did, it is one that computes rather than passes numbers on, and whose own gradient was still good.
    """
    users = trace.consumers(index)
    arrived = set(trace.arrived[: trace.arrived.index(index)])
    users = [user for user in users if user in arrived] or users
    computing = [user for user in users if trace.records[user].operation not in PASSING]
    user = (computing or users or [index])[0]
    return trace.records[user].module, trace.records[user].operation


def cosine_of(half: Sequence[Tensor | None], exact: Sequence[Tensor | None]) -> float:
    """Cosine between two lists of gradients, each seen as one long vector; 1 where both vanish."""
    dot = half_square = exact_square = 0.0
    for a, b in zip(half, exact, strict=True):
        if a is not None and b is not None:
            x, y = widened(a).flatten(), widened(b).flatten()
            dot += (x @ y).item()
            half_square += (x @ x).item()
            exact_square += (y @ y).item()
    if exact_square == 0:
        return 1.0
    return dot / math.sqrt(half_square * exact_square) if half_square > 0 else 0.0


def starved(half: Sequence[Tensor | None], exact: Sequence[Tensor | None]) -> bool:
    """Whether a parameter gets no gradient any more that gets one in float32, above the rounding noise of a zero."""
    norms = [
        (widened(b).norm().item(), 0.0 if a is None else widened(a).norm().item())
        for a, b in zip(half, exact, strict=True)
        if b is not None
    ]
    noise = NOISE * max((norm for norm, _ in norms), default=0.0)
    return any(norm > noise and got == 0 for norm, got in norms)


def layer_of(record: Record) -> Layer:
    """The record as a row of the table."""
    value, grad = record.value, record.grad
    return Layer(
        module=record.module,
        operation=record.operation,
        overflow=None if value is None else value.overflow,
        underflow=None if value is None else value.underflow,
        error=None if value is None else value.error,
        grad_overflow=None if grad is None else grad.overflow,
        grad_underflow=None if grad is None else grad.underflow,
        grad_error=None if grad is None else grad.error,
        switches=record.operation in SWITCHING,
    )
