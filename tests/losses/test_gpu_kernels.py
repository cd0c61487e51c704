"""The Triton operator, in Triton's interpreter on the CPU: equal to plain torch."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys

import pytest

CHECK = """
import torch
from hone.losses.kernels import gpu, plain_torch
from hone.losses.sums import compute_sums

generator = torch.Generator().manual_seed(0)
CASES = [
    ((2, 5, 7, 9), torch.float32, 3),
    ((1, 14, 300), torch.float32, 3),
    ((1, 4, 300), torch.float32, 12),  # saturated
    ((2, 3, 40), torch.bfloat16, 3),
]
for shape, dtype, scale in CASES:
    logits = (torch.randn(shape, generator=generator) * scale).to(dtype)
    target = torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    target = logits.argmax(1) if scale > 10 else target
    target[0, 0] = 255
    masks = None, torch.rand(target.shape, generator=generator) > 0.3
    for flags, gamma in [(8, 0.0), (10, 0.0), (15, 0.0), (11, 2.0), (2, 0.5)]:
        for mask in masks:
            exact = logits.double().requires_grad_()
            with plain_torch():
                options = dict(sigmoid=False, ignore_index=255, flags=flags, gamma=gamma, inplace=False)
                expected = torch.stack(tuple(compute_sums(exact, target, mask, **options)))
            got = gpu.compute_sums(logits, target, mask, 255, flags, gamma)
            torch.testing.assert_close(got, expected.detach(), rtol=1e-5, atol=1e-5)
            upstream = torch.linspace(-1, 1, expected.numel(), dtype=torch.float64).reshape(expected.shape)
            upstream *= expected.detach() != 0
            (right,) = torch.autograd.grad(expected, exact, upstream)
            grad = gpu.compute_grad(upstream, logits, target, mask, 255, flags, gamma)
            # The interpreter cuts float32 to bfloat16 where a GPU rounds: one unit instead of half of one.
            bound = (2**-7 if dtype == torch.bfloat16 else 1e-5) * right.abs().max()
            assert (grad.double() - right).abs().max() <= bound, (shape, flags, gamma)
wrong = gpu.compute_grad(torch.ones(8, 2, 3).double(), logits, target, None, 255, 8, 0.0)
assert (wrong.double() - right).abs().max() > bound  # the law can fail
target[1, 3] = 9
assert gpu.compute_sums(logits, target, None, 255, 8, 0.0)[2, 1].isnan().all()  # a label out of range is loud
"""


@pytest.mark.skipif(importlib.util.find_spec("triton") is None, reason="Triton is not installed")
def test_triton_in_its_interpreter() -> None:
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", CHECK]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
