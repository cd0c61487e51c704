"""The training loop: a generator of optimizer updates.

Whatever changes during training is a function of two integers. ``update`` counts the optimizer updates completed:
rates, what trains, evaluations and the end follow it. ``attempt`` also counts the updates that fp16 skipped: samples
and random numbers follow it. Logging, progress and early stopping are the caller's ``for`` and ``break``.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.optim import Optimizer

from hone import checks
from hone.precision import Precision
from hone.schedules import assign
from hone.training.chance import seed_attempt
from hone.training.distributed import World
from hone.training.step import LoopState, NonFiniteLossError, Step
from hone.training.window import window_weights
from hone.transfer import FreezePlan, apply_freeze

#: ``batches(attempt)`` gives ``(inputs, target)`` micro-batches from that attempt on, without end.
Batches = Callable[[int], Iterator[tuple[Any, Any]]]
#: A bound schedule: ``update -> {"lr": factor on each group's own rate, other keys absolute}``.
Bound = Callable[[int], Mapping[str, Any]]


def updates(
    model: nn.Module,
    criterion: Callable[..., Tensor],
    optimizer: Optimizer,
    batches: Batches,
    *,
    total_updates: int,
    schedule: Bound | None = None,
    plan: FreezePlan | None = None,
    precision: Precision | None = None,
    max_norm: float | None = None,
    accumulate: int = 1,
    seed: int = 0,
    world: World | None = None,
    evaluate: Callable[[], dict[str, float]] | None = None,
    evaluate_every: int | None = None,
    monitor: str = "loss",
    state: LoopState | None = None,
) -> Iterator[Step]:
    """Train, yielding what each attempt did.

    One attempt: draw ``accumulate`` micro-batches, run each one's forward under autocast and its backward, set this
    update's rates, then unscale, clip and step. After every ``evaluate_every`` updates and after the last, ``evaluate``
    is called and a schedule that follows a metric gets its reading.

    Args:
        model: on its device.
        criterion: ``(logits, target) -> mean loss``, a 0-d tensor. Its ``valid_weight(target)``, where it has one, says
            how much a micro-batch counts in the window's mean; else its number of samples does.
        optimizer: over all parameters that will ever train.
        batches: ``batches(attempt)`` gives ``(inputs, target)`` micro-batches from that attempt on, without end.
        total_updates: where the run ends.
        schedule: a bound schedule; None keeps the optimizer's rates.
        plan: what trains when; None leaves the model as it is.
        precision: autocast and scaling; None is fp32.
        max_norm: the norm of all gradients is clipped to this.
        accumulate: micro-batches a window.
        seed: of the model's random numbers (dropout).
        world: the processes that train together.
        evaluate: returns metrics by name; it may leave the model in eval mode.
        evaluate_every: in updates; None evaluates after the last only.
        monitor: the metric that a schedule with readings follows.
        state: where to go on; kept up to date in place.

    Yields:
        A :class:`Step` for every attempt, skipped ones too.

    Raises:
        NonFiniteLossError: on the CPU before the weights change; on a GPU one update later, and never after
            ``state.update`` was read.

    Example:
        >>> model = nn.Linear(4, 2)
        >>> batch = torch.randn(8, 4), torch.randint(0, 2, (8,))
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> steps = updates(model, nn.CrossEntropyLoss(), optimizer, lambda attempt: iter([batch] * 3), total_updates=3)
        >>> [step.update for step in steps]
        [1, 2, 3]
    """
    checks.integer("total_updates", total_updates, at_least=1)
    checks.integer("accumulate", accumulate, at_least=1)
    if evaluate_every is not None:
        checks.integer("evaluate_every", evaluate_every, at_least=1)
    world = world or World(device=next(model.parameters()).device)
    return _Loop(
        model,
        criterion,
        optimizer,
        batches,
        total_updates,
        schedule,
        plan,
        precision or Precision("fp32", device=world.device),
        max_norm,
        accumulate,
        seed,
        world,
        evaluate,
        evaluate_every,
        monitor,
        state or LoopState(),
    ).run()


@dataclass
class _Loop:
    """The arguments of :func:`updates`, held for the loop's parts."""

    model: nn.Module
    criterion: Callable[..., Tensor]
    optimizer: Optimizer
    batches: Batches
    total_updates: int
    schedule: Bound | None
    plan: FreezePlan | None
    precision: Precision
    max_norm: float | None
    accumulate: int
    seed: int
    world: World
    evaluate: Callable[[], dict[str, float]] | None
    evaluate_every: int | None
    monitor: str
    state: LoopState

    def run(self) -> Iterator[Step]:
        if self.state.update >= self.total_updates:
            return
        boundaries = set(self.plan.boundaries) if self.plan is not None else set()
        self.begin()
        trained = self.world.wrap(self.model)
        stream = self.batches(self.state.attempt)
        try:
            while True:
                step = self.attempt(trained, [next(stream) for _ in range(self.accumulate)])
                reached = self.state.update if self.decides(step, boundaries) else None
                if reached is not None and not step.skipped:
                    if self.is_evaluated(reached):
                        self.read(step, reached)
                    if reached < self.total_updates and (step.metrics is not None or reached in boundaries):
                        self.begin()
                    if reached in boundaries:
                        trained = self.world.wrap(self.model)
                yield step
                if reached == self.total_updates:
                    return
        finally:
            if hasattr(stream, "close"):
                stream.close()

    def begin(self) -> None:
        """Enter train mode, and freeze what is frozen at this update."""
        self.model.train()
        if self.plan is not None:
            apply_freeze(self.model, self.plan, self.state.update)

    def attempt(self, trained: nn.Module, window: list[tuple[Any, Any]]) -> Step:
        """One window forward and backward, this update's rates, one step."""
        state, precision = self.state, self.precision
        seed_attempt(self.seed, state.attempt, self.world.rank, self.world.device)
        loss = self.backward(trained, window)
        update = state.update  # waits for the attempt before, whose flags are long there
        values: Mapping[str, Any] = {}
        if self.schedule is not None:
            assign(self.optimizer, values := self.schedule(update))
        if self.world.device.type == "cpu" and not math.isfinite(number := loss.item()) and precision.kind != "fp16":
            raise NonFiniteLossError(number, update + 1)
        result = precision.step(self.optimizer, max_norm=self.max_norm)
        self.optimizer.zero_grad(set_to_none=True)
        step = Step(update, state.attempt + 1, loss, result, values)
        state.record(step)
        return step

    def backward(self, trained: nn.Module, window: list[tuple[Any, Any]]) -> Tensor:
        """Accumulate the gradients of the window's mean loss; return that loss, detached."""
        if len(window) == 1 and self.world.size == 1:
            return self.backward_one(trained, *window[0])
        weights = window_weights([target for _, target in window], self.criterion, self.world)
        losses: list[Tensor] = []
        for place, ((inputs, target), weight) in enumerate(zip(window, weights, strict=True)):
            # Processes exchange gradients once a window, at its last micro-batch.
            waits = isinstance(trained, DistributedDataParallel) and place < len(window) - 1
            with trained.no_sync() if waits else nullcontext():  # type: ignore[operator]
                losses.append(self.backward_one(trained, inputs, target, weight))
        return torch.stack(losses).sum()

    def backward_one(self, trained: nn.Module, inputs: Any, target: Any, weight: Any = None) -> Tensor:
        """One micro-batch; its loss, as weighted in the window."""
        with self.precision.autocast():
            loss = self.criterion(trained(inputs), target)
        if weight is not None:
            loss = loss * weight
        self.precision.backward(loss)
        return loss.detach()

    def decides(self, step: Step, boundaries: set[int]) -> bool:
        """Whether something would happen at the next update, so that it must be known now if this was one."""
        reached = step.before + 1
        return reached in boundaries or reached == self.total_updates or self.is_evaluated(reached)

    def is_evaluated(self, update: int) -> bool:
        every = self.evaluate_every
        return self.evaluate is not None and (
            update == self.total_updates or (every is not None and update % every == 0)
        )

    def read(self, step: Step, update: int) -> None:
        """Evaluate, and give a schedule that follows a metric its reading."""
        if self.evaluate is None:
            return
        step.metrics = self.evaluate()
        read = getattr(self.schedule, "read", None)
        if read is not None:
            checks.one_of("monitor", self.monitor, step.metrics)
            read(step.metrics[self.monitor], update)
