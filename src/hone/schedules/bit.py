"""BiT-HyperRule: a schedule chosen by the size of the data set alone."""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from hone.checks import integer

from .bound import Curve, Horizon, Schedule

#: Images below which the rule holds; then the end of the warm-up, the three cuts and the end of the run, in updates.
_RULES = (
    (20_000, (100, 200, 300, 400, 500)),
    (500_000, (500, 3_000, 6_000, 9_000, 10_000)),
    (None, (500, 6_000, 12_000, 18_000, 20_000)),
)


@dataclass(frozen=True)
class BiTHyperRuleLR(Schedule):
    """The rate climbs from 0, then is cut to a tenth three times; when, follows from the number of images.

    ``f(u) = u / W`` below the warm-up's end ``W``, else ``0.1 ** (number of cuts < u)``

    The published lengths are 500 updates below 20,000 images, 10,000 below 500,000 and 20,000 above (``length``); in a
    run of another length the warm-up and the cuts keep their place in proportion. The published base rate is 0.003
    with SGD, momentum 0.9 and batches of 512.

    Args:
        dataset_size: images in the training set, at least 1.

    Raises:
        ValueError: there are none.

    Example:
        >>> rule = BiTHyperRuleLR(dataset_size=2_000)
        >>> bound = rule.bind(total_updates=rule.length, updates_per_epoch=4, base_lr=0.003)
        >>> [round(bound(update)["lr"], 6) for update in (0, 50, 100, 200, 201, 499)]
        [0.0, 0.5, 1.0, 1.0, 0.1, 0.001]

    Reference:
        Kolesnikov et al. 2020, Big Transfer (arXiv:1912.11370), section 3.3.
    """

    dataset_size: int

    def __post_init__(self) -> None:
        integer("dataset_size", self.dataset_size, at_least=1)

    @property
    def length(self) -> int:
        """The published length of the run, in updates."""
        return self._supports()[-1]

    def curve(self, run: Horizon) -> Curve:
        warm, *cuts = (support * run.total_updates // self.length for support in self._supports()[:-1])

        def values(update: int) -> dict[str, float]:
            if update < warm:
                return {"lr": update / warm}
            return {"lr": float(0.1 ** bisect_left(cuts, update))}

        return values

    def _supports(self) -> tuple[int, ...]:
        return next(supports for below, supports in _RULES if below is None or self.dataset_size < below)
