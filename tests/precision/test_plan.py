"""Plans: measured on a copy, ties to the plainer, answers kept, and the largest batch found past failures."""

from __future__ import annotations

import json
import time
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from hone.precision import Measurement, Plan, PlanTable, accumulation, find_batch_size, largest_batch, measure_plans
from hone.precision import batch_size as batch_size_module
from hone.precision import measure as measure_module
from hone.precision.memory import PeakMemory
from hone.precision.plan import all_plans
from hone.precision.plan_cache import plan_key, remembered

PLAIN, LAST, HALF = Plan(), Plan(channels_last=True), Plan(kind="bf16")


def row(plan: Plan, rate: float, spread: float) -> Measurement:
    return Measurement(plan, rate, rate - spread, rate + spread, None)


@pytest.mark.parametrize(
    ("rows", "best"),
    [
        ([row(PLAIN, 10, 0.1), row(LAST, 12, 0.1)], LAST),
        ([row(PLAIN, 10, 1.0), row(LAST, 11.5, 1.0)], PLAIN),  # within the noise: the plainer
        ([row(LAST, 11.5, 1.0), row(PLAIN, 10, 1.0)], PLAIN),  # in whatever order they were measured
        ([row(PLAIN, 10, 0.1), row(LAST, 12, 0.5), row(HALF, 12.4, 0.5)], LAST),
        ([row(Plan(checkpointing=True), 12, 1), row(Plan(compile=True), 12, 1)], Plan(checkpointing=True)),
        ([Measurement(PLAIN, 0, 0, 0, None, "out of memory"), row(HALF, 3, 0.1)], HALF),
    ],
)
def test_the_fastest_is_taken_and_ties_go_to_the_plainer(rows: list[Measurement], best: Plan) -> None:
    assert PlanTable(tuple(rows)).best.plan == best


def test_where_nothing_runs_the_reasons_are_told() -> None:
    with pytest.raises(ValueError, match="fp32, batch 1: out of memory"):
        _ = PlanTable((Measurement(PLAIN, 0, 0, 0, None, "out of memory"),)).best


class Net(nn.Module):
    """Slower by a known factor in one layout, which it can see."""

    def __init__(self, slow_in_channels_last: bool) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.head = nn.Linear(4, 2)
        self.slow = slow_in_channels_last

    def forward(self, x: Tensor) -> Tensor:
        last = x.is_contiguous(memory_format=torch.channels_last)
        assert self.conv.weight.is_contiguous(memory_format=torch.channels_last) == last
        time.sleep(0.02 if last == self.slow else 0.002)
        return self.head(self.conv(x).mean(dim=(2, 3)))


def batch() -> tuple[Tensor, Tensor]:
    return torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 1, 0])


@pytest.mark.parametrize("slow", [True, False])
def test_the_layout_that_is_faster_for_this_model_is_taken(slow: bool) -> None:
    model = Net(slow)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    table = measure_plans(
        model, batch(), nn.functional.cross_entropy, all_plans(kinds=["fp32"], batch_sizes=[4]), steps=3
    )
    assert table.best.plan.channels_last != slow
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    assert all(parameter.grad is None for parameter in model.parameters())
    again = PlanTable.from_dict(json.loads(table.to_json()))
    assert again == table
    assert "<- taken" in str(table)


def test_a_plan_that_fails_is_a_row_with_the_reason() -> None:
    class Fails(nn.Linear):
        def forward(self, x: Tensor) -> Tensor:
            if len(x) > 4:
                torch.empty(2**50)  # the CPU allocator's own refusal
            return super().forward(x)

    plans = [Plan(batch_size=2), Plan(batch_size=8), Plan(batch_size=2, channels_last=True)]
    table = measure_plans(Fails(3, 2), (torch.ones(4, 3), torch.ones(4, 2)), nn.functional.mse_loss, plans, steps=2)
    assert [bool(r.failure) for r in table.rows] == [False, True, True]
    assert table.rows[1].failure == "out of memory"
    assert "channels_last is for images" in table.rows[2].failure


def test_all_plans_start_with_the_plainest() -> None:
    plans = all_plans(kinds=["bf16", "fp32"], batch_sizes=[8], compile=(True, False), checkpointing=(True, False))
    assert len(plans) == len(set(plans)) == 16
    assert plans[0] == Plan(batch_size=8)
    assert plans == sorted(plans, key=lambda plan: plan.plainness)


