"""Writing values into groups, driving other numbers, different groups by different schedules, drawing each curve."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch

from hone.schedules import (
    CosineAnnealingLR,
    LambdaLR,
    LinearLR,
    OneCycleLR,
    PerGroup,
    ReduceLROnPlateau,
    TableLR,
    assign,
    bind_schedule,
    curves,
    drive,
    driven,
    learns,
    preview,
    warmup,
)


def weight() -> torch.Tensor:
    return torch.zeros(2, requires_grad=True)


def named(**rates: Any) -> torch.optim.Optimizer:
    groups = [{"params": [weight()], "name": name, "lr": rate} for name, rate in rates.items()]
    return torch.optim.AdamW(groups, lr=0.1)


def rates(optimizer: torch.optim.Optimizer) -> dict[str, float]:
    return {group["name"]: float(group["lr"]) for group in optimizer.param_groups}


def test_each_group_keeps_its_own_base() -> None:
    optimizer = named(head=0.1, trunk=0.001)
    for factor in (0.5, 2.0, 0.0, 1.0):
        assign(optimizer, {"lr": factor})
        assert rates(optimizer) == {"head": 0.1 * factor, "trunk": 0.001 * factor}
    assert [group["initial_lr"] for group in optimizer.param_groups] == [0.1, 0.001]


@pytest.mark.parametrize("schedule", [OneCycleLR(max_lr=0.004), CosineAnnealingLR(eta_min=1e-5), warmup(3)])
def test_discriminative_rates_keep_their_ratio(schedule: Any) -> None:
    """Torch's OneCycleLR overwrites both with 0.004."""
    optimizer, bound = named(head=1e-2, trunk=1e-4), bind_schedule(schedule, 10, None, 1e-2)
    for update in range(10):
        assign(optimizer, bound(update))
        now = rates(optimizer)
        assert math.isclose(now["head"], 100 * now["trunk"], rel_tol=1e-12)


def test_tensor_rates_are_filled_in_place() -> None:
    rate = torch.tensor(0.5)
    optimizer = torch.optim.AdamW([weight()], lr=rate)
    for factor in (0.5, 0.25):
        assign(optimizer, {"lr": factor, "weight_decay": 0.3})
        assert optimizer.param_groups[0]["lr"] is rate and float(rate) == 0.5 * factor
    assert optimizer.param_groups[0]["weight_decay"] == 0.3


def test_a_base_rate_left_by_torch_as_a_tensor_is_read_once() -> None:
    rate = torch.tensor(0.5)
    optimizer = torch.optim.AdamW([weight()], lr=rate)
    torch.optim.lr_scheduler.ExponentialLR(optimizer, gamma=0.9)
    assign(optimizer, {"lr": 0.5})
    assert float(rate) == 0.25 and type(optimizer.param_groups[0]["initial_lr"]) is float


def test_momentum_is_the_first_beta_where_there_are_betas() -> None:
    adam, sgd = named(head=0.1), torch.optim.SGD([weight()], lr=0.1)
    for optimizer in (adam, sgd):
        assign(optimizer, {"momentum": 0.7})
    assert adam.param_groups[0]["betas"] == (0.7, 0.999) and sgd.param_groups[0]["momentum"] == 0.7
    first = torch.tensor(0.9)
    tensors = torch.optim.Adam([weight()], lr=torch.tensor(0.1), betas=(first, torch.tensor(0.999)), foreach=False)
    assign(tensors, {"momentum": 0.75})
    assert tensors.param_groups[0]["betas"][0] is first and float(first) == 0.75


def test_a_number_that_no_group_has_is_refused() -> None:
    with pytest.raises(ValueError, match="the driven number 'weight_dekay' must be one of the group's"):
        assign(named(head=0.1), {"weight_dekay": 0.1})


