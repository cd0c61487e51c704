"""The fused kernels: equal to plain torch, known to torch's compiler, independent of threads, safe to lack."""

from __future__ import annotations

import ctypes
import doctest
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor

import hone.losses as L
from hone.losses.kernels import in_use, native, plain_torch
from hone.losses.kernels.operator import region_sums, region_sums_grad
from hone.losses.sums import sigmoid_sums, softmax_sums

built = pytest.mark.skipif(native.library() is None, reason="the CPU kernels are not built here")
OPTIONS: list[dict[str, float | bool]] = [
    {},
    {"cross_entropy": True},
    {"squares": True, "cross_entropy": True, "complement": True},
    {"cross_entropy": True, "complement": False, "gamma": 2.0},
    {"cross_entropy": True, "gamma": 0.5},
]


def inputs(softmax: bool, shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(shape, generator=generator) * 4).to(dtype)
    flat = (shape[0], *shape[2:])
    target = torch.randint(0, shape[1] if softmax else 2, flat if softmax else shape, generator=generator)
    target[torch.rand(target.shape, generator=generator) < 0.1] = 255
    return logits, target, torch.rand(flat, generator=generator) > 0.2


def sums_and_grad(
    softmax: bool, logits: Tensor, target: Tensor, mask: Tensor | None, **options: object
) -> list[Tensor]:
    x = logits.detach().requires_grad_()
    compute = softmax_sums if softmax else sigmoid_sums
    sums = torch.stack(tuple(compute(x, target, mask=mask, ignore_index=255, **options)))  # type: ignore[arg-type]
    upstream = torch.linspace(-1, 1, sums.numel(), dtype=sums.dtype).reshape(sums.shape)
    (grad,) = torch.autograd.grad((sums * upstream * (sums.detach() != 0)).sum(), x)
    return [sums.detach(), grad]


