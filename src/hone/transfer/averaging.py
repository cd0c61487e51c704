r"""Averages of weights: of the last updates (EMA, SWA), between two networks (WiSE-FT), and of several (greedy soup).

An average is worth what validation says of it: :func:`best_on_line` and :func:`greedy_soup` take a ``score``, and give
back what they were given where nothing is better.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import update_bn

from hone import checks
from hone.transfer.layers import is_stateful_norm, unwrap

State = Mapping[str, Tensor]
#: How good weights are on validation data; larger is better.
Score = Callable[[dict[str, Tensor]], float]


class Averaging(Protocol):
    """How much the weights after an update count in the average: a pure function of the update."""

    def share(self, update: int) -> float: ...


@dataclass(frozen=True)
class Ema:
    r"""An exponential moving average.

    .. math:: \bar\theta_u = d_u \bar\theta_{u-1} + (1 - d_u) \theta_u, \qquad d_u = \min(d, \tfrac{1 + u}{10 + u})

    The decay rises to :math:`d`, so that the start is forgotten in short runs, too.

    Args:
        decay: :math:`d`, in [0, 1).
        warmup: False holds :math:`d_u = d` from the start.

    Example:
        >>> Ema(0.9).share(0), Ema(0.9).share(1000), Ema(0.9, warmup=False).share(0)
        (0.9, 0.1, 0.1)

    Reference:
        Polyak and Juditsky, "Acceleration of stochastic approximation by averaging", SIAM J. Control 1992.
    """

    decay: float = 0.999
    warmup: bool = True

    def __post_init__(self) -> None:
        checks.number("decay", self.decay, at_least=0, below=1)

    def share(self, update: int) -> float:
        """:math:`1 - d_u`."""
        decay = min(self.decay, (1 + update) / (10 + update)) if self.warmup else self.decay
        return round(1 - decay, 15)


@dataclass(frozen=True)
class Swa:
    r"""Stochastic weight averaging: the mean of the weights after update ``start`` and every ``every`` from it on.

    Args:
        start: the first update that counts.
        every: updates from one to the next.

    Example:
        >>> [Swa(start=4, every=2).share(update) for update in range(3, 9)]
        [0.0, 1.0, 0.0, 0.5, 0.0, 0.3333333333333333]

    Reference:
        Izmailov et al., "Averaging Weights Leads to Wider Optima and Better Generalization", UAI 2018, algorithm 1.
    """

    start: int
    every: int = 1

    def __post_init__(self) -> None:
        checks.integer("start", self.start, at_least=0)
        checks.integer("every", self.every, at_least=1)

    def share(self, update: int) -> float:
        """One over the number of weights so far; 0 where this update does not count."""
        past, rest = divmod(update - self.start, self.every)
        return 1 / (past + 1) if past >= 0 and not rest else 0.0


class AverageState:
    """The running average of a model's parameters and floating-point buffers.

    Args:
        model: where it starts.

    Example:
        >>> model = nn.Linear(1, 1, bias=False)
        >>> _ = nn.init.ones_(model.weight)
        >>> state = AverageState(model)
        >>> _ = nn.init.constant_(model.weight, 3.0)
        >>> state.take(model, share=0.25)
        >>> state.weights()["weight"].item()
        1.5
    """

    def __init__(self, model: nn.Module) -> None:
        self._tensors = {name: tensor.detach().clone() for name, tensor in unwrap(model).state_dict().items()}

    def take(self, model: nn.Module, share: float) -> None:
        """Count the weights as they are now; what is no floating-point number is taken over.

        Args:
            model: the same network.
            share: in [0, 1]; 0 leaves the average as it is.
        """
        if checks.number("share", share, at_least=0, at_most=1) == 0:
            return
        now = unwrap(model).state_dict()
        floats = [name for name, tensor in self._tensors.items() if tensor.is_floating_point()]
        with torch.no_grad():
            torch._foreach_lerp_([self._tensors[name] for name in floats], [now[name] for name in floats], share)
            for name in self._tensors.keys() - set(floats):
                self._tensors[name].copy_(now[name])

    def weights(self) -> dict[str, Tensor]:
        """The average, under the model's own names."""
        return dict(self._tensors)

    def load(self, weights: State) -> None:
        """Go on from an average that was saved."""
        for name, tensor in self._tensors.items():
            tensor.copy_(weights[name])


