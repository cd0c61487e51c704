"""The fp16 loss scale: all optimizers as one for the scaler, the flag that says "skipped", and when to give up."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

#: So many overflows in a row are no search for a scale any more: from 65,536 they end at 64.
MOST_SKIPS_IN_A_ROW = 10
#: Below this, scaling shrinks gradients instead of protecting them from underflow.
LEAST_SCALE = 1.0


class ScaleCollapseError(RuntimeError):
    """fp16 gradients overflow at every loss scale that is tried, so the model no longer learns."""

    def __init__(self, skips_in_a_row: int, scale: float, attempted: int, skipped: int) -> None:
        reason = (
            f"the loss scale fell to {scale:g}, below {LEAST_SCALE:g}"
            if scale < LEAST_SCALE
            else f"{skips_in_a_row} updates in a row were skipped (loss scale now {scale:g})"
        )
        super().__init__(
            f"fp16 training has stopped learning: {reason}; {skipped} of {attempted} updates were skipped in all, "
            "because gradients are inf or NaN at every scale. Look for the first bad module with "
            "hone.precision.diagnose, keep it in float32 with keep_fp32, or train in bf16 or fp32"
        )
        self.skips_in_a_row = skips_in_a_row
        self.scale = scale


def scaled_by_another(loss: Tensor) -> bool:
    """Whether ``loss`` came out of ``scale`` of some other ``GradScaler`` that is alive.

    Such a loss is a product with a scalar; only where that holds are the living objects searched for its owner.
    """
    factor = getattr(loss.grad_fn, "_saved_other", None)
    if not isinstance(factor, Tensor) or factor.ndim or factor.dtype != torch.float32:
        return False
    # By type(), which asks the object nothing: isinstance reads __class__, and some objects warn when they are touched.
    found = (thing for thing in gc.get_objects() if issubclass(type(thing), torch.amp.GradScaler))
    scales = (scaler._scale for scaler in found)
    return any(scale is not None and scale.data_ptr() == factor.data_ptr() for scale in scales)


class JointStep:
    """Several optimizers in the shape in which ``torch.amp.GradScaler`` takes one.

    The scaler decides per optimizer; seeing all of them as one, it unscales them together and steps or skips them
    together. Where every one is fused, the decision is made on the device and nothing waits for it.

    Args:
        optimizers: the optimizers of this update.
    """

    def __init__(self, optimizers: Sequence[Optimizer]) -> None:
        self.optimizers = optimizers
        self.param_groups: list[dict[str, Any]] = [group for each in optimizers for group in each.param_groups]
        #: torch's own mark for "takes ``found_inf`` and decides on the device".
        self._step_supports_amp_scaling = all(getattr(o, "_step_supports_amp_scaling", False) for o in optimizers)
        self.stepped = False
        self.overflow: Tensor | None = None

    def step(self) -> None:
        """Step every optimizer. A scaler that decides itself calls this only where no gradient is inf or NaN."""
        self.stepped = True
        if not self._step_supports_amp_scaling:
            for optimizer in self.optimizers:
                optimizer.step()
            return
        self.overflow = self.found_inf
        for optimizer in self.optimizers:
            optimizer.grad_scale = None  # type: ignore[attr-defined]  # the gradients are unscaled by now
            optimizer.found_inf = self.overflow  # type: ignore[attr-defined]
            try:
                optimizer.step()
            finally:
                del optimizer.grad_scale  # type: ignore[attr-defined]
                del optimizer.found_inf  # type: ignore[attr-defined]

    #: Set by the scaler just before it calls ``step``, and deleted after.
    found_inf: Tensor
    grad_scale: Tensor | None


class Overflow:
    """Whether an update overflowed, and the loss scale after it: known at once, or copied from the device and awaited.

    Args:
        found_inf: float32 scalar on the device, above 0 where a gradient was inf or NaN.
        scale: float32 scalar on the device, the scale after this update.
    """

    __slots__ = ("_copy", "_event")

    def __init__(self, found_inf: Tensor, scale: Tensor) -> None:
        both = torch.stack((found_inf.to(scale.dtype), scale))
        self._event: torch.cuda.Event | None = None
        if both.is_cuda:
            self._copy = torch.empty(2, dtype=both.dtype, pin_memory=True)
            self._copy.copy_(both, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._copy = both

    def read(self) -> tuple[bool, float]:
        """Wait for the copy; whether the update was skipped, and the scale after it."""
        if self._event is not None:
            self._event.synchronize()
            self._event = None
        found_inf, scale = self._copy.tolist()
        return found_inf > 0, scale
