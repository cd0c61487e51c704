"""Two processes through ``updates``: stages that wrap anew, accumulation, uneven weights; and a world of one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import nn

from hone.training import World, join_world, pick_device

#: Trains a network of three layers by gradual unfreezing, with windows of two micro-batches in which targets are
#: ignored unevenly; run by torchrun with two processes, or as it is.
SCRIPT = """
import sys
from pathlib import Path
import torch
from torch import nn
from hone import losses
from hone.schedules import CosineAnnealingLR, bind_schedule, warmup
from hone.precision import Precision
from hone.training import join_world, run_over, updates
from hone.transfer import FreezePlan, apply_freeze, parameter_groups

torch.set_num_threads(1)
BATCH, ACCUMULATE, TOTAL = 8, 2, 9


def micro_batches(attempt, rank, size):
    share = BATCH // size
    while True:
        for place in range(ACCUMULATE):
            generator = torch.Generator().manual_seed(100 * attempt + place)
            inputs = torch.randn(BATCH, 5, generator=generator, dtype=torch.float64)
            target = torch.randint(0, 3, (BATCH,), generator=generator)
            target[: (attempt + 3 * place) % 6] = -100
            rows = slice(rank * share, (rank + 1) * share)
            yield inputs[rows], target[rows]
        attempt += 1


with join_world("cpu") as world:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 3)).double()
    plan = FreezePlan("head", stages={3: "last:1", 6: "all"})
    apply_freeze(model, plan)
    optimizer = torch.optim.AdamW(parameter_groups(model, lr=0.05, weight_decay=0.1))
    schedule = bind_schedule(warmup(2) >> CosineAnnealingLR(), TOTAL, 3, 0.05)
    criterion = losses.CrossEntropyLoss([1.0, 2.0, 0.5])
    steps = []
    for step in updates(
        model, criterion, optimizer, lambda attempt: micro_batches(attempt, world.rank, world.size),
        total_updates=TOTAL, schedule=schedule, plan=plan, max_norm=1.0, accumulate=ACCUMULATE, world=world,
    ):
        loss = float(world.total(step.loss)) / world.size
        steps.append((step.update, loss, float(step.grad_norm), optimizer.param_groups[0]["lr"]))
    normed = nn.BatchNorm1d(2, affine=False)
    normed.running_mean.fill_(world.rank)  # each process has seen other samples
    rows = [(torch.full((1, 2), float(k)), torch.zeros(1), torch.tensor([k])) for k in range(world.rank, 5, world.size)]
    outputs = run_over(normed, rows, None, Precision("fp32"), world).logits
    totals = world.gather(world.rank)
    flags = (world.any(world.rank == 1), world.any(False))
    world.wait()
threads = [thread.read_text() for thread in Path("/proc/self/task").glob("*/comm")]  # none off Linux
if world.is_first:
    found = {"steps": steps, "model": model.state_dict(), "totals": totals, "flags": flags, "outputs": outputs}
    torch.save({**found, "threads": threads}, sys.argv[1])
"""


def results(folder: Path, processes: int) -> dict[str, object]:
    script, out = folder / "train.py", folder / f"{processes}.pt"
    script.write_text(SCRIPT)
    launcher = ["-m", "torch.distributed.run", "--nproc-per-node", "2", "--standalone"] if processes > 1 else []
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}
    done = subprocess.run(
        [sys.executable, *launcher, str(script), str(out)],
        env=environment, capture_output=True, text=True, timeout=90, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    found: dict[str, object] = torch.load(out, weights_only=True)
    return found


def test_two_processes_are_one_at_the_same_global_batch(tmp_path: Path) -> None:
    """Stages at 3 and 6, ignored targets unevenly shared, class weights: in float64 all digits but the last few."""
    one, two = results(tmp_path, 1), results(tmp_path, 2)
    for a, b in zip(one["steps"], two["steps"], strict=True):  # type: ignore[call-overload]
        assert b == pytest.approx(a, rel=1e-12)
    for name, value in one["model"].items():  # type: ignore[attr-defined]
        torch.testing.assert_close(two["model"][name], value, rtol=0, atol=1e-12)  # type: ignore[index]
    assert two["totals"] == [0, 1] and two["flags"] == (True, False)
    assert torch.equal(one["outputs"], two["outputs"])  # type: ignore[arg-type]
    # A thread of the group that outlives it can abort the process while Python ends.
    assert not [name for name in two["threads"] if "gloo" in name]  # type: ignore[attr-defined]


def test_a_world_of_one_does_nothing() -> None:
    model = nn.Linear(2, 2)
    with join_world("cpu") as world:
        assert (world.rank, world.size, world.is_first) == (0, 1, True)
        assert world.wrap(model) is model
        value = torch.ones(2)
        assert world.total(value) is value and world.gather("x") == ["x"]
        world.wait()


def test_devices() -> None:
    assert pick_device("cpu").type == "cpu"
    with pytest.raises(ValueError, match="device must name"):
        pick_device("gpu")
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match="sees no CUDA"):
            pick_device("cuda")
    assert World().device.type == "cpu"
