"""Which weights a run keeps, where validation data can't tell several of them apart."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from hone.training import is_better, standard_error


@dataclass(frozen=True, eq=False)
class Judged:
    """What validation said of weights.

    Attributes:
        name: of the weights, as the report says it.
        metrics: all of the task.
        losses: of each sample, with the confidence taken out, see :func:`hone.training.calibrated_losses`.
    """

    name: str
    metrics: dict[str, float]
    losses: Tensor


def choose(
    settled: Sequence[Judged], metric: str, *, best: float | None, least: float | None, count: int
) -> Judged | None:
    """The weights that are to be kept.

    The best of a dozen evaluations on a hundred samples is best by chance as well: on other samples it falls back by
    about as much as it was ahead. So three rules, each with the same doubt, one standard error:

    1. What is below the best by no more than that counts as equal to it, but nothing that is below the probe.
    2. Of these the smallest calibrated loss decides, which has less chance in it; those whose loss, sample by sample,
       is greater by no more than that are equal, and the first of them is kept.
    3. Weights in the middle of training, which one more update would move, are kept only where nothing else is equal.

    Args:
        settled: averages of the run's weights, and the probe that it began at; what is trusted most comes first.
        metric: what "best" is decided by; where it is no share of samples (``standard_error`` is 0), only equal values
            are equal.
        best: the best value of the evaluations so far, if any was a number.
        least: the probe's value, if there was one.
        count: validation samples.

    Returns:
        One of ``settled``; None where the weights of the best evaluation stay.

    Example:
        >>> import torch
        >>> probe = Judged("probe", {"accuracy": 0.86}, torch.tensor([0.5, 0.4, 0.5]))
        >>> halfway = Judged("half-way", {"accuracy": 0.88}, torch.tensor([0.4, 0.3, 0.4]))
        >>> choose([halfway, probe], "accuracy", best=0.89, least=0.86, count=100).name
        'half-way'
        >>> choose([halfway, probe], "accuracy", best=0.95, least=0.86, count=100) is None
        True

    Reference:
        Breiman et al., "Classification and Regression Trees", 1984, section 3.4.3 (the rule of one standard error).
    """
    sign = 1.0 if is_better(metric, 1.0, 0.0) else -1.0
    numbers = [each for each in settled if not math.isnan(each.metrics[metric])]
    if not numbers:
        return None
    top = max(*(sign * each.metrics[metric] for each in numbers), -math.inf if best is None else sign * best)
    bound = top - standard_error(metric, abs(top), count)
    bound = bound if least is None else max(bound, sign * least)
    equal = [each for each in numbers if sign * each.metrics[metric] >= bound]
    if not equal:
        return None
    smallest = min(equal, key=lambda each: float(each.losses.mean()))
    return next(each for each in equal if _is_near(each.losses, smallest.losses))


def _is_near(losses: Tensor, smallest: Tensor) -> bool:
    """Whether the mean difference is within its standard error."""
    difference = (losses - smallest).double()
    if not bool(difference.isfinite().all()):
        return losses is smallest
    doubt = float(difference.std(correction=0)) / math.sqrt(len(difference))
    return float(difference.mean()) <= doubt


def told(settled: Sequence[Judged], metric: str, kept: Judged | None) -> str:
    """What became of them, in one line.

    Example:
        >>> import torch
        >>> halfway = Judged("half-way", {"accuracy": 0.88}, torch.tensor([0.4, 0.3]))
        >>> told([halfway], "accuracy", halfway)
        'half-way 0.880, calibrated loss 0.350 (kept)'
    """
    return ", ".join(
        f"{each.name} {each.metrics[metric]:.3f}, calibrated loss {float(each.losses.mean()):.3f}"
        f"{' (kept)' * (each is kept)}"
        for each in settled
    )


def why(settled: Sequence[Judged], metric: str, kept: Judged, before: float | None) -> str:
    """What is kept, and why it is if another was better; ``before`` is the best value of the run's evaluations.

    Example:
        >>> import torch
        >>> halfway = Judged("half-way", {"accuracy": 0.88}, torch.zeros(1))
        >>> why([halfway], "accuracy", halfway, before=0.89)
        'half-way; 0.890 was not better by more than chance'
    """
    top = kept.metrics[metric]
    for value in (before, *(each.metrics[metric] for each in settled)):
        if value is not None and is_better(metric, value, top):
            top = value
    return kept.name if top == kept.metrics[metric] else f"{kept.name}; {top:.3f} was not better by more than chance"
