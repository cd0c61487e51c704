"""What the loop itself costs, and how near ``hone fit`` comes to a bare tuned loop over tensors already in memory.

    python benchmarks/loop.py engine                      microseconds an update over a bare loop, one Linear layer
    python benchmarks/loop.py throughput DATA [WEIGHTS]   images/s of hone fit against the bare loop, mobilenet_v2

Both sides run in turn in one process; medians, spread and ratio are printed.
"""

from __future__ import annotations

import os

os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")

import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import nn

import hone
from hone.schedules import CosineAnnealingLR, bind_schedule, warmup
from hone.training import updates


def engine(blocks: int = 15, count: int = 1_000) -> None:
    """The loop's own cost: schedule, seeds, precision, clipping and finite check against clipping alone."""
    torch.set_num_threads(1)
    data = torch.randn(8, 16), torch.randint(0, 4, (8,))
    criterion = nn.CrossEntropyLoss()

    def fresh() -> tuple[nn.Module, torch.optim.Optimizer]:
        torch.manual_seed(0)
        model = nn.Sequential(nn.Linear(16, 4))
        return model, torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def bare() -> float:
        model, optimizer = fresh()
        start = time.perf_counter()
        for _ in range(count):
            loss = criterion(model(data[0]), data[1])
            loss.backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
        return (time.perf_counter() - start) / count * 1e6

    def ours() -> float:
        model, optimizer = fresh()
        schedule = bind_schedule(warmup(10) >> CosineAnnealingLR(), count, count, base_lr=0.01)

        def batches(attempt: int):
            while True:
                yield data

        start = time.perf_counter()
        for _ in updates(model, criterion, optimizer, batches, total_updates=count, schedule=schedule, max_norm=1.0):
            pass
        return (time.perf_counter() - start) / count * 1e6

    base, hones = in_turn(blocks, bare, ours)
    extra = [b - a for a, b in zip(base, hones, strict=True)]
    print(f"bare loop {describe(base)} us, hone {describe(hones)} us, own cost {describe(extra)} us an update")


def throughput(data: str, weights: str | None = None, batch_size: int = 32, size: int = 160, count: int = 12) -> None:
    """Images a second of ``hone fit`` (decoding, augmentation, everything) against tensors in memory."""
    import torchvision

    def bare() -> float:
        torch.manual_seed(0)
        model = torchvision.models.mobilenet_v2(num_classes=5).to(memory_format=torch.channels_last).train()
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.eval()
        images = torch.randn(batch_size, 3, size, size).to(memory_format=torch.channels_last)
        target = torch.randint(0, 5, (batch_size,))
        optimizer = torch.optim.AdamW(model.parameters(), 3e-4, fused=True)
        times = []
        for _ in range(count):
            start = time.perf_counter()
            nn.functional.cross_entropy(model(images), target).backward()
            nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad(set_to_none=True)
            times.append(time.perf_counter() - start)
        return batch_size / statistics.median(times[2:])

    def ours() -> float:
        source = {"weights": weights} if weights else {"pretrained": False, "norm": "frozen"}
        with tempfile.TemporaryDirectory() as folder:
            run = hone.finetune(
                data,
                model="mobilenet_v2",
                train="all",
                precision="fp32",
                updates=2 * count,
                batch_size=batch_size,
                image_size=size,
                eval_every=10_000,
                out=f"{folder}/run",
                quiet=True,
                **source,
            )
            lines = [json.loads(line) for line in (run.path / "metrics.jsonl").read_text().splitlines()]
            return max(line["samples_per_second"] for line in lines if line["kind"] == "train")

    base, hones = in_turn(3, bare, ours)
    ratios = [b / a for a, b in zip(base, hones, strict=True)]
    print(f"bare loop {describe(base)} images/s, hone fit {describe(hones)} images/s, ratio {describe(ratios, 3)}")


def in_turn(blocks: int, *sides: Callable[[], float]) -> list[list[float]]:
    """Each side once as warm-up, then ``blocks`` times in turn."""
    for side in sides:
        side()
    rows = [[side() for side in sides] for _ in range(blocks)]
    return [list(column) for column in zip(*rows, strict=True)]


def describe(values: list[float], digits: int = 1) -> str:
    """Median and, in brackets, smallest to largest."""
    return f"{statistics.median(values):.{digits}f} [{min(values):.{digits}f}-{max(values):.{digits}f}]"


if __name__ == "__main__":
    print(f"torch {torch.__version__}, {platform.processor() or platform.machine()}, {os.cpu_count()} cores")
    if sys.argv[1:2] == ["engine"]:
        engine()
    elif sys.argv[1:2] == ["throughput"] and len(sys.argv) > 2 and Path(sys.argv[2]).is_dir():
        throughput(*sys.argv[2:4])
    else:
        sys.exit(__doc__)