@pytest.mark.parametrize("start", [1, 7, 64, 200])
def test_the_largest_batch_is_found_whatever_the_limit(start: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch_size_module.gc, "collect", lambda: 0)  # hundreds of attempts that hold nothing
    for limit in [*range(1, 40), 63, 64, 65, 127, 199, 200]:
        tried = []

        def attempt(size: int, limit: int = limit, tried: list[int] = tried) -> None:
            tried.append(size)
            if size > limit:
                raise RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling cublasCreate")

        assert largest_batch(attempt, start=start, at_most=200) == limit
        assert len(tried) == len(set(tried)) <= 2 * (200).bit_length()
        assert max(tried) <= 200


def test_only_a_lack_of_memory_is_survived() -> None:
    def broken(size: int) -> None:
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")

    def nothing_fits(size: int) -> None:
        raise MemoryError

    with pytest.raises(RuntimeError, match="shapes"):
        largest_batch(broken)
    with pytest.raises(ValueError, match="not even one sample fits"):
        largest_batch(nothing_fits)


def test_nothing_of_a_failed_attempt_stays_in_memory() -> None:
    alive = []

    class Held:
        def __init__(self) -> None:
            alive.append(self)

        def __del__(self) -> None:
            alive.append("gone")

    def attempt(size: int) -> None:
        held = Held()
        alive.remove(held)
        held.myself = held
        raise torch.OutOfMemoryError("out of memory")

    assert not batch_size_module.fits(attempt, 1)
    assert alive == ["gone"]


@pytest.mark.parametrize(
    ("effective", "fitting", "expected"), [(32, 64, (32, 1)), (32, 12, (8, 4)), (30, 7, (6, 5)), (7, 3, (1, 7))]
)
def test_accumulation_keeps_the_effective_batch(effective: int, fitting: int, expected: tuple[int, int]) -> None:
    assert accumulation(effective, fitting) == expected


def test_a_cpu_is_not_filled_until_the_process_is_killed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each sample costs 8 MiB of peak memory here; with 200 MiB free, 70 % of them hold 17 samples."""
    sizes = []

    class Peak:
        def __init__(self, device: torch.device) -> None: ...

        def read(self) -> int:
            return sizes[-1] * 8 * 2**20

    def loss(logits: Tensor, target: Tensor) -> Tensor:
        sizes.append(len(target))
        return logits.square().mean()

    monkeypatch.setattr(measure_module, "PeakMemory", Peak)
    monkeypatch.setattr(measure_module, "available_bytes", lambda: 200 * 2**20)
    found = find_batch_size(nn.Linear(3, 2), (torch.ones(2, 3), torch.ones(2)), loss, Plan(batch_size=2))
    assert found == 17
    assert max(sizes) == 17


def test_peak_memory_sees_what_was_freed_again() -> None:
    peak = PeakMemory("cpu")
    torch.ones(48, 2**20).sum()
    found = peak.read()
    if found is None:
        pytest.skip("this system does not let a process reset its peak")
    assert 150 * 2**20 < found < 300 * 2**20


def test_an_answer_is_measured_once_for_each_key(tmp_path: Path) -> None:
    calls = []

    def measured() -> PlanTable:
        calls.append(1)
        return PlanTable((row(PLAIN, 10, 0.1),))

    path, data = tmp_path / "deep" / "plans.json", (torch.ones(4, 3), torch.ones(4))
    key = plan_key(nn.Linear(3, 2), data, [PLAIN])
    first = remembered(key, measured, path)
    assert remembered(key, measured, path) == first
    assert len(calls) == 1
    frozen = nn.Linear(3, 2).requires_grad_(False)
    others = [
        plan_key(nn.Linear(3, 4), data, [PLAIN]),
        plan_key(frozen, data, [PLAIN]),
        plan_key(nn.Linear(3, 2), (torch.ones(5, 3), torch.ones(5)), [PLAIN]),
        plan_key(nn.Linear(3, 2), data, [HALF]),
    ]
    assert len({key, *others}) == 5
    remembered(others[0], measured, path)
    assert set(json.loads(path.read_text())) == {key, others[0]}
    path.write_text("no JSON")
    assert remembered(key, measured, path) == first
    assert len(calls) == 3
