"""Run a user's own training step under each plan, and time it."""

from __future__ import annotations

import copy
import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hone.checks import integer
from hone.precision.batch_size import is_out_of_memory, largest_batch
from hone.precision.checkpointing import checkpoint_blocks
from hone.precision.device import native_bf16
from hone.precision.memory import PeakMemory, available_bytes
from hone.precision.plan import Measurement, Plan, PlanTable, all_plans
from hone.precision.step import Precision
from hone.precision.suit import suit

Loss = Callable[[Any, Tensor], Tensor]
OptimizerFactory = Callable[[Iterable[nn.Parameter]], Optimizer]
#: The plans take turns, so that a machine that slows down meanwhile slows all of them.
ROUNDS = 2
#: Of the memory that is free on a CPU, the share that is used: past it the system kills the process, and nothing can
#: be caught.
SHARE_OF_FREE_MEMORY = 0.7


def measure_plans(
    model: nn.Module,
    batch: tuple[Any, Tensor],
    loss: Loss,
    plans: Sequence[Plan] | None = None,
    *,
    optimizer: OptimizerFactory = torch.optim.AdamW,
    steps: int = 5,
    warmup_steps: int = 2,
) -> PlanTable:
    """Measure speed and memory of whole updates under each plan, on copies of the model.

    Args:
        model: on its device, in train mode, with what is frozen frozen.
        batch: inputs and target; repeated or cut to each plan's batch size.
        loss: ``(logits, target) -> scalar``.
        plans: by default the formats native to the device, both layouts, the batch as it is.
        optimizer: parameters -> optimizer; its state counts as memory.
        steps: timed updates a plan, in each of two rounds.
        warmup_steps: updates before, not timed: allocation, autotuning, compilation.

    Returns:
        The table, and with ``.best`` the choice. A plan that fails is a row with the reason.

    Example:
        >>> model, batch = nn.Linear(4, 2), (torch.ones(8, 4), torch.zeros(8, 2))
        >>> table = measure_plans(model, batch, nn.functional.mse_loss, [Plan(batch_size=8)], steps=3)
        >>> table.best.plan.batch_size
        8
    """
    integer("steps", steps, at_least=2)
    integer("warmup_steps", warmup_steps, at_least=0)
    device = next(model.parameters()).device
    if plans is None:
        plans = all_plans(kinds=native_kinds(device), batch_sizes=[len(batch[1])])
    timings = [Timing(plan) for plan in plans]
    for _ in range(ROUNDS):
        for timing in timings:
            if not timing.failure:
                timing.run(model, batch, loss, optimizer, steps, warmup_steps)
    return PlanTable(tuple(timing.measurement() for timing in timings))


@dataclasses.dataclass
class Timing:
    """What has been timed of one plan so far: samples per second of each update, the peak, or the failure."""

    plan: Plan
    rates: list[float] = dataclasses.field(default_factory=list)
    peak_bytes: int | None = None
    failure: str = ""

    def run(
        self,
        model: nn.Module,
        batch: tuple[Any, Tensor],
        loss: Loss,
        optimizer: OptimizerFactory,
        steps: int,
        warmup_steps: int,
    ) -> None:
        """Warm up, then time ``steps`` updates one by one; an error of the step is noted, not raised."""
        device = next(model.parameters()).device
        try:
            peak = PeakMemory(device)
            update = prepared(model, batch, loss, self.plan, optimizer)
            for turn in range(warmup_steps + steps):
                wait_for(device)
                start = time.perf_counter()
                update()
                wait_for(device)
                if turn >= warmup_steps:
                    self.rates.append(self.plan.batch_size / (time.perf_counter() - start))
            self.peak_bytes = max(filter(None, (self.peak_bytes, peak.read())), default=None)
        except (RuntimeError, ValueError, MemoryError) as error:
            self.failure = "out of memory" if is_out_of_memory(error) else str(error).strip().splitlines()[0]

    def measurement(self) -> Measurement:
        """The median and the quartiles."""
        if self.failure:
            return Measurement(self.plan, 0.0, 0.0, 0.0, None, self.failure)
        low, middle, high = statistics.quantiles(self.rates, n=4, method="inclusive")
        return Measurement(self.plan, middle, low, high, self.peak_bytes)