def reestimate_norms(model: nn.Module, batches: Iterable[Any]) -> bool:
    """Give the batch norms of averaged weights their own statistics: the mean over one pass of the training data.

    Only norms in training mode are touched: where statistics were frozen in training, they stay.

    Args:
        model: with the averaged weights, in the modes of training.
        batches: inputs, or tuples that begin with them.

    Returns:
        Whether there was any such norm; without one nothing runs.

    Reference:
        Izmailov et al., 2018, section 3.2; the pass is torch's ``update_bn``.
    """
    moving = [module for module in model.modules() if is_stateful_norm(module) and module.training]
    if not moving:
        return False
    modes = {module: module.training for module in model.modules()}
    resting = [module for module in model.modules() if is_stateful_norm(module) and module not in moving]
    kept = [{name: buffer.clone() for name, buffer in module.named_buffers()} for module in resting]
    update_bn(batches, model)
    for module, mode in modes.items():
        module.training = mode
    for module, buffers in zip(resting, kept, strict=True):
        for name, buffer in module.named_buffers():
            buffer.copy_(buffers[name])
    return True


def interpolate(first: State, second: State, share: float) -> dict[str, Tensor]:
    r"""The point :math:`(1 - \alpha) \theta_1 + \alpha \theta_2` between two networks of one architecture.

    What is no floating-point number comes from the second.

    Args:
        first: weights by name.
        second: the same names and shapes.
        share: :math:`\alpha`, 0 for the first and 1 for the second.

    Raises:
        ValueError: the names differ.

    Example:
        >>> interpolate({"w": torch.tensor(1.0)}, {"w": torch.tensor(3.0)}, 0.25)
        {'w': tensor(1.5000)}

    Reference:
        Wortsman et al., "Robust fine-tuning of zero-shot models" (WiSE-FT), CVPR 2022, equation 1.
    """
    if first.keys() != second.keys():
        strange = sorted(first.keys() ^ second.keys())[0]
        raise checks.invalid("weights", "have the same names", strange)
    return {
        name: torch.lerp(first[name], tensor, share) if tensor.is_floating_point() else tensor
        for name, tensor in second.items()
    }


@dataclass(frozen=True)
class Kept:
    """What an average came to.

    Attributes:
        weights: the best.
        value: its score.
        shares: how much each of those that were given counts in it.
    """

    weights: dict[str, Tensor]
    value: float
    shares: tuple[float, ...]


def best_on_line(
    first: State, second: State, score: Score, *, shares: Sequence[float] = (0.25, 0.5, 0.75), ends: Sequence[float]
) -> Kept:
    """The best point on the line between two networks: WiSE-FT between a probe and what was tuned from it.

    Args:
        first: the probe's weights.
        second: the tuned ones.
        score: of weights on validation data; larger is better.
        shares: the points between them that are tried.
        ends: the scores of the first and the second, which are known. A point inside has to be better than both;
            of equal ends the second is kept.

    Example:
        >>> weights = [{"w": torch.tensor(0.0)}, {"w": torch.tensor(1.0)}]
        >>> best_on_line(*weights, lambda w: -abs(float(w["w"]) - 0.5), ends=(-0.5, -0.5)).shares
        (0.5, 0.5)
    """
    places = (first, 0.0) if ends[0] > ends[1] else (second, 1.0)
    best = Kept(dict(places[0]), max(ends), (1 - places[1], places[1]))
    for share in shares:
        weights = interpolate(first, second, share)
        value = score(weights)
        if value > best.value:
            best = Kept(weights, value, (1 - share, share))
    return best


def greedy_soup(ingredients: Sequence[State], values: Sequence[float], score: Score) -> Kept:
    """The mean of as many networks as make it better, tried from the best to the worst.

    Args:
        ingredients: weights of networks of one architecture and one origin.
        values: their scores.
        score: of weights on validation data; larger is better.

    Returns:
        The soup: never worse than the best ingredient.

    Raises:
        ValueError: there is no ingredient, or another number of values.

    Example:
        >>> ingredients = [{"w": torch.tensor(x)} for x in (0.0, 1.0, 9.0)]
        >>> greedy_soup(ingredients, [-0.4, -0.6, -8.6], lambda w: -abs(float(w["w"]) - 0.4)).shares
        (0.5, 0.5, 0.0)

    Reference:
        Wortsman et al., "Model soups", ICML 2022, recipe 1.
    """
    if not ingredients or len(ingredients) != len(values):
        raise checks.invalid("ingredients", "be at least one, with a value each", (len(ingredients), len(values)))
    order = sorted(range(len(values)), key=lambda place: -values[place])
    chosen, soup, best = order[:1], dict(ingredients[order[0]]), values[order[0]]
    for place in order[1:]:
        trial = interpolate(soup, ingredients[place], 1 / (len(chosen) + 1))
        value = score(trial)
        if value >= best:
            chosen, soup, best = [*chosen, place], trial, value
    return Kept(soup, best, tuple((place in chosen) / len(chosen) for place in range(len(values))))