@built
@pytest.mark.parametrize("level", range(3), ids=native.LEVELS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16], ids=str)
@pytest.mark.parametrize("softmax", [True, False], ids=["softmax", "sigmoid"])
def test_kernels_equal_plain_torch(
    softmax: bool, dtype: torch.dtype, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level > native.level():
        pytest.skip(f"this machine has no {native.LEVELS[level]}: compiled, not run")
    monkeypatch.setattr(native, "level", lambda: level)
    for shape in [(2, 2, 1), (1, 5, 33, 47), (2, 14, 7, 9, 5), (1, 104, 300), (3, 3)]:
        logits, target, mask = inputs(softmax, shape, dtype)
        for options in OPTIONS:
            for valid in (None, mask):
                got = sums_and_grad(softmax, logits, target, valid, **options)
                with plain_torch():
                    expected = sums_and_grad(softmax, logits.double(), target, valid, **options)
                torch.testing.assert_close(got[0], expected[0], rtol=1e-5, atol=1e-6)
                # Where every softmax is saturated the gradient itself is a rounding of the upstream ones (up to 1).
                bound = (2**-8 if dtype == torch.bfloat16 else 1e-5) * expected[1].abs().max() + 2.5e-7
                assert (got[1].double() - expected[1]).abs().max() <= bound


@built
def test_a_wrong_gradient_is_seen() -> None:
    logits, target, _ = inputs(True, (1, 5, 40), torch.float32)
    right = region_sums_grad(torch.ones(8, 1, 5).double(), logits, target, None, False, 255, 2, 0.0)
    wrong = region_sums_grad(torch.ones(8, 1, 5).double(), logits, target, None, False, 255, 0, 0.0)
    assert (right - wrong).abs().max() > 1e-3 * right.abs().max()


@built
@pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")  # opcheck's own doing
@pytest.mark.parametrize("sigmoid", [False, True])
def test_torch_knows_the_operator(sigmoid: bool) -> None:
    logits, target, mask = inputs(not sigmoid, (2, 3, 5, 4), torch.float32)
    logits.requires_grad_()
    for kept in (None, mask):
        torch.library.opcheck(region_sums, (logits, target, kept, sigmoid, 255, 7, 2.0))
        upstream = torch.ones(8, 2, 3, dtype=torch.float64)
        torch.library.opcheck(region_sums_grad, (upstream, logits.detach(), target, kept, sigmoid, 255, 7, 2.0))


@built
def test_the_sums_do_not_depend_on_threads() -> None:
    logits, target, _ = inputs(True, (2, 5, 200, 150), torch.float32)
    assert logits.numel() >= native.SMALLEST_SHARED
    alone = sums_and_grad(True, logits, target, None, cross_entropy=True)
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(3)
        shared = sums_and_grad(True, logits, target, None, cross_entropy=True)
    finally:
        torch.set_num_threads(threads)
    assert all(torch.equal(a, b) for a, b in zip(alone, shared, strict=True))


@built
def test_inplace_writes_the_gradient_over_the_logits() -> None:
    x = torch.randn(1, 3, 8, 8, requires_grad=True)
    target = torch.randint(0, 3, (1, 8, 8))
    (expected,) = torch.autograd.grad(L.SoftmaxDiceCELoss()(x * 2, target), x)
    logits = x * 2
    logits.retain_grad()
    L.SoftmaxDiceCELoss(inplace=True)(logits, target).backward()
    assert logits.grad is not None and x.grad is not None
    torch.testing.assert_close(x.grad, expected)
    torch.testing.assert_close(logits.detach() * 2, expected)


@built
def test_inplace_is_refused_where_the_logits_are_still_needed() -> None:
    x = torch.randn(1, 3, 8, requires_grad=True)
    logits = x.exp()  # whose backward needs its result
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        L.CrossEntropyLoss(inplace=True)(logits, torch.zeros(1, 8, dtype=torch.long)).backward()


def test_inplace_leaves_a_leaf_alone() -> None:
    x = torch.randn(1, 3, 8, requires_grad=True)
    before = x.detach().clone()
    L.CrossEntropyLoss(inplace=True)(x, torch.zeros(1, 8, dtype=torch.long)).backward()
    assert torch.equal(x.detach(), before)


@built
@pytest.mark.skipif(not os.environ.get("HONE_HEAVY"), reason="a minute over 4 GiB; set HONE_HEAVY=1")
def test_offsets_beyond_31_bits(tmp_path: Path) -> None:
    """Index arithmetic: of 2^31 + 300 logits only the last differ from 0, in files that take no room."""
    voxels = 2**30 + 150

    def zeros(name: str, dtype: torch.dtype, size: int) -> Tensor:
        with (tmp_path / name).open("wb") as file:
            file.truncate(size * dtype.itemsize)
        return torch.from_file(str(tmp_path / name), shared=True, size=size, dtype=dtype)

    logits, target = zeros("logits", torch.bfloat16, 2 * voxels), zeros("target", torch.uint8, voxels)
    mask = zeros("mask", torch.uint8, voxels).view(torch.bool)
    logits[-1], target[-1], mask[-1] = 3.0, 1, True
    sums = native.compute_sums(logits.view(1, 2, voxels), target[None], mask[None], False, -100, 0, 0.0)
    assert sums[0, 0].tolist() == [0.0, pytest.approx(torch.tensor(3.0).sigmoid().item(), rel=1e-6)]


def test_without_the_library_everything_works() -> None:
    code = (
        "import pathlib, torch; torch.set_num_threads(1)\n"
        "import hone.losses.kernels.native as native\n"
        "native.library = lambda: None\n"
        "import hone.losses as L; from hone.losses.kernels import in_use\n"
        "x = torch.randn(1, 3, 8, requires_grad=True)\n"
        "L.SoftmaxDiceCELoss()(x, torch.zeros(1, 8, dtype=torch.long)).backward()\n"
        "assert in_use() == 'torch' and x.grad.abs().sum() > 0\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_in_use_says_which() -> None:
    expected = "torch" if native.library() is None else f"native {native.LEVELS[native.level()]}"
    assert in_use("cpu") == expected
    with plain_torch():
        assert in_use("cpu") == "torch"


@built
def test_no_openmp_runtime_of_its_own() -> None:
    library = native.library()
    assert isinstance(library, ctypes.CDLL)
    mapped = Path("/proc/self/maps").read_text().splitlines()
    before = {line.split()[-1] for line in mapped if "libgomp" in line and "torch" not in line}
    assert before <= {path for path in before if "sklearn" in path or "scikit" in path or "scipy" in path}


@built
def test_compiled_losses_equal_eager_ones() -> None:
    x, target = torch.randn(2, 3, 8, 8, requires_grad=True), torch.randint(0, 3, (2, 8, 8))
    loss = 0.5 * L.SoftmaxDiceLoss() + L.FocalLoss()
    value, expected = torch.compile(loss, backend="aot_eager", fullgraph=True)(x, target), loss(x, target)
    torch.testing.assert_close(value, expected)
    torch.testing.assert_close(torch.autograd.grad(value, x), torch.autograd.grad(expected, x))


def test_the_documentation_runs() -> None:
    text = Path(__file__).resolve().parents[2] / "docs" / "losses.md"
    assert doctest.testfile(str(text), module_relative=False).failed == 0
