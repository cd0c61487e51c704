"""The fourteen ways in which peers fail, none of which may happen here."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
import torch
from torch import Tensor

import hone.losses as L
from hone.losses.kernels import plain_torch

SOFTMAX = [
    L.SoftmaxDiceLoss(),
    L.SoftmaxTverskyLoss(),
    L.SoftmaxGeneralizedDiceLoss(),
    L.SoftmaxMCCLoss(),
    L.CrossEntropyLoss(),
    L.FocalLoss(),
    L.TopKCrossEntropyLoss(),
    L.LovaszSoftmaxLoss(),
    L.SoftmaxDiceCELoss(),
    L.SoftmaxDiceFocalLoss(),
]
SIGMOID = [L.DiceLoss(), L.TverskyLoss(), L.MCCLoss(), L.BCEWithLogitsLoss(), L.SigmoidFocalLoss(), L.DiceBCELoss()]

softmax = pytest.mark.parametrize("loss", SOFTMAX, ids=lambda loss: type(loss).__name__)
sigmoid = pytest.mark.parametrize("loss", SIGMOID, ids=lambda loss: type(loss).__name__)
either = pytest.mark.parametrize("loss", SOFTMAX + SIGMOID, ids=lambda loss: type(loss).__name__)


def inputs(loss: L.Loss, shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(shape, generator=generator).to(dtype)
    if loss in SOFTMAX:
        return logits, torch.randint(0, shape[1], (shape[0], *shape[2:]), generator=generator)
    return logits, torch.randint(0, 2, shape, generator=generator)


def value_and_grad(loss: L.Loss, logits: Tensor, target: Tensor) -> tuple[float, Tensor]:
    x = logits.detach().requires_grad_()
    value = loss(x, target)
    (grad,) = torch.autograd.grad(value, x)
    return value.item(), grad


def test_1_fp16_cross_entropy_over_many_voxels() -> None:
    logits, target = torch.zeros(1, 2, 256, 257, dtype=torch.float16), torch.zeros(1, 256, 257, dtype=torch.long)
    value, grad = value_and_grad(L.CrossEntropyLoss(), logits, target)
    assert value == pytest.approx(math.log(2), rel=1e-6)
    assert grad.abs().max() > 0


@either
def test_2_fp16_sums_do_not_overflow(loss: L.Loss) -> None:
    logits, target = inputs(loss, (1, 2, 300, 300), torch.float16)
    if loss in SOFTMAX:
        target = (target * (torch.arange(300) < 6)).contiguous()  # mostly background
    value, grad = value_and_grad(loss, logits, target)
    exact, _ = value_and_grad(loss, logits.double(), target)
    assert value == pytest.approx(exact, rel=1e-5)
    assert torch.isfinite(grad).all()


@pytest.mark.parametrize("path", [contextlib.nullcontext, plain_torch])
@pytest.mark.parametrize("loss", [L.DiceLoss(smooth=0.0), L.SoftmaxDiceLoss(smooth=0.0, include_background=False)])
def test_3_few_foreground_voxels_do_not_cancel(loss: L.Loss, path: Callable[[], AbstractContextManager[None]]) -> None:
    target = torch.zeros(1, 200, 200, dtype=torch.long)
    target[0, 100, 100:104] = 1
    x = torch.where(target > 0, 12.0, -25.0).unsqueeze(1)
    logits = x if isinstance(loss, L.DiceLoss) else torch.cat([torch.zeros_like(x), x], 1)
    with path():
        value, grad = value_and_grad(loss, logits, target)
    exact, exact_grad = value_and_grad(loss, logits.double(), target)
    assert 0 < exact < 1e-5
    assert value == pytest.approx(exact, rel=0.01)
    assert (grad.double() - exact_grad).abs().max() <= 1e-5 * exact_grad.abs().max()


@either
def test_4_bf16_loss_is_not_quantised(loss: L.Loss) -> None:
    logits, target = inputs(loss, (2, 3, 20, 20), torch.bfloat16)
    value, _ = value_and_grad(loss, logits, target)
    exact, _ = value_and_grad(loss, logits.double(), target)
    assert value == pytest.approx(exact, rel=2e-6, abs=1e-6)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0])
def test_5_focal_with_a_small_exponent(gamma: float, dtype: torch.dtype) -> None:
    for size in (30.0, 200.0):
        logits = torch.tensor([[-size, size], [size, -size]], dtype=dtype)
        for loss, target in ((L.FocalLoss(gamma), torch.tensor([1, 1])), (L.SigmoidFocalLoss(gamma), torch.eye(2))):
            value, grad = value_and_grad(loss, logits, target)
            assert math.isfinite(value) and torch.isfinite(grad).all()


@softmax
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_6_a_masked_class(loss: L.Loss, dtype: torch.dtype) -> None:
    logits, target = inputs(loss, (2, 4, 6, 6), dtype)
    logits[:, 3], target = -math.inf, target.clamp(max=2)
    value, grad = value_and_grad(loss, logits, target)
    assert math.isfinite(value) and torch.isfinite(grad).all() and not grad[:, 3].any()


def test_6_a_masked_class_takes_no_smoothing() -> None:
    logits, target = torch.randn(2, 4, 6, 6), torch.randint(0, 3, (2, 6, 6))
    logits[:, 3] = -math.inf
    for x in (logits, logits.double()):
        for reduction in ("mean", "none"):
            loss = L.CrossEntropyLoss(label_smoothing=0.1, reduction=reduction)  # type: ignore[arg-type]
            value, grad = value_and_grad(_scalar(loss), x, target)
            assert math.isfinite(value) and torch.isfinite(grad).all()


def _scalar(loss: L.Loss) -> L.Loss:
    class Sum(L.Loss):
        def forward(self, logits: Tensor, target: Tensor, mask: Tensor | None = None) -> Tensor:
            return loss(logits, target, mask).sum()

    return Sum()


@either
def test_7_an_unused_ignore_index_changes_nothing(loss: L.Loss) -> None:
    logits, target = inputs(loss, (2, 3, 6, 6))
    expected, _ = value_and_grad(loss, logits, target)
    options = {"ignore_index": 255}
    assert value_and_grad(type(loss)(**options), logits, target)[0] == expected


@either
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
def test_8_nan_at_ignored_voxels(loss: L.Loss, dtype: torch.dtype) -> None:
    logits, target = inputs(loss, (2, 3, 6, 6), dtype)
    target[..., :2], logits[..., :2] = -100, math.nan
    value, grad = value_and_grad(loss, logits, target)
    assert math.isfinite(value) and torch.isfinite(grad).all() and not grad[..., :2].any()


@either
def test_9_everything_ignored(loss: L.Loss) -> None:
    logits, target = inputs(loss, (2, 3, 6, 6))
    value, grad = value_and_grad(loss, logits, torch.full_like(target, -100))
    assert value == 0 and not grad.any()


@either
@pytest.mark.parametrize("label", [255, -1, 3])
def test_10_labels_out_of_range(loss: L.Loss, label: int) -> None:
    for dtype in (torch.float32, torch.float64):
        logits, target = inputs(loss, (2, 3, 6, 6), dtype)
        target[0, ..., 0] = label
        with pytest.raises(ValueError, match=rf"target must hold .* 0 \.\. \d.*, got {label}"):
            loss(logits, target)


@pytest.mark.parametrize(("absent", "expected"), [("formula", 10 / 11), ("skip", 0.0), ("zero", 0.0), ("one", 1.0)])
def test_11_the_policy_for_absent_classes(absent: str, expected: float) -> None:
    """Class 1 is nowhere in the target; ten voxels are taken for it."""
    logits = torch.zeros(1, 3, 20)
    logits[:, 1, :10], logits[:, 0, 10:] = 60, 60
    target = torch.zeros(1, 20, dtype=torch.long)
    losses = L.SoftmaxDiceLoss(absent=absent, reduction="none")(logits, target)  # type: ignore[arg-type]
    assert losses[1].item() == pytest.approx(expected, abs=1e-6)
    mean = L.SoftmaxDiceLoss(absent=absent)(logits, target).item()  # type: ignore[arg-type]
    assert mean == pytest.approx(losses[0].item() if absent == "skip" else losses.mean().item(), abs=1e-6)


def test_11_false_positives_of_an_absent_class_cost() -> None:
    _, grad = value_and_grad(L.SoftmaxDiceLoss(), torch.zeros(1, 3, 20), torch.zeros(1, 20, dtype=torch.long))
    assert (grad[:, 1] > 1e-4).all()


@either
def test_12_uint8_targets(loss: L.Loss) -> None:
    logits, target = inputs(loss, (2, 3, 6, 6))
    assert value_and_grad(loss, logits, target.to(torch.uint8))[0] == value_and_grad(loss, logits, target)[0]


@softmax
def test_13_one_channel_is_not_a_softmax(loss: L.Loss) -> None:
    with pytest.raises(ValueError, match=r"C at least 2 .* use the sigmoid form"):
        loss(torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long))


def test_13_the_binary_compound_has_its_cross_entropy() -> None:
    logits, target = torch.randn(1, 1, 8), torch.randint(0, 2, (1, 1, 8))
    both = L.DiceBCELoss()(logits, target)
    torch.testing.assert_close(both - L.DiceLoss()(logits, target), L.BCEWithLogitsLoss()(logits, target))
