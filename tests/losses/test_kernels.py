"""The fused kernels: equal to plain torch, known to torch's compiler, independent of threads, safe to lack."""

from __future__ import annotations

import ctypes
import doctest
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

import hone.losses as L
from hone.losses.kernels import in_use, native, plain_torch
from hone.losses.kernels.operator import region_sums, region_sums_grad
from hone.losses.sums import Sums, sigmoid_sums, softmax_sums

built = pytest.mark.skipif(native.LIBRARY is None, reason="the CPU kernels are not built here")
OPTIONS: list[dict[str, Any]] = [
    {},
    {"cross_entropy": True},
    {"squares": True, "cross_entropy": True, "complement": True},
    {"cross_entropy": True, "complement": False, "gamma": 2.0},
    {"cross_entropy": True, "gamma": 0.5},
    {"cross_entropy": True, "alone": True},
    {"cross_entropy": True, "gamma": 2.0, "alone": True},
    {"regions": False, "cross_entropy": True, "complement": True, "gamma": 2.0},
    {"regions": False, "squares": True, "cross_entropy": True},
]


#: The largest error of a gradient over the largest gradient: a few roundings of float32; one of half precision.
BOUND = {torch.float32: 1e-5, torch.bfloat16: 2**-8, torch.float16: 2**-10}
#: One voxel, several groups with a remainder, more classes than are kept in registers, many classes, no space; whole
#: groups of few classes, whose logits are read where they are.
SHAPES = [(2, 2, 1), (1, 5, 33, 47), (2, 14, 7, 9, 5), (1, 104, 300), (3, 3), (1, 4, 40, 29), (2, 2, 600), (1, 3, 513)]


def inputs(
    softmax: bool, shape: tuple[int, ...], dtype: torch.dtype, *, ignored: bool = True, scale: float = 4.0
) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = (torch.randn(shape, generator=generator) * scale).to(dtype)
    flat = (shape[0], *shape[2:])
    target = torch.randint(0, shape[1] if softmax else 2, flat if softmax else shape, generator=generator)
    if ignored:
        target[torch.rand(target.shape, generator=generator) < 0.1] = 255
    return logits, target, torch.rand(flat, generator=generator) > 0.2


def sums_and_grad(
    softmax: bool, logits: Tensor, target: Tensor, mask: Tensor | None, *, alone: bool = False, **options: Any
) -> list[Tensor]:
    """Stacked sums, and the gradient of all of them or of the cross-entropy ``alone``, each with its own weight."""
    x = logits.detach().requires_grad_()
    compute = softmax_sums if softmax else sigmoid_sums
    sums = torch.stack(tuple(compute(x, target, mask=mask, ignore_index=255, **options)))
    upstream = torch.linspace(-1, 1, sums.numel(), dtype=sums.dtype).reshape(sums.shape)
    if alone:
        upstream = upstream * (torch.arange(len(Sums._fields)) == Sums._fields.index("cross_entropy"))[:, None, None]
    (grad,) = torch.autograd.grad((sums * upstream * (sums.detach() != 0)).sum(), x)
    return [sums.detach(), grad]


def expect_equal(softmax: bool, logits: Tensor, target: Tensor, mask: Tensor | None, **options: Any) -> None:
    """Hold sums and gradient to those of plain torch in float64."""
    sums, grad = sums_and_grad(softmax, logits, target, mask, **options)
    with plain_torch():
        exact, exact_grad = sums_and_grad(softmax, logits.double(), target, mask, **options)
    torch.testing.assert_close(sums, exact, rtol=1e-5, atol=1e-6)
    assert (grad.double() - exact_grad).abs().max() <= BOUND[logits.dtype] * exact_grad.abs().max()


