"""The laws every loss obeys, on the plain path in float64 and on the kernels in float32 and bfloat16."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch import Tensor

from .cases import OTHERS, TABLE, WRONG, Case

#: Largest error of a gradient over the largest gradient, and relative error of a value, by dtype: a few roundings of
#: float32; for bfloat16 one rounding of each gradient (half a unit of 8 bits).
TOLERANCE = {torch.float32: (1e-5, 2e-6), torch.bfloat16: (2**-8, 2e-6)}
SHAPES = [(3, 3, 5, 7), (2, 3, 3, 5, 4), (2, 3, 19), (6, 3)]

every = pytest.mark.parametrize("case", TABLE + OTHERS, ids=lambda case: case.name)
with_formula = pytest.mark.parametrize("case", TABLE, ids=lambda case: case.name)


def fits(case: Case, shape: tuple[int, ...]) -> bool:
    return not (case.name == "cl dice" and len(shape) < 4) and not (case in OTHERS and len(shape) < 3)


def obeys_formula(case: Case, shape: tuple[int, ...]) -> None:
    logits, target = case.inputs(shape)
    logits.requires_grad_()
    value = case.loss(logits, target)
    expected = case.formula(logits, case.spread(logits, target))
    torch.testing.assert_close(value, expected, rtol=1e-9, atol=1e-12)
    (grad,) = torch.autograd.grad(3 * value, logits)
    (expected_grad,) = torch.autograd.grad(3 * expected, logits)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-7, atol=1e-11)


@with_formula
def test_equals_its_formula_in_float64(case: Case) -> None:
    for shape in SHAPES:
        obeys_formula(case, shape)


def test_a_wrong_loss_is_seen() -> None:
    with pytest.raises(AssertionError):
        obeys_formula(WRONG, SHAPES[0])


@every
def test_gradcheck(case: Case) -> None:
    logits, target = case.inputs((2, 3, 3, 3))
    assert torch.autograd.gradcheck(lambda x: case.loss(x, target), logits.requires_grad_(), atol=1e-6)


@with_formula
@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
def test_low_precision_against_float64(case: Case, dtype: torch.dtype) -> None:
    for shape in (*SHAPES, (2, 3, 24, 25)):
        logits, target = case.inputs(shape, dtype=dtype)
        x, exact = logits.clone().requires_grad_(), logits.double().requires_grad_()
        value, expected = case.loss(x, target), case.loss(exact, target)
        of_grad, of_value = TOLERANCE[dtype]
        assert value.dtype == torch.float32 and value.ndim == 0
        assert abs(value.item() - expected.item()) <= of_value * max(abs(expected.item()), 0.1)
        value.backward()
        expected.backward()
        assert x.grad is not None and exact.grad is not None and x.grad.dtype == dtype
        assert (x.grad.double() - exact.grad).abs().max() <= of_grad * exact.grad.abs().max() + 1e-12


@every
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
def test_finite_at_extremes(case: Case, dtype: torch.dtype) -> None:
    logits, target = case.inputs((2, 3, 6, 6), dtype=torch.float64)
    x = (logits.sign() * 1e4).to(dtype).requires_grad_()
    value = case.loss(x, target)
    value.backward()
    assert math.isfinite(value.item()) and x.grad is not None and torch.isfinite(x.grad).all()


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_everything_ignored_is_zero(case: Case, dtype: torch.dtype) -> None:
    logits, target = case.inputs((2, 3, 4, 4), dtype=dtype)
    x = logits.clone().requires_grad_()
    for value in (case.loss(x, torch.full_like(target, -100)), case.loss(x, target, torch.zeros(2, 4, 4))):
        value.backward()
        assert value.item() == 0 and x.grad is not None and not x.grad.any()


@every
def test_an_empty_batch_is_zero(case: Case) -> None:
    shape = (0, 3, 4, 4)
    x = torch.zeros(shape, requires_grad=True)
    target = torch.zeros((0, 4, 4) if case.softmax else shape, dtype=torch.long)
    value = case.loss(x, target)
    value.backward()
    assert value.item() == 0 and x.grad is not None and x.grad.shape == shape


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_ignored_voxels_do_not_count(case: Case, dtype: torch.dtype) -> None:
    """Whatever stands at ignored voxels, NaN logits and labels out of range too, the loss is that of the others."""
    if case.name in ("boundary", "hausdorff", "cl dice"):
        pytest.skip("distances and pools see the place of a voxel: leaving it out is not removing it")
    logits, target = case.inputs((2, 3, 40), dtype=dtype)
    kept = torch.arange(40) % 4 != 1
    expected = case.loss(logits[..., kept], target[..., kept])
    spoiled = logits.clone()
    spoiled[..., ~kept] = math.nan
    x = spoiled.requires_grad_()
    ignored = target.clone()
    ignored[..., ~kept] = -100
    far = target.clone()
    far[..., ~kept] = 200
    for value in (case.loss(x, ignored), case.loss(x, far, kept.expand(2, 40))):
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
        (grad,) = torch.autograd.grad(value, x)
        assert torch.isfinite(grad).all() and not grad[..., ~kept].any()


@every
def test_order_of_voxels_does_not_matter(case: Case) -> None:
    if case.name in ("boundary", "hausdorff", "cl dice"):
        pytest.skip("distances and pools see the place of a voxel")
    logits, target = case.inputs((2, 3, 50))
    order = torch.randperm(50, generator=torch.Generator().manual_seed(1))
    torch.testing.assert_close(case.loss(logits[..., order], target[..., order]), case.loss(logits, target))


@every
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float64], ids=str)
def test_memory_layout_does_not_matter(case: Case, dtype: torch.dtype) -> None:
    logits, target = case.inputs((2, 3, 6, 5), dtype=dtype)

    def gradient(x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        (grad,) = torch.autograd.grad(case.loss(x, target), x)
        return grad

    expected = gradient(logits)
    apart = torch.stack([logits, logits + 1], -1)[..., 0]
    for other in (logits.to(memory_format=torch.channels_last), apart):
        torch.testing.assert_close(gradient(other), expected)


@every
@pytest.mark.parametrize(
    "kind", [torch.uint8, torch.int16, torch.int32, torch.int64, torch.float32, torch.bool], ids=str
)
def test_every_dtype_of_target(case: Case, kind: torch.dtype) -> None:
    logits, target = case.inputs((2, 3, 4, 4), dtype=torch.float32)
    target = target.clamp(max=1)
    if case.softmax and kind == torch.float32:
        return
    torch.testing.assert_close(case.loss(logits, target.to(kind)), case.loss(logits, target))


@every
def test_double_backward(case: Case) -> None:
    logits, target = case.inputs((2, 3, 3, 3), dtype=torch.float32)

    def penalty(dtype: torch.dtype) -> Tensor:
        x = logits.to(dtype).requires_grad_()
        (grad,) = torch.autograd.grad(case.loss(x, target), x, create_graph=True)
        (second,) = torch.autograd.grad((grad**2).sum(), x)
        return second

    exact = penalty(torch.float64)
    torch.testing.assert_close(penalty(torch.float32).double(), exact, rtol=1e-3, atol=1e-5 * exact.abs().max().item())


@with_formula
def test_one_hot_equals_labels(case: Case) -> None:
    if not case.softmax:
        pytest.skip("labels are for softmax")
    logits, target = case.inputs((2, 3, 5, 5))
    one_hot = case.spread(logits, target)
    for kind in (torch.float64, torch.uint8, torch.bool):
        torch.testing.assert_close(case.loss(logits, one_hot.to(kind)), case.loss(logits, target))


@every
def test_valid_weight_counts(case: Case) -> None:
    _, target = case.inputs((2, 3, 4, 4))
    weight = case.loss.valid_weight(target)  # type: ignore[attr-defined]
    assert weight.ndim == 0 and weight.item() == target.numel()
    ignored = target.clone()
    ignored[0] = -100
    assert case.loss.valid_weight(ignored).item() == target.numel() / 2  # type: ignore[attr-defined]


def bad_shapes(case: Case) -> list[tuple[str, partial[Tensor]]]:
    logits, target = case.inputs((2, 3, 4, 4))
    return [
        ("target", partial(case.loss, logits, target[..., :3])),
        ("logits", partial(case.loss, logits.long(), target)),
        ("mask", partial(case.loss, logits, target, torch.ones(2, 3))),
        ("target", partial(case.loss, logits, target + 7)),
    ]


@every
def test_bad_input_names_the_argument(case: Case) -> None:
    for name, call in bad_shapes(case):
        with pytest.raises(ValueError, match=rf"^{name} must .*, got"):
            call()
