"""The laws that every schedule keeps, to be run on one's own."""

from __future__ import annotations

import copy
import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, get_args

import torch

from hone.schedules import Bound, as_schedule, as_torch, bind_schedule, extend
from hone.schedules.bound import ReadingBound, Values, is_lr
from hone.schedules.extension import OnExtend


@dataclass(frozen=True)
class Run:
    """A schedule and the short run on which it is tried."""

    schedule: Any
    total_updates: int
    updates_per_epoch: int
    base_lr: float
    names: tuple[str, ...]

    def bind(self) -> Bound:
        return bind_schedule(self.schedule, self.total_updates, self.updates_per_epoch, self.base_lr)

    def optimizer(self) -> torch.optim.Optimizer:
        """An optimizer whose groups have ``names``; each has a tenth of the rate of the one before."""
        groups = [
            {"params": [torch.zeros(1, requires_grad=True)], "name": name, "lr": self.base_lr * 0.1**place}
            for place, name in enumerate(self.names)
        ]
        return torch.optim.AdamW(groups, lr=self.base_lr)

    def follow(self, optimizer: torch.optim.Optimizer) -> Any:
        return as_torch(
            self.schedule,
            optimizer,
            total_updates=self.total_updates,
            updates_per_epoch=self.updates_per_epoch,
            base_lr=self.base_lr,
        )


def check_schedule(
    my_schedule: Any,
    *,
    total_updates: int = 24,
    updates_per_epoch: int = 6,
    base_lr: float = 0.1,
    names: tuple[str, ...] = ("head", "trunk"),
) -> None:
    """Run the shared laws on a schedule: values, purity, groups' ratio, resume, extension, readings.

    Args:
        my_schedule: whatever ``bind_schedule`` takes.
        total_updates: length of the run on which it is tried, at least 4.
        updates_per_epoch: length of an epoch in it, at least 1.
        base_lr: the run's learning rate, above 0.
        names: names of the optimizer's groups.

    Raises:
        AssertionError: a law is broken; the message says which, and where.

    Example:
        >>> from hone.schedules import CosineAnnealingLR, warmup
        >>> check_schedule(warmup(4) >> CosineAnnealingLR())
        >>> calls = []
        >>> check_schedule(lambda update: calls.append(update) or 1 / len(calls))
        Traceback (most recent call last):
        ...
        AssertionError: a schedule gives the same values each time: at update 23 ... and then ...
    """
    run = Run(as_schedule(my_schedule), total_updates, updates_per_epoch, base_lr, names)
    for law in LAWS:
        law(run)


def values_are_numbers(run: Run) -> None:
    """Every value is finite, factors are at least 0, and the same numbers are driven throughout."""
    bound = run.bind()
    keys = set(bound(0))
    _hold(any(is_lr(key) for key in keys), "a schedule drives the rate", f"its keys are {sorted(keys)}")
    for update in range(run.total_updates + 1):
        values = bound(update)
        _hold(set(values) == keys, "a schedule drives the same numbers throughout", f"at update {update} {values}")
        for key, value in values.items():
            good = math.isfinite(value) and (value >= 0 or not is_lr(key))
            _hold(good, "values are finite and factors at least 0", f"at update {update} {key} is {value!r}")