def test_other_numbers_are_driven_by_name() -> None:
    schedule = drive(
        CosineAnnealingLR(),
        weight_decay=(0.04, CosineAnnealingLR(eta_min=0.4)),
        eps=TableLR([(0, 1e-8), (10, 1e-6)], straight=False),
        momentum=[(0, 0.8), (10, 0.9)],
    )
    bound = bind_schedule(schedule, 10, None, 0.1)
    optimizer = named(head=0.1)
    assign(optimizer, bound(5))
    group = optimizer.param_groups[0]
    assert math.isclose(group["weight_decay"], 0.22) and math.isclose(group["lr"], 0.05)
    assert math.isclose(group["betas"][0], 0.85) and group["eps"] == 1e-8
    assert driven(bound) == ["lr", "weight_decay", "eps", "momentum"]


def test_groups_by_name_and_pattern() -> None:
    schedule = {"head": LambdaLR(lambda update: 0.5), "trunk.*": LambdaLR(lambda update: 0.1), "*": OneCycleLR()}
    optimizer, bound = named(head=1.0, **{"trunk.0": 1.0, "other": 1.0}), bind_schedule(schedule, 10, None, 1.0)
    assign(optimizer, bound(0))
    assert rates(optimizer) == {"head": 0.5, "trunk.0": 0.1, "other": pytest.approx(1.0 / 25)}
    assert [group["betas"][0] for group in optimizer.param_groups] == [0.9, 0.9, 0.95]


def test_a_pattern_that_is_needed_or_that_fits_nothing() -> None:
    bound = bind_schedule({"head": CosineAnnealingLR()}, 10, None, 1.0)
    with pytest.raises(ValueError, match="every group's name must match one of head, got 'trunk'; add '\\*'"):
        assign(named(trunk=1.0), bound(0))
    with pytest.raises(ValueError, match="a group's pattern must hold no slash"):
        PerGroup({"head/lr": CosineAnnealingLR()})
    with pytest.raises(ValueError, match="each pattern must match a group"):
        assign(named(trunk=1.0), bind_schedule({"haed": OneCycleLR(), "*": OneCycleLR()}, 10, None, 1.0)(0))


def test_curves_of_every_group_are_what_training_sets() -> None:
    schedule = {"head": warmup(2) >> OneCycleLR(), "*": LinearLR(0.5)}
    bases = {"head": 0.1, "trunk.1": 0.01}
    bound, optimizer = bind_schedule(schedule, 9, None, 0.1), named(**bases)
    shown = curves(bound, bases, total_updates=9)
    for update in range(9):
        assign(optimizer, bound(update))
        assert rates(optimizer) == {name: curve[update] for name, curve in shown.items()}
    assert set(curves(bound, bases, total_updates=9, key="momentum")) == {"head"}
    with pytest.raises(ValueError, match="one curve for all groups"):
        preview(schedule, base_lr=0.1, total_updates=9, updates_per_epoch=None)


def test_a_preview_of_a_plateau_is_the_run_without_readings() -> None:
    schedule = warmup(2, start_factor=0.5) >> ReduceLROnPlateau(patience=0)
    assert preview(schedule, base_lr=1.0, total_updates=4, updates_per_epoch=2) == [0.5, 0.75, 1.0, 1.0]
    assert learns(bind_schedule(schedule, 4, 2, 1.0)) and not learns(bind_schedule(LinearLR(), 4, 2, 1.0))


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: drive(LinearLR(), lr=(0.1, LinearLR())), ValueError, "the number to drive must be one of"),
        (lambda: drive(LinearLR(), weight_decay=(0, LinearLR())), ValueError, "weight_decay's base value must be"),
        (lambda: drive(LinearLR(), weight_decay=LinearLR()), TypeError, "a (base value, schedule) pair or a table"),
        (lambda: PerGroup({}), ValueError, "schedules must name at least one group"),
    ],
)
def test_what_can_not_be_driven_is_refused(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error) as caught:
        make()
    assert message in str(caught.value)
