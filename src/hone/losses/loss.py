"""What every loss here is: a module called with (logits, target, mask), that can be scaled and added to others."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hone.checks import invalid, number
from hone.losses.targets import count_of

#: Anything that can be a term of a sum: one of ours, any other module, or a plain function of (logits, target).
AnyLoss = Callable[..., Tensor]


class Loss(nn.Module):
    """A loss as a module; ``0.5 * A() + B()`` is again one."""

    if TYPE_CHECKING:

        def __call__(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
            """``forward`` and its hooks."""

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The loss of ``logits`` against ``target`` over the voxels where ``mask`` is true."""
        raise TypeError(f"{type(self).__name__} defines no forward")

    def valid_weight(self, target: Tensor) -> Tensor:
        """The weight of this batch in a mean over several batches: how many voxels (or samples) it has."""
        return count_of(target, target.numel())

    def __mul__(self, factor: float) -> WeightedSum:
        return WeightedSum([(factor, self)])

    __rmul__ = __mul__

    def __add__(self, other: AnyLoss) -> WeightedSum:
        return WeightedSum([*_terms(self), *_terms(other)])

    def __radd__(self, other: AnyLoss | float) -> Loss:
        if isinstance(other, (int, float)) and other == 0:
            return self  # so that sum([A(), B()]) works
        if not callable(other):
            raise TypeError(f"a loss can only be added to a loss, got {other!r}")
        return WeightedSum([*_terms(other), *_terms(self)])


class WeightedSum(Loss):
    r"""A weighted sum of losses, :math:`L = \sum_i w_i L_i`; what ``0.5 * A() + B()`` builds.

    Args:
        terms: pairs of a weight (any finite number) and a loss: any callable ``(logits, target) -> scalar``.

    Raises:
        ValueError: there is no term, or a weight is not finite.
        TypeError: a weight is no number or a loss is not callable.

    Example:
        >>> from hone.losses import CrossEntropyLoss, SoftmaxDiceLoss
        >>> criterion = 0.5 * SoftmaxDiceLoss() + CrossEntropyLoss()
        >>> logits, target = torch.zeros(1, 2, 4), torch.tensor([[0, 1, 1, 0]])
        >>> round(criterion(logits, target).item(), 3)
        0.893
    """

    def __init__(self, terms: list[tuple[float, AnyLoss]]) -> None:
        super().__init__()
        if not terms:
            raise invalid("terms", "hold at least one loss", terms)
        for _, loss in terms:
            if not callable(loss):
                raise TypeError(f"a loss must be callable, got {loss!r}")
        self.weights = [number("the weight of a loss", weight) for weight, _ in terms]
        self.losses = [loss for _, loss in terms]
        self.modules_in_terms = nn.ModuleList([loss for loss in self.losses if isinstance(loss, nn.Module)])

    def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
        """The weighted sum; ``mask`` is handed on only where it is given, so plain functions may be terms."""
        values = self._values(logits, target, mask)
        weighted = [weight * value for weight, value in zip(self.weights, values, strict=True)]
        return torch.stack(weighted).sum() if len(weighted) > 1 else weighted[0]

    def _values(self, logits: Tensor, target: Tensor, mask: Tensor | None) -> list[Tensor]:
        """The losses; those that can, from one pass over the logits."""
        from hone.losses.sums_loss import share_pass  # which imports Loss from here

        shared = share_pass(self.losses, logits, target, mask)
        extra: dict[str, Any] = {} if mask is None else {"mask": mask}
        return [shared[i] if i in shared else loss(logits, target, **extra) for i, loss in enumerate(self.losses)]

    def valid_weight(self, target: Tensor) -> Tensor:
        """The weight of the first term that has one; terms that average over different voxels have no common weight."""
        for loss in self.losses:
            if hasattr(loss, "valid_weight"):
                weight: Tensor = loss.valid_weight(target)
                return weight
        return super().valid_weight(target)

    def __mul__(self, factor: float) -> WeightedSum:
        return WeightedSum([(factor * weight, loss) for weight, loss in _terms(self)])

    __rmul__ = __mul__

    def extra_repr(self) -> str:
        """The weights, in the order of the terms."""
        return f"weights={self.weights}"


def _terms(loss: AnyLoss) -> list[tuple[float, AnyLoss]]:
    if isinstance(loss, WeightedSum):
        return list(zip(loss.weights, loss.losses, strict=True))
    return [(1.0, loss)]