def values_are_pure(run: Run) -> None:
    """The same update gives the same values: in any order, again, and after binding anew."""
    bound = run.bind()
    forwards = [bound(update) for update in range(run.total_updates)]
    for update in reversed(range(run.total_updates)):
        _same("a schedule gives the same values each time", update, forwards[update], bound(update))
    for update in (run.total_updates - 1, 0, run.total_updates // 2):
        _same("a schedule bound anew gives the same values", update, forwards[update], run.bind()(update))


def groups_keep_their_ratio(run: Run) -> None:
    """Each group's rate is its own base rate times its factor."""
    optimizer = run.optimizer()
    scheduler = run.follow(optimizer)
    for _ in range(run.total_updates):
        factors = [factor for key, factor in scheduler.bound(scheduler.update).items() if is_lr(key)]
        for place, group in enumerate(optimizer.param_groups):
            own = run.base_lr * 0.1**place
            near = any(math.isclose(group["lr"], own * factor, rel_tol=1e-12) for factor in factors)
            _hold(near, "a group's rate is its base rate times the factor", f"{group['lr']} for a base of {own}")
        optimizer.step()


def resuming_changes_nothing(run: Run) -> None:
    """From every update, in every order of building and loading, the rates go on as in one piece."""
    optimizer = run.optimizer()
    scheduler = run.follow(optimizer)
    saved, rates = [], []
    for update in range(run.total_updates):
        _read_if_it_learns(scheduler, update)
        state = copy.deepcopy((optimizer.state_dict(), scheduler.state_dict()))
        saved.append((state[0], json.loads(json.dumps(state[1]))))
        rates.append(_numbers(optimizer))
        optimizer.step()
    for update, states in enumerate(saved):
        for order in ("optimizer, build, scheduler", "build, optimizer, scheduler", "build, scheduler, optimizer"):
            optimizer, scheduler = _resumed(run, states, order)
            for later in range(update, run.total_updates):
                if later > update:
                    _read_if_it_learns(scheduler, later)
                where = f"resumed at {update} ({order}), update {later}"
                _hold(_numbers(optimizer) == rates[later], "resuming changes nothing", where)
                optimizer.step()


def _resumed(run: Run, states: tuple[Any, Any], order: str) -> tuple[torch.optim.Optimizer, Any]:
    optimizer, scheduler = run.optimizer(), None
    for thing in order.split(", "):
        if thing == "optimizer":
            optimizer.load_state_dict(copy.deepcopy(states[0]))
        elif thing == "build":
            scheduler = run.follow(optimizer)
        elif scheduler is not None:
            scheduler.load_state_dict(states[1])
    return optimizer, scheduler


def _read_if_it_learns(scheduler: Any, update: int) -> None:
    if hasattr(scheduler.bound, "read"):
        scheduler.step(1.0 + 0.1 * (update % 3))


def _numbers(optimizer: torch.optim.Optimizer) -> list[Any]:
    return [(group["lr"], group["betas"], group["weight_decay"]) for group in optimizer.param_groups]


def extending_is_a_choice(run: Run) -> None:
    """The past stays; "stretch" is the longer run's curve, "restart" a new run's; a refusal comes at once."""
    at, longer = run.total_updates // 2, run.total_updates + 5
    planned = run.bind()
    for choice in get_args(OnExtend):
        try:
            extended = extend(planned, choice, update=at, total_updates=longer)
        except ValueError:
            continue  # an explicit length that doesn't fit the new one is refused: also a choice kept
        for update in range(at):
            _same(f"{choice} leaves the past alone", update, planned(update), extended(update))
        start = at if choice == "restart" else 0
        if choice != "continue":
            anew = bind_schedule(run.schedule, longer - start, run.updates_per_epoch, run.base_lr)
            for update in range(at, longer):
                _same(f"{choice} is the curve of a new binding", update, anew(update - start), extended(update))


def readings_are_kept(run: Run) -> None:
    """A state saved as JSON goes on alike; a reading given twice counts once."""
    once, twice = run.bind(), run.bind()
    if not isinstance(once, ReadingBound) or not isinstance(twice, ReadingBound):
        return
    for update in range(run.total_updates):
        once.read(1.0, update)
        twice.read(1.0, update)
        twice.read(1.0, update)
        again: Any = run.bind()
        again.load_state_dict(json.loads(json.dumps(once.state_dict())))
        _same("a reading given twice counts once", update, once(update), twice(update))
        _same("a loaded state goes on alike", update, once(update), again(update))


#: The laws, in the order in which they are tried.
LAWS: tuple[Callable[[Run], None], ...] = (
    values_are_pure,
    values_are_numbers,
    groups_keep_their_ratio,
    resuming_changes_nothing,
    extending_is_a_choice,
    readings_are_kept,
)


def _same(law: str, update: int, first: Values, second: Values) -> None:
    _hold(first == second, law, f"at update {update} {first} and then {second}")


def _hold(holds: bool, law: str, found: str) -> None:
    if not holds:
        raise AssertionError(f"{law}: {found}")
