"""The learning-rate range test: train at rates that rise exponentially, and watch the loss fall and then blow up."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from hone import checks
from hone.precision import ScaleCollapseError
from hone.recipe.job import Job
from hone.training import NonFiniteLossError, Step, updates
from hone.transfer import FreezePlan

#: Share of the past in the average that says when to stop: about the last ten values count.
_PAST = 0.9
#: Weight of a neighbour in the average that is looked at afterwards: about six values count.
_NEAR = 0.7
#: A rate nearer than this factor to that of the lowest loss is too near to where the loss rises again.
_CLEAR = 3.0
#: Losses on the one side of a place before the slope there is believed.
_ENOUGH = 10
#: Diverged: the average is this many times as far above its lowest value as it had come down, or as that value.
_BLOWN_UP = 3.0


@dataclass(frozen=True)
class RangeTest:
    """What the test saw.

    Attributes:
        rates: the base learning rate of each update.
        losses: of the batch after that update, so of the weights which that rate led to.
        smoothed: the losses, each averaged with its neighbours on both sides.
        diverged: whether the test ended because the loss blew up.
    """

    rates: list[float]
    losses: list[float]
    smoothed: list[float]
    diverged: bool

    @property
    def lowest(self) -> int:
        """Where the smoothed loss is lowest."""
        return min(range(len(self.smoothed)), key=self.smoothed.__getitem__)

    @property
    def fell(self) -> bool:
        """Whether the loss fell at all, past what the start's few values say."""
        return self.lowest > self._first

    @property
    def steepest(self) -> float:
        """The rate at which the smoothed loss falls fastest, over the logarithm of the rate."""
        last = self.lowest

        def slope(k: int) -> float:
            before, after = max(k - 1, 0), min(k + 1, last)
            return (self.smoothed[after] - self.smoothed[before]) / (after - before)

        return self.rates[min(range(self._first, last + 1), key=slope)]

    @property
    def tenth_of_lowest(self) -> float:
        """A tenth of the rate at which the smoothed loss is lowest."""
        return self.rates[self.lowest] / 10

    @property
    def suggestion(self) -> float:
        """The steepest descent, but where it is too near to the lowest loss: there a tenth of that rate."""
        return self.steepest if self.is_clear else self.tenth_of_lowest

    @property
    def is_clear(self) -> bool:
        """Whether the loss goes on falling for long enough beyond the steepest descent."""
        return self.steepest * _CLEAR <= self.rates[self.lowest]

    @property
    def _first(self) -> int:
        """The first place that is believed: at most a third of what there is."""
        return min(_ENOUGH, len(self.smoothed) // 3)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        picks = (self.steepest, self.tenth_of_lowest, self.suggestion) if self.fell else (None, None, None)
        return {
            **dict(zip(("steepest", "tenth_of_lowest", "suggestion"), picks, strict=True)),
            "diverged": self.diverged,
            "rates": self.rates,
            "losses": self.losses,
            "smoothed": self.smoothed,
        }


def rising(lowest: float, highest: float, steps: int) -> list[float]:
    """Rates from the lowest to the highest, each the same factor above the one before.

    Example:
        >>> [round(rate, 6) for rate in rising(1e-3, 1e-1, 3)]
        [0.001, 0.01, 0.1]
    """
    checks.number("lowest", lowest, above=0)
    checks.number("highest", highest, above=lowest)
    checks.integer("steps", steps, at_least=2)
    return [lowest * (highest / lowest) ** (k / (steps - 1)) for k in range(steps)]


def smooth(losses: list[float], past: float = _PAST) -> list[float]:
    r"""The exponential average, corrected for its start: :math:`s_k = m_k / (1 - \beta^{k+1})`.

    Example:
        >>> smooth([2.0, 2.0, 2.0])
        [2.0, 2.0, 2.0]
    """
    average, found = 0.0, []
    for k, loss in enumerate(losses):
        average = past * average + (1 - past) * loss
        found.append(average / (1 - past ** (k + 1)))
    return found


def smooth_both(losses: list[float], ceiling: float = math.inf, near: float = _NEAR) -> list[float]:
    r"""The average over both sides: :math:`s_k = \sum_j \beta^{|k-j|} x_j / \sum_j \beta^{|k-j|}`.

    An average of the past alone lags behind: it would show the fall, and suggest a rate, where the loss has already
    been at a rate several times as high.

    Args:
        losses: what is averaged.
        ceiling: what is above it counts as this, so that a blow-up at the end does not drown what is beside it.
        near: weight of the next neighbour.

    Example:
        >>> smooth_both([0.0, 4.0, 0.0], near=0.5)[1]
        2.0
    """
    found = []
    for k in range(len(losses)):
        weights = [near ** abs(k - j) for j in range(len(losses))]
        total = sum(weight * min(loss, ceiling) for weight, loss in zip(weights, losses, strict=True))
        found.append(total / sum(weights))
    return found


def range_test(
    job: Job,
    *,
    lowest: float = 1e-6,
    highest: float = 10.0,
    steps: int = 100,
    tell: Callable[[int, float], None] = lambda update, rate: None,
) -> RangeTest:
    """Train ``job``'s model, which is used up by it, at rising rates until the loss blows up.

    Groups keep their own multiples of the rate; what is frozen stays frozen, and an update that fp16 skips is made up
    for at the same rate. The first value is of the loss after the first update.

    Args:
        job: as built for a run; nothing is written.
        lowest: the first base rate, above 0.
        highest: the last, above ``lowest``.
        steps: how many rates there are.
        tell: called with (updates made, rate) after each.

    Returns:
        A :class:`RangeTest`.

    Raises:
        ValueError: a number out of its range, or a loss that is not finite before the rates matter.

    Reference:
        Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017, section 3.3.
    """
    rates = rising(lowest, highest, steps)
    seen: list[float] = []  # seen[k]: the loss after k updates
    diverged = False
    try:
        for step in _train(job, rates):
            if step.before < len(seen):
                continue  # the attempt before was skipped: these weights have been seen
            seen.append(float(step.loss))
            tell(step.before, rates[min(step.before, steps - 1)])
            if diverged := not math.isfinite(seen[-1]) or has_blown_up(smooth(seen)):
                break
    except (NonFiniteLossError, ScaleCollapseError):
        diverged = True
    losses = [loss for loss in seen[1:] if math.isfinite(loss)]
    if len(losses) < 2:
        raise ValueError("the loss is not finite at the lowest rate already; hone doctor looks for the cause")
    return RangeTest(rates[: len(losses)], losses, smooth_both(losses, blow_up(smooth(losses))), diverged)


def blow_up(smoothed: list[float]) -> float:
    """The value from which on a loss counts as blown up, by what it was before."""
    best = min(smoothed)
    return best + _BLOWN_UP * max(abs(best), smoothed[0] - best)


def has_blown_up(smoothed: list[float]) -> bool:
    """Whether the last value is far above the lowest: by three times that value, or three times the way down to it.

    Example:
        >>> has_blown_up([2.0, 1.0, 3.5]), has_blown_up([2.0, 1.0, 4.5])
        (False, True)
    """
    return smoothed[-1] > blow_up(smoothed)


def _train(job: Job, rates: list[float]) -> Iterator[Step]:
    base, recipe = float(job.recipe.lr or 0.0), job.recipe

    def schedule(update: int) -> dict[str, float]:
        return {"lr": rates[min(update, len(rates) - 1)] / base}

    return updates(
        job.model,
        job.criterion,
        job.optimizer,
        job.train.batches,
        total_updates=len(rates) + 1,  # the last one only shows the loss after the one before
        schedule=schedule,
        plan=FreezePlan(*job.plan.patterns(0), norm=job.plan.norm),  # the first stage: the test is about one thing
        precision=job.precision,
        max_norm=recipe.max_norm or None,
        accumulate=recipe.accumulate,
        seed=recipe.seed,
        world=job.world,
    )
