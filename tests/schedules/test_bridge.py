"""``as_torch`` in other trainers' hands: skipped updates, repeated steps, compiled optimizers, added groups."""

from __future__ import annotations

import gc
import math
import warnings
from typing import Any

import pytest
import torch
from torch.optim.lr_scheduler import LRScheduler

from hone.schedules import (
    CosineAnnealingLR,
    ExponentialLR,
    OneCycleLR,
    ReduceLROnPlateau,
    StepLR,
    as_torch,
    preview,
    warmup,
)

SCHEDULE = warmup(3, start_factor=0.1) >> CosineAnnealingLR()
RATES = preview(SCHEDULE, base_lr=0.1, total_updates=12, updates_per_epoch=None)


def weight() -> torch.Tensor:
    return torch.ones(2, requires_grad=True)


def rate(optimizer: torch.optim.Optimizer) -> float:
    return float(optimizer.param_groups[0]["lr"])


def test_it_is_a_torch_scheduler_with_previewed_rates() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = as_torch(SCHEDULE, optimizer, total_updates=12)
    assert isinstance(scheduler, LRScheduler)
    seen = []
    for _ in range(12):
        seen.append(rate(optimizer))
        optimizer.step()
        scheduler.step()
    assert seen == RATES
    assert scheduler.get_last_lr() == [rate(optimizer)] == [0.0]
    assert scheduler.last_epoch == 12 and scheduler.state_dict() == {"update": 12}


@pytest.mark.parametrize("calls", [0, 1, 4])
def test_how_often_step_is_called_changes_nothing(calls: int) -> None:
    """Never (Lightning's per-epoch default, nearly), once, or once a process as Accelerate does."""
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = as_torch(SCHEDULE, optimizer, total_updates=12)
    seen = []
    for _ in range(12):
        seen.append(rate(optimizer))
        optimizer.step()
        for _ in range(calls):
            scheduler.step()
    assert seen == RATES


@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("kind", [torch.optim.AdamW, torch.optim.SGD])
def test_updates_that_the_scaler_skipped_are_not_counted(kind: Any, fused: bool, device: str) -> None:
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no GPU here")
    parameter = torch.ones(2, device=device, requires_grad=True)
    optimizer = kind([parameter], lr=0.1, fused=fused)
    calls = []
    optimizer.register_step_post_hook(lambda *_: calls.append(1))
    scheduler = as_torch(SCHEDULE, optimizer, total_updates=12)
    scaler = torch.amp.GradScaler(device, init_scale=8.0)
    overflows = {0, 1, 5, 9}
    done = 0
    for attempt in range(12):
        assert rate(optimizer) == RATES[done]
        before = parameter.detach().clone()
        parameter.grad = torch.full((2,), math.inf if attempt in overflows else 8.0, device=device)
        scaler.scale(torch.zeros(1, device=device))  # makes the scale, which stands for a loss here
        scaler.step(optimizer)
        scaler.update()
        scheduler.step()
        assert torch.equal(before, parameter) == (attempt in overflows)
        done += attempt not in overflows
    assert scheduler.update == done == 8
    # A fused optimizer runs its hooks on skipped updates too: counting calls alone would be wrong.
    assert len(calls) == (12 if fused else 8)


def test_no_warning_where_the_first_update_is_skipped() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = as_torch(SCHEDULE, optimizer, total_updates=12)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        scheduler.step()
        scheduler.step()
    assert scheduler.update == 0


def test_accelerate_steps_it_once_a_process() -> None:
    accelerate = pytest.importorskip("accelerate", reason="accelerate is not installed")
    from accelerate.scheduler import AcceleratedScheduler
    from accelerate.state import AcceleratorState

    accelerator = accelerate.Accelerator(cpu=True)
    raw = torch.optim.SGD([weight()], lr=0.1)
    optimizer, scheduler = accelerator.prepare(raw, as_torch(SCHEDULE, raw, total_updates=12))
    assert isinstance(scheduler, AcceleratedScheduler)
    with pytest.raises(TypeError, match="the wrapper AcceleratedOptimizer"):
        as_torch(SCHEDULE, optimizer, total_updates=12)
    four = pytest.MonkeyPatch()
    four.setattr(AcceleratorState, "num_processes", property(lambda self: 4), raising=False)
    try:
        seen = []
        for _ in range(12):
            seen.append(rate(raw))
            optimizer.step()
            scheduler.step()
    finally:
        four.undo()
    assert seen == RATES


def test_a_plateau_reading_given_by_each_process_counts_once() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = as_torch(ReduceLROnPlateau(patience=1, factor=0.5), optimizer, total_updates=12)
    for _ in range(2):
        optimizer.step()
        for _ in range(4):
            scheduler.step(1.0)
    assert rate(optimizer) == 0.1
    optimizer.step()
    scheduler.step(1.0)
    assert rate(optimizer) == 0.05


