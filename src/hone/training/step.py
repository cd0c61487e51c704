"""What one attempt did, and the two integers of the loop: both know more once the device has answered."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from hone.precision import StepResult
from hone.training.later import Later


class NonFiniteLossError(RuntimeError):
    """The loss became NaN or infinite: training on would ruin the weights."""

    def __init__(self, loss: float, update: int) -> None:
        super().__init__(
            f"loss must be finite, got {loss} at update {update}; nothing was saved after update {update - 1}. "
            "Try a lower lr, a longer warmup, max_norm 1, or precision fp32, and look at the data of this update"
        )


class Step:
    """What one attempt did.

    Attributes:
        attempt: attempts completed, this one included.
        before: updates completed before this attempt.
        loss: mean loss of the window, a detached 0-d tensor on the model's device.
        values: what the schedule set: ``lr`` as the factor on each group's own rate, the rest absolute.
        metrics: what ``evaluate`` returned after this update, else None.
    """

    __slots__ = ("_later", "_result", "attempt", "before", "loss", "metrics", "values")

    def __init__(self, before: int, attempt: int, loss: Tensor, result: StepResult, values: Mapping[str, Any]) -> None:
        self.attempt = attempt
        self.loss = loss
        self.values = values
        self.metrics: dict[str, float] | None = None
        self.before = before
        self._result = result
        self._later = Later(loss)

    @property
    def skipped(self) -> bool:
        """Whether fp16 overflowed and no optimizer stepped: exact; reading it waits for the GPU in fp16 only."""
        return self._result.skipped

    @property
    def update(self) -> int:
        """Updates completed, this one included unless it was skipped."""
        return self.before + (not self._result.skipped)

    @property
    def grad_norm(self) -> Tensor | None:
        """Norm of all gradients before clipping, a 0-d tensor on the device; None where nothing asked for it."""
        return self._result.grad_norm

    def settle(self) -> None:
        """Wait until it is known how this attempt went.

        Raises:
            NonFiniteLossError: the loss was NaN or infinite and the optimizer stepped all the same.
        """
        if not math.isfinite(loss := self._later.read()) and not self.skipped:
            raise NonFiniteLossError(loss, self.before + 1)


class LoopState:
    """The two integers from which everything scheduled and everything random is computed.

    Args:
        update: optimizer updates completed.
        attempt: updates completed and updates skipped.

    Example:
        >>> state = LoopState(update=3, attempt=5)
        >>> state.update, state.attempt
        (3, 5)
    """

    __slots__ = ("_last", "_update", "attempt")

    def __init__(self, update: int = 0, attempt: int = 0) -> None:
        self._update = update
        self.attempt = attempt
        self._last: Step | None = None

    @property
    def update(self) -> int:
        """Updates completed. Reading it settles the last attempt, so what is saved after it was a good one."""
        if self._last is not None:
            self._last.settle()
            self._update = self._last.update
            self._last = None
        return self._update

    def record(self, step: Step) -> None:
        """Count an attempt; whether it was an update is asked when somebody needs to know."""
        self.attempt = step.attempt
        self._last = step
