"""Failure 14: batch Dice and its relatives over two processes equal one process with the whole batch."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

WORKER = """
import sys, torch, torch.distributed as dist
import hone.losses as L
from torch.nn.parallel import DistributedDataParallel as DDP

rank, store = int(sys.argv[1]), sys.argv[2]
torch.set_num_threads(1)
dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=2)
generator = torch.Generator().manual_seed(0)
images = torch.randn(4, 3, 5, 5, generator=generator, dtype=torch.float64)
target = torch.randint(0, 3, (4, 5, 5), generator=generator)
target[0, :4] = -100  # the processes have different numbers of valid voxels
mine = slice(0, 2) if rank == 0 else slice(2, 4)
for make in (
    lambda **o: L.SoftmaxDiceLoss(**o),
    lambda **o: L.SoftmaxTverskyLoss(alpha=0.3, beta=0.7, **o),
    lambda **o: L.SoftmaxMCCLoss(**o),
    lambda **o: L.CrossEntropyLoss(weight=[1.0, 2.0, 0.5], **o),
    lambda **o: L.FocalLoss(**o),
    lambda **o: L.SoftmaxDiceCELoss(**o),
    lambda **o: L.SoftmaxDiceLoss(**o) + 0.5 * L.CrossEntropyLoss(**o),
):
    def model():
        torch.manual_seed(1)
        return torch.nn.Conv2d(3, 3, 1).double()
    alone, shared = model(), DDP(model())
    expected = make()(alone(images), target)
    expected.backward()
    value = make(across_processes=True)(shared(images[mine]), target[mine])
    value.backward()
    torch.testing.assert_close(value, expected)
    for one, other in zip(alone.parameters(), shared.module.parameters()):
        torch.testing.assert_close(other.grad, one.grad)
    forgotten = make()(shared(images[mine]), target[mine])  # the law can fail
    assert abs(forgotten.item() - expected.item()) > 1e-6
dist.destroy_process_group()
"""


def test_14_two_processes_equal_one(tmp_path: Path) -> None:
    environment = {**os.environ, "GLOO_SOCKET_IFNAME": "lo", "OMP_NUM_THREADS": "1"}
    workers = [
        subprocess.Popen(
            [sys.executable, "-W", "ignore", "-c", WORKER, str(rank), str(tmp_path / "store")],
            env=environment,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(2)
    ]
    for worker in workers:
        _, errors = worker.communicate(timeout=120)
        assert worker.returncode == 0, errors


def test_per_sample_regions_have_no_common_batch() -> None:
    import hone.losses as L

    with pytest.raises(ValueError, match="across_processes must be False where per_sample is True"):
        L.DiceLoss(per_sample=True, across_processes=True)
