"""Which weights a run keeps, where validation data can't tell several of them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from hone.training import is_better, standard_error


@dataclass(frozen=True)
class Judged:
    """What validation said of weights.

    Attributes:
        name: of the weights, as the report says it.
        metrics: all of the task.
        calibrated: their loss with the confidence taken out, see :func:`hone.training.calibrated_loss`.
    """

    name: str
    metrics: dict[str, float]
    calibrated: float


def choose(
    averages: Sequence[Judged], metric: str, *, best: float | None, probe: Judged | None, count: int
) -> Judged | None:
    """The weights that are to be kept.

    The best of a dozen evaluations on a hundred samples is best by chance as well: on other samples it falls back by
    about as much as it was ahead. So what is below the best by no more than its standard error counts as equal, and of
    equals the smallest calibrated loss decides, which has less chance in it. Weights in the middle of training, which
    one more update would move, are kept only where they are better than that; and nothing is that is below the probe.

    Args:
        averages: of the run's weights.
        metric: what "best" is decided by; where it is no share of samples (``standard_error`` is 0), only equal values
            are equal.
        best: the best value of the evaluations so far, if any was a number.
        probe: what training began at, if it did.
        count: validation samples.

    Returns:
        The probe or one of the averages; None where the weights of the best evaluation stay.

    Example:
        >>> probe, halfway = Judged("probe", {"accuracy": 0.86}, 0.45), Judged("half-way", {"accuracy": 0.88}, 0.37)
        >>> choose([halfway], "accuracy", best=0.89, probe=probe, count=100).name
        'half-way'
        >>> choose([halfway], "accuracy", best=0.95, probe=probe, count=100) is None
        True
    """
    sign = 1.0 if is_better(metric, 1.0, 0.0) else -1.0
    settled = [each for each in (probe, *averages) if each is not None and not math.isnan(each.metrics[metric])]
    if not settled:
        return None
    top = max(*(sign * each.metrics[metric] for each in settled), -math.inf if best is None else sign * best)
    least = sign * probe.metrics[metric] if probe in settled and probe is not None else -math.inf
    least = max(least, top - standard_error(metric, abs(top), count))
    equal = [each for each in settled if sign * each.metrics[metric] >= least]
    return min(equal, key=lambda each: each.calibrated) if equal else None


def told(averages: Sequence[Judged], metric: str, kept: Judged | None, best: float | None) -> str:
    """What became of the averages, in one line.

    Example:
        >>> halfway = Judged("half-way", {"accuracy": 0.88}, 0.37)
        >>> told([halfway], "accuracy", halfway, best=0.89)
        'half-way 0.880 (kept: 0.890 is within a standard error of it, its calibrated loss of 0.370 the smallest)'
    """
    why = " (kept)"
    if kept is not None and best is not None and is_better(metric, best, kept.metrics[metric]):
        loss = f"its calibrated loss of {kept.calibrated:.3f} the smallest"
        why = f" (kept: {best:.3f} is within a standard error of it, {loss})"
    named = [*averages, *([kept] if kept is not None and kept not in averages else [])]
    return ", ".join(f"{each.name} {each.metrics[metric]:.3f}{why * (each is kept)}" for each in named)
