"""The central claim, pair by pair: loss, schedule, freeze plan, precision, accumulation, skips, where it is killed.

For every pair of values of every two factors there is a run in which they meet, and in each of these runs: a run killed
and resumed equals the uninterrupted one bit for bit, frozen tensors and buffers are untouched, and the rates are those
that ``preview`` names.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hone import losses, schedules
from hone.precision import Precision
from hone.schedules import bind_schedule, preview, warmup
from hone.training import Checkpoint, LoopState, read_checkpoint, save_checkpoint, updates
from hone.transfer import FreezePlan, apply_freeze, parameter_groups

from .small import Small, Source

TOTAL, EPOCH, LR = 12, 4, 0.05


def user_loss(logits: Tensor, target: Tensor) -> Tensor:
    return nn.functional.multi_margin_loss(logits.float(), target)


FACTORS: dict[str, dict[str, Any]] = {
    "loss": {
        "ce": losses.CrossEntropyLoss,
        "smooth": lambda: losses.CrossEntropyLoss(label_smoothing=0.1),
        "focal": losses.FocalLoss,
        "torch": nn.CrossEntropyLoss,
        "user": lambda: user_loss,
    },
    "schedule": {
        "cosine": lambda: warmup(3) >> schedules.CosineAnnealingLR(),
        "one-cycle": lambda: schedules.OneCycleLR(max_lr=0.1),
        "step": lambda: schedules.StepLR(step_size=1),
        "cyclic": lambda: schedules.CyclicLR(base_lr=0.01, max_lr=0.1, step_size_up=3),
        "plateau": lambda: schedules.ReduceLROnPlateau(patience=0, factor=0.5),
        "lambda": lambda: lambda update: 1 / (1 + update),
        "multiplicative": lambda: schedules.MultiplicativeLR(lambda step: 0.9),
    },
    "plan": {
        "all": lambda: FreezePlan("all"),
        "head": lambda: FreezePlan("head"),
        "frozen-norm": lambda: FreezePlan("all", norm="frozen"),
        "gradual": lambda: FreezePlan("head", stages={4: "last:1", 8: "all"}),
        "glob": lambda: FreezePlan("1.*", "head"),
    },
    "precision": {"fp32": "fp32", "bf16": "bf16", "fp16": "fp16"},
    "accumulate": {"1": 1, "3": 3},
    "skips": {"none": frozenset(), "early": frozenset({0}), "mid": frozenset({5, 6})},
    "killed": {"mid-epoch": 6, "after-a-skip": 7, "at-an-epoch": 8},
}


def pairwise(sizes: list[int]) -> list[tuple[int, ...]]:
    """Rows that hold every pair of values of every two factors, greedily."""
    factors = range(len(sizes))
    left = {
        (a, x, b, y) for a, b in itertools.combinations(factors, 2) for x in range(sizes[a]) for y in range(sizes[b])
    }
    every = list(itertools.product(*(range(size) for size in sizes)))
    rows: list[tuple[int, ...]] = []

    def gain(row: tuple[int, ...]) -> int:
        return sum((a, row[a], b, row[b]) in left for a, b in itertools.combinations(factors, 2))

    while left:
        first = next(iter(sorted(left)))
        candidates = [row for row in every if row[first[0]] == first[1] and row[first[2]] == first[3]]
        best = max(candidates[:: max(1, len(candidates) // 60)] or candidates, key=gain)
        rows.append(best)
        left -= {(a, best[a], b, best[b]) for a, b in itertools.combinations(factors, 2)}
    return rows


def cases() -> list[dict[str, str]]:
    names = {factor: list(values) for factor, values in FACTORS.items()}
    rows = pairwise([len(values) for values in names.values()])
    return [{factor: names[factor][place] for factor, place in zip(names, row, strict=True)} for row in rows]


class Run:
    """One run of a case, from anywhere to anywhere."""

    def __init__(self, case: dict[str, str], seed: int = 0) -> None:
        pick = {factor: FACTORS[factor][name] for factor, name in case.items()}
        # Without fp16 nothing is skipped, and a loss that is not finite would end the run.
        overflow = pick["skips"] if case["precision"] == "fp16" else frozenset()
        self.model = Small(seed)
        self.plan: FreezePlan = pick["plan"]()
        apply_freeze(self.model, self.plan)
        groups = parameter_groups(self.model, lr=LR, weight_decay=0.01, head_multiplier=2.0)
        self.optimizer = torch.optim.SGD(groups, lr=LR, momentum=0.9)
        self.unbound = pick["schedule"]()
        self.schedule = bind_schedule(self.unbound, TOTAL, EPOCH, LR)
        self.precision = Precision(pick["precision"], device="cpu", init_scale=1024.0)
        self.data = Source(pick["loss"](), pick["accumulate"], overflow)
        self.state = LoopState()
        self.rates: dict[int, list[float]] = {}
        self.skipped: list[int] = []

    def go(self, until: int = 10**9) -> None:
        loop = updates(
            self.model,
            self.data.criterion,
            self.optimizer,
            self.data.batches,
            total_updates=TOTAL,
            schedule=self.schedule,
            plan=self.plan,
            precision=self.precision,
            max_norm=1.0,
            accumulate=self.data.accumulate,
            seed=7,
            evaluate=self.evaluate,
            evaluate_every=EPOCH,
            state=self.state,
        )
        for step in loop:
            if step.skipped:
                self.skipped.append(step.attempt - 1)
            else:
                self.rates[step.update - 1] = [group["lr"] for group in self.optimizer.param_groups]
            if step.attempt == until:
                break

    def evaluate(self) -> dict[str, float]:
        self.model.eval()
        with torch.no_grad():
            return {"loss": float(nn.functional.cross_entropy(self.model(torch.ones(2, 6)), torch.tensor([0, 1])))}

    def checkpoint(self) -> Checkpoint:
        readings = self.schedule.state_dict() if hasattr(self.schedule, "state_dict") else None
        state = {
            "update": self.state.update,
            "attempt": self.state.attempt,
            "schedule": readings,
            "precision": self.precision.state_dict(),
        }
        return Checkpoint.of(self.model, self.optimizer, state)

    def take_up(self, checkpoint: Checkpoint) -> None:
        checkpoint.restore(self.model, self.optimizer)
        self.precision.load_state_dict(checkpoint.state["precision"])
        if hasattr(self.schedule, "load_state_dict"):
            self.schedule.load_state_dict(checkpoint.state["schedule"])
        self.state = LoopState(checkpoint.state["update"], checkpoint.state["attempt"])


def tensors(run: Run) -> dict[str, Tensor]:
    found = {f"model.{name}": value.clone() for name, value in run.model.state_dict().items()}
    for number, entry in run.optimizer.state_dict()["state"].items():
        found |= {f"optimizer.{number}.{k}": v.clone() for k, v in entry.items() if isinstance(v, Tensor)}
    return found


@pytest.mark.parametrize("case", cases(), ids=lambda case: "-".join(case.values()))
def test_resume_freeze_and_rates(case: dict[str, str], tmp_path: Path) -> None:
    whole = Run(case)
    before = {name: value.clone() for name, value in whole.model.state_dict().items()}
    whole.go()
    assert whole.state.update == TOTAL
    expected_skips = sorted(FACTORS["skips"][case["skips"]]) if case["precision"] == "fp16" else []
    assert whole.skipped == expected_skips
    assert whole.state.attempt == TOTAL + len(expected_skips)

    first = Run(case)
    first.go(until=FACTORS["killed"][case["killed"]])
    path = save_checkpoint(tmp_path, first.state.update, first.checkpoint())
    second = Run(case, seed=99)  # other initial weights: everything must come from the checkpoint
    second.take_up(read_checkpoint(path))
    second.go()
    left, right = tensors(whole), tensors(second)
    assert left.keys() == right.keys()
    assert [name for name in left if not torch.equal(left[name], right[name])] == []
    assert {**first.rates, **second.rates} == whole.rates

    if case["schedule"] != "plateau":
        curve = preview(whole.unbound, base_lr=LR, total_updates=TOTAL, updates_per_epoch=EPOCH)
        for update, rates in whole.rates.items():
            for group, rate in zip(whole.optimizer.param_groups, rates, strict=True):
                assert rate == pytest.approx(curve[update] * group["initial_lr"] / LR, rel=1e-14)

    trains = whole.plan.stages[max(whole.plan.stages)]
    if trains == ("head",):
        moved = [name for name, value in whole.model.state_dict().items() if not torch.equal(value, before[name])]
        assert moved == ["2.weight", "2.bias"]
        assert set(whole.optimizer.state_dict()["state"]) == {
            number for number, p in enumerate(whole_parameters(whole)) if p.requires_grad
        }
    if whole.plan.norm == "frozen":
        for name, value in whole.model.state_dict().items():
            if "running" in name:
                assert torch.equal(value, before[name])


def whole_parameters(run: Run) -> list[Tensor]:
    return [p for group in run.optimizer.param_groups for p in group["params"]]


def test_the_matrix_holds_every_pair() -> None:
    rows = cases()
    for a, b in itertools.combinations(FACTORS, 2):
        assert {(row[a], row[b]) for row in rows} == set(itertools.product(FACTORS[a], FACTORS[b]))


def test_a_forgotten_state_is_noticed(tmp_path: Path) -> None:
    """The comparison itself can fail: a resume that forgets the optimizer's moments is another run."""
    case = {"loss": "ce", "schedule": "cosine", "plan": "all", "precision": "fp32"}
    case |= {"accumulate": "1", "skips": "none", "killed": "mid-epoch"}
    whole, first, second = Run(case), Run(case), Run(case)
    whole.go()
    first.go(until=6)
    second.model.load_state_dict(first.model.state_dict())
    second.state = LoopState(first.state.update, first.state.attempt)
    second.go()
    assert any(not torch.equal(a, b) for a, b in zip(whole.model.parameters(), second.model.parameters(), strict=True))
