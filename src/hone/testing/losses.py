"""The laws of a loss, to run on one of your own."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def check_loss(
    loss: Callable[..., Tensor],
    *,
    num_classes: int = 3,
    spatial: tuple[int, ...] = (4, 4),
    target: str = "labels",
    ignore_index: int | None = None,
    place_matters: bool = False,
) -> None:
    r"""Hold a loss ``(logits, target) -> scalar`` to the laws that training relies on.

    It must return a finite 0-d tensor, also for logits of :math:`\pm 10^4` and in half precision; leave its inputs as
    they are; have the gradient that finite differences give, scaled by what comes from above; give the same twice; not
    depend on the memory layout nor, unless ``place_matters``, on the order of voxels; and, with ``ignore_index``, be 0
    where everything is ignored and not see logits (NaN ones too) where a label is ignored.

    Args:
        loss: the loss.
        num_classes: C of the logits ``(2, C, *spatial)`` it is tried on.
        spatial: their axes of space; ``()`` for classification.
        target: "labels" ``(2, *spatial)``, or "values", 0 or 1 in the logits' shape.
        ignore_index: the label the loss leaves out, if it does.
        place_matters: whether the loss looks at where a voxel is (distances, pooling).

    Raises:
        AssertionError: a law is broken; the message says which and how.
        ValueError: ``target`` is neither kind.

    Example:
        >>> from hone.losses import SoftmaxDiceLoss
        >>> check_loss(SoftmaxDiceLoss(ignore_index=255), ignore_index=255)
        >>> check_loss(lambda logits, target: logits.sum() * 0 + 1 / logits.new_zeros(()))
        Traceback (most recent call last):
        AssertionError: the loss must be finite, got inf
    """
    from hone.checks import one_of

    one_of("target", target, ["labels", "values"])
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(2, num_classes, *spatial, generator=generator, dtype=torch.float64)
    if target == "labels":
        truth = torch.randint(0, num_classes, (2, *spatial), generator=generator)
    else:
        truth = torch.randint(0, 2, logits.shape, generator=generator).double()
    _is_a_scalar(loss, logits, truth)
    _has_its_gradient(loss, logits, truth)
    _survives_extremes(loss, logits, truth)
    _sees_values_only(loss, logits, truth, place_matters)
    if ignore_index is not None:
        _ignores(loss, logits, truth, ignore_index)


def _law(holds: bool, rule: str, got: object) -> None:
    if not holds:
        raise AssertionError(f"the loss must {rule}, got {got}")


def _value_and_grad(loss: Callable[..., Tensor], logits: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
    x = logits.detach().clone().requires_grad_()
    value = loss(x, target)
    _law(value.requires_grad, "be differentiable", "a tensor without a gradient")
    (grad,) = torch.autograd.grad(value, x)
    return value.detach(), grad


def _is_a_scalar(loss: Callable[..., Tensor], logits: Tensor, target: Tensor) -> None:
    x, t = logits.clone(), target.clone()
    value = loss(x, t)
    _law(isinstance(value, Tensor) and value.ndim == 0, "return a 0-d tensor", getattr(value, "shape", value))
    _law(bool(torch.isfinite(value)), "be finite", value.item())
    _law(torch.equal(x, logits) and torch.equal(t, target), "leave its inputs as they are", "changed ones")
    again = loss(x, t)
    _law(torch.equal(value, again), "give the same twice", (value.item(), again.item()))


def _has_its_gradient(loss: Callable[..., Tensor], logits: Tensor, target: Tensor) -> None:
    value, grad = _value_and_grad(loss, logits, target)
    _law(grad.shape == logits.shape, "have a gradient of the logits' shape", tuple(grad.shape))
    direction = torch.randn(logits.shape, generator=torch.Generator().manual_seed(1), dtype=logits.dtype)
    step = 1e-6
    ahead, behind = loss(logits + step * direction, target), loss(logits - step * direction, target)
    slope, expected = (grad * direction).sum().item(), ((ahead - behind) / (2 * step)).item()
    close = abs(slope - expected) <= 1e-4 * max(abs(expected), abs(value.item()), 1e-3)
    _law(close, f"have the slope {expected:.6g} that finite differences give", f"{slope:.6g}")
    _, scaled = _value_and_grad(lambda x, t: 3 * loss(x, t), logits, target)
    _law(torch.allclose(scaled, 3 * grad), "scale its gradient by what comes from above", "another gradient")


def _survives_extremes(loss: Callable[..., Tensor], logits: Tensor, target: Tensor) -> None:
    for dtype in (torch.float32, torch.bfloat16, torch.float16):
        for x in (logits, logits.sign() * 1e4):
            value, grad = _value_and_grad(loss, x.to(dtype), target if target.dtype == torch.long else target.float())
            name = str(dtype).removeprefix("torch.")
            _law(bool(torch.isfinite(value)), f"be finite in {name} at logits of {x.abs().max():.3g}", value.item())
            _law(bool(torch.isfinite(grad).all()), f"have a finite gradient in {name}", "one that is not")


def _sees_values_only(loss: Callable[..., Tensor], logits: Tensor, target: Tensor, place_matters: bool) -> None:
    expected = loss(logits, target)
    apart = torch.stack([logits, logits + 1], -1)[..., 0]
    _law(torch.allclose(loss(apart, target), expected), "not depend on the memory layout", "another value")
    if logits.ndim > 2 and not place_matters:
        mirrored = loss(logits.flip(-1).contiguous(), target.flip(-1).contiguous())
        _law(
            torch.allclose(mirrored, expected), "not depend on the order of voxels", (expected.item(), mirrored.item())
        )


def _ignores(loss: Callable[..., Tensor], logits: Tensor, target: Tensor, ignore_index: int) -> None:
    value, grad = _value_and_grad(loss, logits, torch.full_like(target, ignore_index))
    _law(value.item() == 0 and not grad.any(), "be 0, gradient too, where everything is ignored", value.item())
    some = target.clone()
    some[0] = ignore_index
    spoiled = logits.clone()
    spoiled[0] = torch.nan
    expected, _ = _value_and_grad(loss, logits, some)
    value, grad = _value_and_grad(loss, spoiled, some)
    _law(torch.allclose(value, expected), "not see logits where the label is ignored", value.item())
    _law(bool(torch.isfinite(grad).all()) and not grad[0].any(), "have no gradient where the label is ignored", "some")