def native_kinds(device: torch.device) -> list[str]:
    """The formats that may be faster on a device: fp32, and the halves it multiplies in hardware."""
    kinds = ["fp32"]
    if device.type == "cuda" and native_bf16(device):
        kinds.append("tf32")
    if native_bf16(device):
        kinds.append("bf16")
    if device.type == "cuda":
        kinds.append("fp16")
    return kinds


def prepared(
    model: nn.Module, batch: tuple[Any, Tensor], loss: Loss, plan: Plan, optimizer: OptimizerFactory
) -> Callable[[], object]:
    """A function that makes one update of a copy of the model as the plan says."""
    device = next(model.parameters()).device
    own = copy.deepcopy(model)
    inputs, target = resized(batch, plan.batch_size)
    if plan.channels_last:
        own, inputs = in_channels_last(own, inputs)
    suit(own, device)
    if plan.checkpointing:
        checkpoint_blocks(own)
    run: Callable[..., Any] = torch.compile(own) if plan.compile else own
    precision = Precision(plan.kind, device)
    stepper = optimizer([p for p in own.parameters() if p.requires_grad])

    def update() -> object:
        with precision.autocast():
            value = loss(run(*inputs), target)
        precision.backward(value)
        result = precision.step(stepper)
        stepper.zero_grad()
        return result

    return update


def resized(batch: tuple[Any, Tensor], size: int) -> tuple[list[Any], Tensor]:
    """The batch with ``size`` samples: the first ones, or over again."""
    inputs = batch[0] if isinstance(batch[0], (tuple, list)) else [batch[0]]
    index = torch.arange(size, device=batch[1].device) % len(batch[1])
    taken = [value[index.to(value.device)] if isinstance(value, Tensor) else value for value in inputs]
    return taken, batch[1][index]


def in_channels_last(model: nn.Module, inputs: list[Any]) -> tuple[nn.Module, list[Any]]:
    """Model and inputs with the channels innermost in memory; only 4-D and 5-D tensors have that order.

    Raises:
        ValueError: no input has it.
    """
    dims = {value.ndim for value in inputs if isinstance(value, Tensor)}
    if not dims & {4, 5}:
        raise ValueError("channels_last is for images (N, C, H, W) and volumes (N, C, D, H, W)")
    order = torch.channels_last if 4 in dims else torch.channels_last_3d
    model = model.to(memory_format=order)
    size = 4 if 4 in dims else 5
    fits = [isinstance(value, Tensor) and value.ndim == size for value in inputs]
    return model, [v.contiguous(memory_format=order) if fit else v for v, fit in zip(inputs, fits, strict=True)]


def wait_for(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def find_batch_size(
    model: nn.Module,
    batch: tuple[Any, Tensor],
    loss: Loss,
    plan: Plan | None = None,
    *,
    optimizer: OptimizerFactory = torch.optim.AdamW,
    at_most: int = 4096,
) -> int:
    """The largest batch size whose whole update, optimizer state included, fits the device's memory.

    A GPU is filled until it is out of memory, which is survived. A CPU process would be killed instead, so there a size
    counts as too large where the peak of the last one, in proportion, would pass 70 % of what is free.

    Args:
        model: as in ``measure_plans``.
        batch: as in ``measure_plans``.
        loss: as in ``measure_plans``.
        plan: format, layout and so on; its batch size is tried first.
        optimizer: as in ``measure_plans``.
        at_most: never tried above.

    Returns:
        The batch size; give it to ``accumulation`` to keep the effective batch.

    Raises:
        ValueError: not even one sample fits.
    """
    plan = Plan() if plan is None else plan
    device = next(model.parameters()).device
    free = available_bytes() if device.type == "cpu" else None
    per_sample = 0.0

    def attempt(size: int) -> None:
        nonlocal per_sample
        if free is not None and per_sample * size > SHARE_OF_FREE_MEMORY * free:
            raise torch.OutOfMemoryError(f"out of memory: {size} samples would not fit")
        peak = PeakMemory(device)
        sized = Plan(plan.compile, plan.checkpointing, plan.kind, plan.channels_last, size)
        update = prepared(model, batch, loss, sized, optimizer)
        for _ in range(2):  # the optimizer's state is there from the second on
            update()
        wait_for(device)
        per_sample = (peak.read() or 0) / size

    return largest_batch(attempt, start=min(plan.batch_size, at_most), at_most=at_most)
