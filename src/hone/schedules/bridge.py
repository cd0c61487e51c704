"""A schedule as a real torch ``LRScheduler``, for any other trainer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from hone.checks import invalid

from .binding import bind_schedule
from .bound import Bound, ReadingBound
from .groups import assign


def as_torch(
    schedule: Any,
    optimizer: Optimizer,
    *,
    total_updates: int,
    updates_per_epoch: int | None = None,
    base_lr: float | None = None,
) -> TorchSchedule:
    """A schedule as a torch ``LRScheduler``, for a plain loop, Lightning, Hugging Face's Trainer, Accelerate.

    It counts completed updates itself, by hooks on the optimizer, and sets the values for the next update as soon as
    one is completed. So ``step()`` may be called after every update, every epoch, or once for each process, as
    Accelerate does: the rates are the same. An update that a ``GradScaler`` skipped is not counted, whether the
    optimizer is fused or not.

    Args:
        schedule: whatever ``bind_schedule`` takes.
        optimizer: the optimizer itself, not a wrapper that a trainer made of it.
        total_updates: optimizer updates in the run, at least 1.
        updates_per_epoch: optimizer updates in an epoch; needed where the schedule counts epochs.
        base_lr: the rate that absolute arguments are divided by; the largest group rate unless given.

    Returns:
        A scheduler whose state is integers (and a plateau's readings).

    Raises:
        TypeError: ``optimizer`` is no torch optimizer.
        ValueError: the schedule doesn't suit this run or these groups, or another follows this optimizer already.

    Example:
        >>> from hone.schedules import CosineAnnealingLR, warmup
        >>> weight = torch.zeros(2, requires_grad=True)
        >>> optimizer = torch.optim.SGD([weight], lr=0.1)
        >>> scheduler = as_torch(warmup(2, start_factor=0.5) >> CosineAnnealingLR(), optimizer, total_updates=6)
        >>> for _ in range(3):
        ...     optimizer.step()
        ...     scheduler.step()
        >>> [round(rate, 4) for rate in scheduler.get_last_lr()], scheduler.state_dict()
        ([0.0854], {'update': 3})
    """
    if not isinstance(optimizer, Optimizer):
        raise TypeError(f"optimizer must be a torch Optimizer, got {type(optimizer).__name__}")
    if "_optimizer_step_post_hooks" not in optimizer.__dict__:  # a wrapper that never ran Optimizer.__init__
        raise TypeError(f"optimizer must be the optimizer itself, got the wrapper {type(optimizer).__name__}")
    follower = getattr(optimizer, "_followed_by", None)
    if follower is not None:
        raise invalid("optimizer", "be followed by one schedule only", follower, "call its detach(), or join with >>")
    if base_lr is None:
        base_lr = max(float(group.get("initial_lr", group["lr"])) for group in optimizer.param_groups)
    return TorchSchedule(bind_schedule(schedule, total_updates, updates_per_epoch, base_lr), optimizer)


class TorchSchedule(LRScheduler):
    """A bound schedule that follows an optimizer; ``as_torch`` makes one."""

    # LRScheduler.__init__ is not called on purpose: it would wrap optimizer.step to warn about call order, which can't
    # be wrong here, and take a step of its own.
    def __init__(self, bound: Bound, optimizer: Optimizer) -> None:
        self.bound = bound
        self.optimizer = optimizer
        self.update = 0
        self._step_count = 1  # Accelerate and Lightning look at it
        self._flags: list[tuple[Tensor, torch.cuda.Event | None]] = []
        self._handles = [
            optimizer.register_step_pre_hook(torch.compiler.disable(self._before_update)),  # type: ignore[no-untyped-call]
            optimizer.register_step_post_hook(torch.compiler.disable(self._after_update)),  # type: ignore[no-untyped-call]
        ]
        self._set()
        optimizer._followed_by = self  # type: ignore[attr-defined]  # a second one would undo what this one sets

    def _before_update(self, *_: Any) -> None:
        self._settle()

    def _after_update(self, optimizer: Optimizer, *_: Any) -> None:
        # A GradScaler steps a fused optimizer even where it found an overflow, and lends it the flag for that call.
        found = getattr(optimizer, "found_inf", None)
        if found is None:
            self._count(1)
        elif found.device.type == "cuda":
            self._flags.append(_copied(found))  # read when it has arrived, so that the host needn't wait here
        else:
            self._count(int(found.item() == 0))

    def _count(self, completed: int) -> None:
        self.update += completed
        self._set()

    def _settle(self) -> None:
        """Count the updates whose flags were still on their way."""
        if self._flags:
            completed = 0
            for flag, arrived in self._flags:
                if arrived is not None:
                    arrived.synchronize()
                completed += int(flag.item() == 0)
            self._flags.clear()
            self._count(completed)

    def _set(self) -> None:
        assign(self.optimizer, self.bound(self.update))

    @property
    def last_epoch(self) -> int:
        """Updates completed, under torch's name."""
        return self.update

    @last_epoch.setter
    def last_epoch(self, value: int) -> None:
        raise invalid("last_epoch", "be left alone: updates are counted, load_state_dict sets them", value)

    @property
    def base_lrs(self) -> list[float | Tensor]:  # type: ignore[override]
        """Each group's own base rate."""
        return [group["initial_lr"] for group in self.optimizer.param_groups]

    def step(self, metrics: Any = None) -> None:
        """Bring the groups up to date; give a reading where the schedule learns from readings.

        Args:
            metrics: an evaluation's result; one at each update counts, however often it is given.

        Raises:
            ValueError: a reading for a schedule that takes none.
        """
        self._settle()
        self._step_count += 1
        if metrics is not None:
            if not isinstance(self.bound, ReadingBound):
                raise invalid("step()", "get no reading for a schedule that learns from none", metrics)
            self.bound.read(float(metrics), self.update)
        self._set()

    def get_last_lr(self) -> list[float | Tensor]:
        """Each group's rate as it is now."""
        self._settle()
        rates = [group["lr"] for group in self.optimizer.param_groups]
        return [rate.clone() if isinstance(rate, Tensor) else rate for rate in rates]

    def get_lr(self) -> list[float | Tensor]:
        """Each group's rate as it is now, under torch's other name."""
        return self.get_last_lr()

    def state_dict(self) -> dict[str, Any]:
        """The updates completed, and what was learned from readings."""
        self._settle()
        state: dict[str, Any] = {"update": self.update}
        if isinstance(self.bound, ReadingBound):
            state["readings"] = self.bound.state_dict()
        return state

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on from a saved ``state_dict()``, before or after the optimizer's own is loaded."""
        learns = isinstance(self.bound, ReadingBound)
        if set(state_dict) != ({"update", "readings"} if learns else {"update"}):
            raise invalid("state_dict", "be one that this kind of schedule saved", sorted(state_dict))
        self._flags.clear()
        if isinstance(self.bound, ReadingBound):
            self.bound.load_state_dict(state_dict["readings"])
        self.update = int(state_dict["update"])
        self._set()

    def detach(self) -> None:
        """Stop following the optimizer; its values stay as they are."""
        for handle in self._handles:
            handle.remove()
        self.optimizer._followed_by = None  # type: ignore[attr-defined]

    def __repr__(self) -> str:
        return f"as_torch({self.bound.schedule}, total_updates={self.bound.run.total_updates})"


def _copied(flag: Tensor) -> tuple[Tensor, torch.cuda.Event | None]:
    """A copy of a flag on its way into pinned memory, and the event that tells when it is there."""
    copied = torch.empty_like(flag, device="cpu", pin_memory=True)
    copied.copy_(flag, non_blocking=True)
    arrived = torch.cuda.Event()  # type: ignore[no-untyped-call]
    arrived.record(torch.cuda.current_stream(flag.device))
    return copied, arrived