@built
@pytest.mark.parametrize("level", range(3), ids=native.LEVELS)
@pytest.mark.parametrize("dtype", BOUND, ids=str)
@pytest.mark.parametrize("softmax", [True, False], ids=["softmax", "sigmoid"])
def test_kernels_equal_plain_torch(
    softmax: bool, dtype: torch.dtype, level: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    if level > native.level():
        pytest.skip(f"this machine has no {native.LEVELS[level]}: compiled, not run")
    monkeypatch.setattr(native, "level", lambda: level)
    for shape in SHAPES:
        for options in OPTIONS:
            logits, target, mask = inputs(softmax, shape, dtype)
            expect_equal(softmax, logits, target, None, **options)
            expect_equal(softmax, logits, target, mask, **options)
            expect_equal(softmax, *inputs(softmax, shape, dtype, ignored=False)[:2], None, **options)


def saturated(c: int) -> tuple[Tensor, Tensor]:
    """Logits whose largest stands out by 9 at least, and their labels, all right: saturation leaves little gradient."""
    logits, _, _ = inputs(True, (1, c, 2000), torch.float32, scale=20.0)
    two = logits.topk(2, 1).values
    logits = logits[..., (two[:, 0] - two[:, 1] > 9)[0]]
    return logits, logits.argmax(1)


def test_saturated_gradients_keep_their_digits() -> None:
    """There p (G - sum p G) is a difference of nearly equal numbers, so it is not computed so."""
    for c in (4, 14):
        logits, target = saturated(c)
        for options in OPTIONS:
            expect_equal(True, logits, target, None, **options)
            with plain_torch():
                expect_equal(True, logits, target, None, **options)


@built
@pytest.mark.parametrize("classes", [2, 3, 4, 5, 14])
def test_losses_near_zero_keep_their_digits(classes: int) -> None:
    """-log p of p nearly 1 is log(1 + r) of a small r, which 1 + r would drop."""
    logits = torch.zeros(1, classes, 500)
    logits[:, 0] = torch.linspace(18, 30, 500)
    target = torch.zeros(1, 500, dtype=torch.int64)
    rest = (classes - 1) * (-logits[:, 0].double()).exp()
    for gamma, expected in ((0.0, rest.log1p()), (2.0, (rest / (1 + rest)) ** 2 * rest.log1p())):
        found = softmax_sums(logits, target, cross_entropy=True, gamma=gamma).cross_entropy[0, 0]
        torch.testing.assert_close(found, expected.sum(), rtol=1e-5, atol=0.0)


def test_torch_s_own_softmax_loses_them() -> None:
    logits, target = saturated(4)

    def grad(x: Tensor) -> Tensor:
        x = x.requires_grad_()
        return torch.autograd.grad(x.softmax(1).gather(1, target[:, None]).sum(), x)[0].double()

    exact = grad(logits.double())
    assert (grad(logits) - exact).abs().max() > 10 * BOUND[torch.float32] * exact.abs().max()


@built
@pytest.mark.parametrize("dtype", BOUND, ids=str)
def test_channels_last_is_read_as_it_lies(dtype: torch.dtype) -> None:
    for shape in ((2, 4, 30, 31), (2, 14, 7, 9, 5)):
        for ignored in (True, False):
            logits, target, mask = inputs(True, shape, dtype, ignored=ignored)
            beside = logits.movedim(1, -1).contiguous().movedim(-1, 1)
            assert native.is_channels_last(beside)
            for valid in (None, mask):
                got, expected = (sums_and_grad(True, x, target, valid, cross_entropy=True) for x in (beside, logits))
                assert got[1].stride() == beside.stride()
                torch.testing.assert_close(got[0], expected[0], rtol=1e-6, atol=1e-6)
                expect_equal(True, beside, target, valid, cross_entropy=True)
                expect_equal(True, beside, target, valid, cross_entropy=True, alone=True)


@built
@pytest.mark.parametrize("dtype", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool], ids=str)
@pytest.mark.parametrize("softmax", [True, False])
def test_labels_of_any_integer_dtype(softmax: bool, dtype: torch.dtype) -> None:
    logits, target, _ = inputs(softmax, (2, 2, 300), torch.float32, ignored=dtype != torch.bool)
    assert native.serves(logits, target.to(dtype), sigmoid=not softmax)
    got, expected = (sums_and_grad(softmax, logits, t, None, cross_entropy=True) for t in (target.to(dtype), target))
    assert all(torch.equal(a, b) for a, b in zip(got, expected, strict=True))


@built
def test_wide_labels_are_not_cut() -> None:
    """2^32 is not label 0, nor is it an ignored one where 0 is."""
    logits, target, _ = inputs(True, (1, 3, 300), torch.float32, ignored=False)
    target[0, 17] = 2**32
    for ignore in (255, 0):
        with pytest.raises(ValueError, match=f"got {2**32}"):
            softmax_sums(logits, target, ignore_index=ignore)
    assert softmax_sums(logits, target, ignore_index=2**32).valid[0, 0] == 299


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
        torch.library.opcheck(region_sums, (logits, target, kept, sigmoid, 255, 15, 2.0))
        upstream = torch.ones(8, 2, 3, dtype=torch.float64)
        torch.library.opcheck(region_sums_grad, (upstream, logits.detach(), target, kept, sigmoid, 255, 15, 2.0))


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
    sums = native.compute_sums(logits.view(1, 2, voxels), target[None], mask[None], False, -100, 8, 0.0)
    assert sums[0, 0].tolist() == [0.0, pytest.approx(torch.tensor(3.0).sigmoid().item(), rel=1e-6)]


def test_without_the_library_everything_works() -> None:
    code = (
        "import pathlib, torch; torch.set_num_threads(1)\n"
        "import hone.losses.kernels.native as native\n"
        "native.LIBRARY = None\n"
        "import hone.losses as L; from hone.losses.kernels import in_use\n"
        "x = torch.randn(1, 3, 8, requires_grad=True)\n"
        "L.SoftmaxDiceCELoss()(x, torch.zeros(1, 8, dtype=torch.long)).backward()\n"
        "assert in_use() == 'torch' and x.grad.abs().sum() > 0\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True)


def test_in_use_says_which() -> None:
    expected = "torch" if native.LIBRARY is None else f"native {native.LEVELS[native.level()]}"
    assert in_use("cpu") == expected
    with plain_torch():
        assert in_use("cpu") == "torch"


@built
def test_no_openmp_runtime_of_its_own() -> None:
    assert isinstance(native.LIBRARY, ctypes.CDLL)
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
