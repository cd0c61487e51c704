"""``Precision``: the numbers in which a model is trained, and the one place that unscales, clips, steps and updates."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from weakref import WeakSet

import torch
from torch import Tensor
from torch.optim import Optimizer

from hone.checks import invalid, number
from hone.precision.autocast import Autocast
from hone.precision.clipping import clip_together, refuse_half_parameters
from hone.precision.device import resolve_kind, set_fp32_multiplication
from hone.precision.scaling import (
    LEAST_SCALE,
    MOST_SKIPS_IN_A_ROW,
    JointStep,
    Overflow,
    ScaleCollapseError,
    scaled_by_another,
)

HALF = {"bf16": torch.bfloat16, "fp16": torch.float16}


class StepResult:
    """What one update did.

    Attributes:
        grad_norm: 0-d device tensor, the norm of all unscaled gradients before clipping; None without ``max_norm``.
        scale: 0-d device tensor, the factor by which this update's loss was multiplied; 1 but in fp16.
    """

    __slots__ = ("_skipped", "grad_norm", "scale")

    def __init__(self, skipped: bool | Overflow, grad_norm: Tensor | None, scale: Tensor) -> None:
        self._skipped = skipped
        self.grad_norm = grad_norm
        self.scale = scale

    @property
    def skipped(self) -> bool:
        """Whether the update was left out because a gradient overflowed: exact. Reading it may wait for the GPU."""
        if isinstance(self._skipped, Overflow):
            self._skipped = self._skipped.read()[0]
        return self._skipped

    def __repr__(self) -> str:
        return f"StepResult(skipped={self.skipped}, grad_norm={self.grad_norm}, scale={self.scale})"


class Precision:
    """Train in float32, TF32, bfloat16 or float16 with the same three calls.

    In fp16 the loss is multiplied by a scale S before the backward pass, so that small gradients do not underflow, and
    the gradients are divided by it before clipping. An update with an inf or NaN gradient is skipped as a whole and S
    halved; after ``growth_interval`` good updates in a row S is doubled. fp32 is the same object doing nothing.

    Args:
        kind: "fp32", "tf32", "bf16", "fp16", or "auto": bf16 where the device has it natively, else fp32.
        device: where the model is; by default CUDA where there is one, else the CPU.
        init_scale: S at the start, at least 1 (fp16).
        growth_interval: updates without overflow before S is doubled (fp16).

    Raises:
        ValueError: the kind is unknown, or the device does not have it.

    Example:
        >>> model = torch.nn.Linear(4, 2)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> precision = Precision("fp16", device="cpu", init_scale=1024.0)
        >>> with precision.autocast():
        ...     loss = model(torch.ones(3, 4)).float().square().mean()
        >>> precision.backward(loss)
        >>> precision.step(optimizer, max_norm=1.0).skipped
        False

    Reference:
        Micikevicius et al., Mixed Precision Training, ICLR 2018, section 3.
    """

    def __init__(
        self,
        kind: str = "auto",
        device: torch.device | str | None = None,
        *,
        init_scale: float = 65536.0,
        growth_interval: int = 2000,
    ) -> None:
        if device is None:
            device = "cuda" if torch.cuda.is_available() else "cpu"
        self.device = torch.device(device)
        self.kind = resolve_kind(kind, self.device)
        if self.device.type == "cuda" and self.kind in ("fp32", "tf32"):
            set_fp32_multiplication(exact=self.kind == "fp32")
        self._scaler: torch.amp.GradScaler | None = None
        if self.kind == "fp16":
            number("init_scale", init_scale, at_least=LEAST_SCALE)
            self._scaler = torch.amp.GradScaler(
                self.device.type, init_scale=init_scale, growth_interval=growth_interval
            )
        self._dtype = HALF.get(self.kind)
        self._one = torch.ones((), device=self.device)
        self._met: WeakSet[Optimizer] = WeakSet()
        self._last: tuple[Optimizer, ...] | None = None
        self._scaled_losses = 0
        self._unread: Overflow | None = None
        self._attempted = 0
        self._skipped = 0
        self._in_a_row = 0

    def autocast(self) -> Autocast:
        """A context for the forward pass and the loss, or a decorator for a ``forward``; fresh at each call."""
        return Autocast(self.device.type, self._dtype)

    def backward(self, loss: Tensor) -> None:
        """Add the gradients of ``loss`` (scaled in fp16) to the parameters' ``.grad``.

        Call it once for each micro-batch of an accumulation window; the scale stays the same within the window.

        Args:
            loss: scalar, float32 or float64.

        Raises:
            TypeError: the loss is half precision, which holds too few digits for it.
            ValueError: the loss is not a scalar, or another scaler has scaled it already.
        """
        if loss.dtype in (torch.float16, torch.bfloat16):
            raise TypeError(
                f"loss must be float32 or float64, got {str(loss.dtype).removeprefix('torch.')}; "
                "compute it from logits.float(), or use a loss of hone, which does so itself"
            )
        if loss.ndim:
            raise invalid("loss", "be a scalar", tuple(loss.shape), "reduce it with .mean() or .sum()")
        if self._scaler is None:
            loss.backward()  # type: ignore[no-untyped-call]
        else:
            if not self._attempted and not self._scaled_losses and scaled_by_another(loss):
                raise invalid("loss", "be scaled once", "one from another GradScaler", "give backward the loss itself")
            self._scaled_losses += 1
            self._scaler.scale(loss).backward()  # type: ignore[no-untyped-call]

    def step(self, *optimizers: Optimizer, max_norm: float | None = None) -> StepResult:
        """Make one update: unscale, clip, step every optimizer or none, and adapt the scale.

        Args:
            optimizers: all optimizers of this update.
            max_norm: gradients of all optimizers together are scaled down to this norm; ``math.inf`` only measures it.

        Returns:
            Whether the update was skipped, the norm and the scale, none of them read from the device yet.

        Raises:
            ScaleCollapseError: ten updates in a row overflowed, or the scale fell below 1 (fp16).
            TypeError: a parameter is half precision.
            RuntimeError: no loss went through ``backward`` since the last step (fp16).
        """
        if optimizers != self._last:  # compared by identity: what follows is only paid where they change
            self._meet(optimizers)
        if self._scaler is not None:
            return self._scaled_step(self._scaler, optimizers, max_norm)
        norm = None if max_norm is None else clip_together(optimizers, max_norm)
        for optimizer in optimizers:
            optimizer.step()
        self._attempted += 1
        return StepResult(False, norm, self._one)

    def _scaled_step(
        self, scaler: torch.amp.GradScaler, optimizers: Sequence[Optimizer], max_norm: float | None
    ) -> StepResult:
        self._read_last()
        self._stop_if_collapsed()
        if not self._scaled_losses:
            raise RuntimeError(
                "step came before any backward of this Precision: gradients that it did not scale would be unscaled; "
                "call precision.backward(loss), and use one scaler only"
            )
        joint = JointStep(optimizers)
        if all(p.grad is None for group in joint.param_groups for p in group["params"]):
            raise RuntimeError("no parameter of these optimizers has a gradient: is everything in them frozen?")
        scale = scaler.scale(self._one)
        scaler.unscale_(joint)  # type: ignore[arg-type]
        norm = None if max_norm is None else clip_together(optimizers, max_norm)
        scaler.step(joint)  # type: ignore[arg-type]
        scaler.update()
        self._scaled_losses = 0
        if joint.overflow is not None:
            self._unread = Overflow(joint.overflow, scaler.scale(self._one))
            return StepResult(self._unread, norm, scale)
        self._count(not joint.stepped)
        if not joint.stepped:
            self._stop_if_collapsed()
        return StepResult(not joint.stepped, norm, scale)

    def _meet(self, optimizers: tuple[Optimizer, ...]) -> None:
        """Look once at each optimizer that has not been seen before."""
        if not optimizers:
            raise TypeError("step must get at least one optimizer, got none")
        for optimizer in optimizers:
            if optimizer not in self._met:
                refuse_half_parameters(optimizer)
                self._met.add(optimizer)
        self._last = optimizers

    def _count(self, skipped: bool) -> None:
        self._attempted += 1
        self._skipped += skipped
        self._in_a_row = self._in_a_row + 1 if skipped else 0

    def _read_last(self) -> None:
        """Count an update whose flag was still on its way."""
        if self._unread is not None:
            skipped, _ = self._unread.read()
            self._unread = None
            self._count(skipped)

    def _stop_if_collapsed(self) -> None:
        # Only a skip lowers the scale, so an update after a good one has nothing to read.
        if self._in_a_row and self._scaler is not None:
            scale = self._scaler.get_scale()
            if self._in_a_row >= MOST_SKIPS_IN_A_ROW or scale < LEAST_SCALE:
                raise ScaleCollapseError(self._in_a_row, scale, self._attempted, self._skipped)

    @property
    def attempted(self) -> int:
        """Updates made or skipped so far."""
        self._read_last()
        return self._attempted

    @property
    def skipped(self) -> int:
        """Updates skipped so far."""
        self._read_last()
        return self._skipped

    def state_dict(self) -> dict[str, Any]:
        """Everything that was learned from the run, in plain numbers: the scale, its growth count, the skips."""
        if self._scaled_losses:
            raise RuntimeError("state_dict came between backward and step; save after the step")
        self._read_last()
        state: dict[str, Any] = {
            "kind": self.kind,
            "attempted": self._attempted,
            "skipped": self._skipped,
            "skips_in_a_row": self._in_a_row,
        }
        if self._scaler is not None:
            own = self._scaler.state_dict()
            own["growth_tracker"] = own.pop("_growth_tracker")
            state |= own
        return state

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from a ``state_dict``.

        Raises:
            ValueError: the state is of another kind of precision.
        """
        if state["kind"] != self.kind:
            raise invalid("precision", f"be {state['kind']} as in the saved state", self.kind)
        self._unread = None
        self._scaled_losses = 0
        self._attempted = state["attempted"]
        self._skipped = state["skipped"]
        self._in_a_row = state["skips_in_a_row"]
        if self._scaler is not None:
            self._scaler.load_state_dict({**state, "_growth_tracker": state["growth_tracker"]})

    def __repr__(self) -> str:
        return f"Precision({self.kind!r}, device={str(self.device)!r})"
