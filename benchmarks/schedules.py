"""Setting the values of 1,000 parameter groups: hone's bound schedule + assign against torch's own scheduler.step().

    python benchmarks/schedules.py

Each row measures both sides alternately in the same process, one thread, and prints the median time of a step, the
spread (5th to 95th percentile of the ratio of neighbouring pairs) and the ratio of the medians.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import lr_scheduler as theirs

from hone import schedules as ours

GOAL = 1 / 5


def cases(total: int) -> dict[str, tuple[Any, Callable[[Any], Any]]]:
    """Name -> (hone's schedule, torch's scheduler of an optimizer)."""
    return {
        "LambdaLR": (ours.LambdaLR(lambda step: 0.99**step), lambda o: theirs.LambdaLR(o, lambda step: 0.99**step)),
        "StepLR": (ours.StepLR(30, interval="update"), lambda o: theirs.StepLR(o, 30)),
        "CosineAnnealingLR": (ours.CosineAnnealingLR(), lambda o: theirs.CosineAnnealingLR(o, total)),
        "OneCycleLR, momentum": (ours.OneCycleLR(), lambda o: theirs.OneCycleLR(o, 0.1, total)),
        "OneCycleLR": (
            ours.OneCycleLR(cycle_momentum=False),
            lambda o: theirs.OneCycleLR(o, 0.1, total, cycle_momentum=False),
        ),
        "warm-up, cosine": (
            ours.warmup(50) >> ours.CosineAnnealingLR(),
            lambda o: theirs.SequentialLR(
                o, [theirs.LinearLR(o, 0.01, total_iters=50), theirs.CosineAnnealingLR(o, total - 50)], [50]
            ),
        ),
    }


def optimizer(groups: int, kind: Any, tensors: bool) -> torch.optim.Optimizer:
    """An optimizer of many groups of one small parameter each, at two rates."""
    rates = (0.1, 0.001)
    rows = [
        {"params": [torch.zeros(1, requires_grad=True)], "lr": torch.tensor(lr) if tensors else lr}
        for lr in (rates[place % 2] for place in range(groups))
    ]
    made: torch.optim.Optimizer = kind(rows)
    return made


def timed(function: Callable[[], Any]) -> float:
    start = time.perf_counter()
    function()
    return time.perf_counter() - start


def measure(name: str, groups: int, updates: int, kind: Any, tensors: bool) -> tuple[float, float, list[float]]:
    """Median seconds of hone's and of torch's step, and the ratios of neighbouring pairs."""
    schedule, make = cases(updates + 1)[name]
    mine, torchs = optimizer(groups, kind, tensors), optimizer(groups, kind, tensors)
    bound, scheduler = ours.bind_schedule(schedule, updates + 1, 100, 0.1), make(torchs)
    torchs._opt_called = True  # no optimizer step is timed; torch would warn about the order
    pairs = []
    for update in range(1, updates):
        pairs.append((timed(lambda update=update: ours.assign(mine, bound(update))), timed(scheduler.step)))  # type: ignore[misc]
    pairs = pairs[10:]
    ratios = sorted(a / b for a, b in pairs)
    return statistics.median(a for a, _ in pairs), statistics.median(b for _, b in pairs), ratios


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--groups", type=int, default=1000, help="parameter groups")
    parser.add_argument("--updates", type=int, default=400, help="steps measured on each side")
    options = parser.parse_args()
    torch.set_num_threads(1)
    print(f"torch {torch.__version__}, Python {platform.python_version()}, {options.groups} groups")
    print(f"{'':44}{'hone us':>10}{'torch us':>10}{'ratio':>8}   5 % .. 95 %")
    within = []
    for kind, tensors in ((torch.optim.AdamW, False), (torch.optim.SGD, False), (torch.optim.AdamW, True)):
        for name in cases(options.updates):
            mine, torchs, ratios = measure(name, options.groups, options.updates, kind, tensors)
            low, high = ratios[len(ratios) // 20], ratios[-len(ratios) // 20 - 1]
            title = f"{name}, {kind.__name__}{', tensor rates' if tensors else ''}"
            print(f"{title:44}{mine * 1e6:10.0f}{torchs * 1e6:10.0f}{mine / torchs:8.3f}   {low:.3f} .. {high:.3f}")
            within.append(mine / torchs <= GOAL)
    print(f"{sum(within)} of {len(within)} rows at most {GOAL:g} of torch's time")


if __name__ == "__main__":
    main()