def test_a_group_added_midway_takes_part() -> None:
    optimizer = torch.optim.SGD([{"params": [weight()], "lr": 0.1}])
    scheduler = as_torch(OneCycleLR(cycle_momentum=False), optimizer, total_updates=12)
    for _ in range(4):
        optimizer.step()
    optimizer.add_param_group({"params": [weight()], "lr": 0.01})
    for _ in range(4):
        optimizer.step()
        scheduler.step()
        first, second = (group["lr"] for group in optimizer.param_groups)
        assert math.isclose(first, 10 * second, rel_tol=1e-12)


def compiled_run(kind: Any, rates: list[Any], updates: int) -> torch.optim.Optimizer:
    """A few updates of a compiled optimizer; after the first any compilation is an error."""
    parameters = [weight() for _ in rates]
    groups = [{"params": [parameter], "lr": lr} for parameter, lr in zip(parameters, rates, strict=True)]
    optimizer: torch.optim.Optimizer = kind(groups)
    scheduler = as_torch(CosineAnnealingLR(), optimizer, total_updates=12, base_lr=1e-2)
    torch._dynamo.reset()
    compiled = torch.compile(lambda: optimizer.step(), backend="eager")
    for update in range(updates):
        for parameter in parameters:
            parameter.grad = torch.ones_like(parameter)
        with torch._dynamo.config.patch(error_on_recompile=update >= 1):
            compiled()
            scheduler.step()
        assert scheduler.update == update + 1
    return optimizer


@pytest.mark.parametrize("kind", [torch.optim.SGD, torch.optim.AdamW])
def test_a_compiled_optimizer_with_tensor_rates_is_not_compiled_again(kind: Any) -> None:
    rates = [torch.tensor(1e-2), torch.tensor(1e-4)]
    optimizer = compiled_run(kind, rates, updates=5)
    factor = CosineAnnealingLR().bind(12, 12, 1e-2)(5)["lr"]
    for group, tensor, base in zip(optimizer.param_groups, rates, (1e-2, 1e-4), strict=True):
        assert group["lr"] is tensor
        assert math.isclose(float(tensor), base * factor, rel_tol=1e-6)


def test_rates_as_numbers_do_compile_again() -> None:
    """The wrong variant of the law above: numbers in place of tensors are seen."""
    with pytest.raises(torch._dynamo.exc.RecompileError):
        compiled_run(torch.optim.SGD, [1e-2, 1e-4], updates=2)


def test_the_base_rate_is_the_largest_unless_given() -> None:
    def optimizer() -> torch.optim.Optimizer:
        return torch.optim.SGD([{"params": [weight()], "lr": 1e-4}, {"params": [weight()], "lr": 1e-2}])

    largest = as_torch(OneCycleLR(max_lr=0.02, cycle_momentum=False), optimizer(), total_updates=10)
    assert largest.bound.run.base_lr == 1e-2
    given = as_torch(CosineAnnealingLR(), optimizer(), total_updates=10, base_lr=0.1)
    assert given.bound.run.base_lr == 0.1


def test_wrong_use_is_refused_at_once() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    with pytest.raises(ValueError, match="updates_per_epoch must be given where a schedule counts epochs"):
        as_torch(StepLR(3), optimizer, total_updates=10)
    with pytest.raises(TypeError, match="optimizer must be a torch Optimizer, got str"):
        as_torch(StepLR(3), "adam", total_updates=10)  # type: ignore[arg-type]
    scheduler = as_torch(ExponentialLR(0.9, interval="update"), optimizer, total_updates=10)
    with pytest.raises(ValueError, match=r"followed by one schedule only, got as_torch\(ExponentialLR"):
        as_torch(SCHEDULE, optimizer, total_updates=12)
    with pytest.raises(ValueError, match="get no reading"):
        scheduler.step(0.5)
    with pytest.raises(ValueError, match="last_epoch must be left alone"):
        scheduler.last_epoch = 4
    with pytest.raises(ValueError, match="be one that this kind of schedule saved"):
        scheduler.load_state_dict({"last_epoch": 3})
    with pytest.raises(ValueError, match=r"'momentum'.*cycle_momentum=False"):
        as_torch(OneCycleLR(), torch.optim.Adagrad([weight()], lr=0.1), total_updates=10)


def test_it_can_be_detached() -> None:
    optimizer = torch.optim.SGD([weight()], lr=0.1)
    scheduler = as_torch(SCHEDULE, optimizer, total_updates=12)
    scheduler.detach()
    before = rate(optimizer)
    optimizer.step()
    assert rate(optimizer) == before and scheduler.update == 0
    as_torch(SCHEDULE, optimizer, total_updates=12)
    del scheduler
    gc.collect()
    optimizer.step()
