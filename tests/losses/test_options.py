"""Options against the peers that have them right, and the wrappers: sums, deep supervision, the fused head."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch
from torch.nn import functional as F

import hone.losses as L
from hone.losses.kernels import plain_torch

GENERATOR = torch.Generator().manual_seed(0)
LOGITS = torch.randn(3, 4, 6, 5, generator=GENERATOR, dtype=torch.float64)
TARGET = torch.randint(0, 4, (3, 6, 5), generator=GENERATOR)
VALUES = torch.rand(3, 4, 6, 5, generator=GENERATOR, dtype=torch.float64)
WEIGHT = [0.5, 2.0, 1.0, 3.0]


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_cross_entropy_is_torch_s(reduction: str, smoothing: float, weight: list[float] | None) -> None:
    loss = L.CrossEntropyLoss(weight=weight, reduction=reduction, label_smoothing=smoothing)  # type: ignore[arg-type]
    of_torch = {"reduction": reduction, "label_smoothing": smoothing}
    tensor = None if weight is None else torch.tensor(weight, dtype=torch.float64)
    ignored = TARGET.clone()
    ignored[0, 0] = -100
    for target in (TARGET, ignored, VALUES.softmax(1)):
        expected = F.cross_entropy(LOGITS, target, weight=tensor, **of_torch)  # type: ignore[arg-type]
        torch.testing.assert_close(loss(LOGITS, target), expected)


@pytest.mark.parametrize("reduction", ["mean", "sum", "none"])
def test_bce_is_torch_s(reduction: str) -> None:
    loss = L.BCEWithLogitsLoss(pos_weight=WEIGHT, reduction=reduction)  # type: ignore[arg-type]
    column = torch.tensor(WEIGHT, dtype=torch.float64)[:, None, None]
    expected = F.binary_cross_entropy_with_logits(LOGITS, VALUES, pos_weight=column, reduction=reduction)
    torch.testing.assert_close(loss(LOGITS, VALUES), expected)
    smooth = L.BCEWithLogitsLoss(label_smoothing=0.2, reduction=reduction)  # type: ignore[arg-type]
    expected = F.binary_cross_entropy_with_logits(LOGITS, VALUES.round() * 0.8 + 0.1, reduction=reduction)
    torch.testing.assert_close(smooth(LOGITS, VALUES.round()), expected)


def test_focal_is_torchvision_s() -> None:
    from torchvision.ops import sigmoid_focal_loss

    expected = sigmoid_focal_loss(LOGITS, VALUES.round(), alpha=0.3, gamma=1.5, reduction="mean")
    torch.testing.assert_close(L.SigmoidFocalLoss(gamma=1.5, alpha=0.3)(LOGITS, VALUES.round()), expected)


def test_region_losses_are_monai_s() -> None:
    monai = pytest.importorskip("monai.losses")
    many = {"softmax": True, "to_onehot_y": True, "smooth_nr": 1e-5, "smooth_dr": 1e-5}
    column = TARGET[:, None]
    for squared in (False, True):
        for background in (False, True):
            for batch in (False, True):
                peer = monai.DiceLoss(squared_pred=squared, include_background=background, batch=batch, **many)
                ours = L.SoftmaxDiceLoss(
                    smooth=1e-5, squared=squared, include_background=background, per_sample=not batch
                )
                torch.testing.assert_close(ours(LOGITS, TARGET), peer(LOGITS, column))
    peer = monai.TverskyLoss(alpha=0.3, beta=0.7, batch=True, **many)
    ours_tversky = L.SoftmaxTverskyLoss(alpha=0.3, beta=0.7, smooth=1e-5)
    torch.testing.assert_close(ours_tversky(LOGITS, TARGET), peer(LOGITS, column))
    generalized = monai.GeneralizedDiceLoss(softmax=True, to_onehot_y=True, batch=True, smooth_nr=0, smooth_dr=0)
    ours_generalized = L.SoftmaxGeneralizedDiceLoss(smooth=0.0)
    torch.testing.assert_close(ours_generalized(LOGITS, TARGET), generalized(LOGITS, column), rtol=1e-6, atol=1e-6)
    hausdorff = monai.HausdorffDTLoss(softmax=True, to_onehot_y=True, include_background=False, batch=True)
    assert torch.isfinite(hausdorff(LOGITS.float(), column)) and L.HausdorffLoss()(LOGITS, TARGET) > 0


def test_lovasz_is_smp_s() -> None:
    smp = pytest.importorskip("segmentation_models_pytorch.losses")
    logits = LOGITS.float()  # smp's takes float32 only
    peer = smp.LovaszLoss("multiclass", from_logits=True)
    torch.testing.assert_close(L.LovaszSoftmaxLoss()(logits, TARGET), peer(logits, TARGET))
    binary, truth = smp.LovaszLoss("binary", per_image=False), (TARGET > 1)[:, None]
    ours = L.LovaszHingeLoss()(logits[:, :1], truth)
    torch.testing.assert_close(ours, binary(logits[:, :1], truth.float()))


def test_reductions_and_weights_of_regions() -> None:
    each = L.SoftmaxDiceLoss(reduction="none")(LOGITS, TARGET)
    per_sample = L.SoftmaxDiceLoss(reduction="none", per_sample=True)(LOGITS, TARGET)
    assert each.shape == (4,) and per_sample.shape == (3, 4)
    torch.testing.assert_close(L.SoftmaxDiceLoss(per_sample=True)(LOGITS, TARGET), per_sample.mean())
    torch.testing.assert_close(L.SoftmaxDiceLoss(reduction="sum")(LOGITS, TARGET), each.sum())
    weight = torch.tensor(WEIGHT, dtype=torch.float64)
    expected = (each * weight).sum() / weight.sum()
    torch.testing.assert_close(L.SoftmaxDiceLoss(weight=WEIGHT)(LOGITS, TARGET), expected)
    foreground = L.SoftmaxDiceLoss(weight=WEIGHT, include_background=False)(LOGITS, TARGET)
    torch.testing.assert_close(foreground, (each * weight)[1:].sum() / weight[1:].sum())


def test_a_sum_of_losses_is_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    from hone.losses import sums_loss

    passes = []
    compute = sums_loss.compute_sums
    monkeypatch.setattr(sums_loss, "compute_sums", lambda *a, **k: passes.append(1) or compute(*a, **k))
    dice, ce, hausdorff = L.SoftmaxDiceLoss(), L.CrossEntropyLoss(label_smoothing=0.1), L.HausdorffLoss()
    total = (0.5 * dice + ce + hausdorff * 2 + (lambda x, t: x.mean()))(LOGITS, TARGET)
    assert len(passes) == 1
    parts = 0.5 * dice(LOGITS, TARGET) + ce(LOGITS, TARGET) + 2 * hausdorff(LOGITS, TARGET) + LOGITS.mean()
    torch.testing.assert_close(total, parts)
    torch.testing.assert_close(sum([dice, ce])(LOGITS, TARGET), dice(LOGITS, TARGET) + ce(LOGITS, TARGET))


def test_losses_that_cannot_share_do_not() -> None:
    first, second = L.FocalLoss(gamma=2.0), L.FocalLoss(gamma=0.5)
    torch.testing.assert_close((first + second)(LOGITS, TARGET), first(LOGITS, TARGET) + second(LOGITS, TARGET))
    wide = L.CrossEntropyLoss(ignore_index=1)
    torch.testing.assert_close((first + wide)(LOGITS, TARGET), first(LOGITS, TARGET) + wide(LOGITS, TARGET))


def test_deep_supervision() -> None:
    coarse = LOGITS[:, :, ::2, ::2]
    loss = L.DeepSupervisionLoss(L.CrossEntropyLoss(), weights=[1.0, 0.5])
    expected = (F.cross_entropy(LOGITS, TARGET) + 0.5 * F.cross_entropy(coarse, TARGET[:, ::2, ::2][:, :, :3])) / 1.5
    small = F.interpolate(TARGET[:, None].double(), coarse.shape[2:], mode="nearest-exact").long()[:, 0]
    expected = (F.cross_entropy(LOGITS, TARGET) + 0.5 * F.cross_entropy(coarse, small)) / 1.5
    torch.testing.assert_close(loss([LOGITS, coarse], TARGET), expected)
    assert loss.valid_weight(TARGET).item() == TARGET.numel()
    with pytest.raises(ValueError, match="weights must have one weight for each of the 1 outputs"):
        loss([LOGITS], TARGET)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16], ids=str)
@pytest.mark.parametrize("bias", [True, False])
def test_the_fused_head_equals_a_convolution(dtype: torch.dtype, bias: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from hone.losses import head

    monkeypatch.setattr(head, "BLOCK_LOGITS", 5 * 256)  # several blocks
    features = torch.randn(2, 7, 20, 21, generator=GENERATOR).to(dtype)
    weight, shift = torch.randn(5, 7, 1, 1, generator=GENERATOR).to(dtype), torch.randn(5, generator=GENERATOR)
    target = torch.randint(0, 5, (2, 20, 21), generator=GENERATOR)
    target[0, :3] = 255

    def gradients(fused: bool, kind: torch.dtype) -> list[torch.Tensor]:
        f, w = (x.to(kind).requires_grad_() for x in (features, weight))
        b = shift.to(dtype).to(kind).requires_grad_() if bias else None
        loss = L.SoftmaxDiceCELoss(ignore_index=255)
        if fused:
            value = L.conv1x1_dice_ce(f, w, b, target, ignore_index=255)
        else:
            value = loss(F.conv2d(f, w, b), target)
        wanted = [f, w] if b is None else [f, w, b]
        return [value.detach().double(), *(g.double() for g in torch.autograd.grad(value, wanted))]

    expected = gradients(False, torch.float64)
    tolerance = 2e-2 if dtype == torch.bfloat16 else 1e-5  # bfloat16 rounds the logits too, as a convolution would
    for got, right in zip(gradients(True, dtype), expected, strict=True):
        assert (got - right).abs().max() <= tolerance * right.abs().max()


def test_the_fused_head_in_plain_torch_and_its_errors() -> None:
    features, weight = torch.randn(1, 3, 8), torch.randn(4, 3)
    target = torch.randint(0, 4, (1, 8))
    with plain_torch():
        plain = L.conv1x1_dice_ce(features, weight, None, target)
    torch.testing.assert_close(L.conv1x1_dice_ce(features, weight, None, target), plain)
    with pytest.raises(ValueError, match=r"weight must have shape \(C, 3\)"):
        L.conv1x1_dice_ce(features, torch.randn(4, 2), None, target)
    with pytest.raises(ValueError, match="loss must be a softmax loss that is a function of sums"):
        L.conv1x1_loss(L.DiceLoss(), features, weight, None, target)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: L.DiceLoss(smooth=-1.0), "smooth must be a finite number at least 0, got -1.0"),
        (lambda: L.CrossEntropyLoss(weight=[1.0, -1.0]), "weight must be finite and not negative"),
        (lambda: L.CrossEntropyLoss(weight=[1.0])(LOGITS, TARGET), "weight must have one number for each of the 4"),
        (lambda: L.SoftmaxDiceLoss(weight=[1.0])(LOGITS, TARGET), "weight must have one number for each of the 4"),
        (lambda: L.DiceLoss(reduction="avg"), "reduction 'avg' is not known"),  # type: ignore[arg-type]
        (lambda: L.SoftmaxDiceLoss(absent="keep"), "absent 'keep' is not known"),  # type: ignore[arg-type]
        (lambda: L.FocalLoss(gamma=-0.5), "gamma must be a finite number at least 0"),
        (lambda: L.TopKCrossEntropyLoss(fraction=0.0), "fraction must be a finite number above 0"),
        (lambda: L.WassersteinDiceLoss([[0, 1], [2, 0]]), "distances must be a symmetric matrix"),
    ],
)
def test_bad_options(make: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        make()  # type: ignore[operator]


def test_mixup_of_soft_targets() -> None:
    other = TARGET.flip(0)
    mixed = 0.3 * F.one_hot(TARGET, 4).movedim(-1, 1) + 0.7 * F.one_hot(other, 4).movedim(-1, 1)
    loss = L.CrossEntropyLoss()
    torch.testing.assert_close(loss(LOGITS, mixed), 0.3 * loss(LOGITS, TARGET) + 0.7 * loss(LOGITS, other))
    assert loss.valid_weight(mixed).item() == TARGET.numel()
    assert L.CrossEntropyLoss(weight=WEIGHT).valid_weight(TARGET).item() == sum(WEIGHT[i] for i in TARGET.flatten())


def test_every_function_form_is_its_class() -> None:
    functions = [name for name in L.__all__ if name.endswith("_loss") and name != "conv1x1_loss"]
    assert len(functions) >= 30
    for name in functions:
        flat = name.replace("_", "").replace("softmaxcrossentropy", "crossentropy")
        (cls,) = [getattr(L, other) for other in L.__all__ if other.lower() == flat]
        if name == "wasserstein_dice_loss":
            continue
        softmax = getattr(cls, "softmax", name not in ("asymmetric_loss", "lovasz_hinge_loss"))
        target = LOGITS.flip(0) if name == "distillation_kl_loss" else TARGET if softmax else VALUES.round()
        torch.testing.assert_close(getattr(L, name)(LOGITS, target), cls()(LOGITS, target))


@pytest.mark.parametrize("weight", [None, WEIGHT])
def test_valid_weight_counts_beyond_float32(weight: list[float] | None) -> None:
    """2^24 + 1 voxels, without room for them."""
    target = torch.zeros(1, dtype=torch.long).expand(2**24 + 1)
    loss = L.CrossEntropyLoss(weight=weight)
    assert loss.valid_weight(target).item() == (2**24 + 1) * (1.0 if weight is None else weight[0])


def test_importing_losses_is_light() -> None:
    code = "import sys, hone.losses; assert not {'torch._dynamo', 'triton', 'scipy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-W", "ignore", "-c", code], check=True)
