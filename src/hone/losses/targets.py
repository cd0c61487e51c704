"""Reading targets: index, bool, one-hot or soft; which voxels count; labels outside the range."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from hone.checks import invalid


class Target(NamedTuple):
    """A checked target beside logits ``(N, C, V)``: labels ``(N, V)``, or values ``(N, C, V)`` in [0, 1].

    ``valid`` is None where every voxel counts, else bool: ``(N, 1, V)``, or ``(N, C, V)`` for sigmoid targets.
    """

    values: Tensor
    is_index: bool
    valid: Tensor | None


def working_dtype(logits: Tensor) -> torch.dtype:
    """The dtype losses are computed and returned in: float64 for float64, float32 for everything else."""
    return torch.float64 if logits.dtype == torch.float64 else torch.float32


def sum_dtype(beside: Tensor) -> torch.dtype:
    """The dtype of sums over voxels: float64, so that ``1 - ratio`` does not cancel, where the device has it."""
    return torch.float32 if beside.device.type == "mps" else torch.float64


def check_logits(logits: Tensor, *, softmax: bool) -> None:
    """Raise unless ``logits`` are floating point ``(N, C, *spatial)``, with at least two classes for a softmax."""
    if not torch.is_floating_point(logits):
        raise invalid("logits", "be floating point", str(logits.dtype).removeprefix("torch."))
    if softmax and (logits.ndim < 2 or logits.shape[1] < 2):
        raise invalid(
            "logits",
            "have shape (N, C, *spatial) with C at least 2 for a softmax loss",
            tuple(logits.shape),
            "for one channel use the sigmoid form, such as DiceLoss or BCEWithLogitsLoss",
        )


def flatten_logits(logits: Tensor) -> Tensor:
    """``(N, C, *spatial)`` as ``(N, C, V)``; ``(N,)`` as ``(N, 1, 1)``."""
    if logits.ndim == 1:
        return logits.reshape(-1, 1, 1)
    return logits.reshape(*logits.shape[:2], logits.shape[2:].numel())


def check_labels(target: Tensor, num_classes: int, *, ignore_index: int = -100, mask: Tensor | None = None) -> None:
    """Raise unless every label is ``ignore_index`` or in ``0 .. num_classes - 1``.

    On the CPU the losses call this themselves. On a GPU reading the answer would make the host wait, so there it is
    yours to call: once over the data set, or while debugging.

    Args:
        target: labels of any shape, integer or bool.
        num_classes: how many classes there are.
        ignore_index: the label that is left out.
        mask: where labels count, of the target's shape; others may hold anything.

    Raises:
        ValueError: naming a label that is outside and the range that is allowed.

    Example:
        >>> check_labels(torch.tensor([0, 1, 255]), num_classes=2, ignore_index=255)
        >>> check_labels(torch.tensor([0, 1, 7]), num_classes=2)
        Traceback (most recent call last):
        ValueError: target must hold labels in 0 .. 1 or ignore_index (-100), got 7
    """
    if target.dtype == torch.bool or target.numel() == 0:
        return
    low, high = (int(bound) for bound in torch.aminmax(target))
    if low >= 0 and high < num_classes:
        return
    wide = target.long()
    outside = ((wide < 0) | (wide >= num_classes)) & (wide != ignore_index)
    if mask is not None:
        outside &= mask
    if outside.any():
        raise invalid(
            "target",
            f"hold labels in 0 .. {num_classes - 1} or ignore_index ({ignore_index})",
            int(wide[outside][0]),
        )


def fit_softmax_target(logits: Tensor, target: Tensor) -> Tensor:
    """``target`` as labels ``(N, *spatial)`` or values of the logits' shape; raise unless it is one of them."""
    check_logits(logits, softmax=True)
    n, _, *spatial = logits.shape
    if target.shape == logits.shape:
        return target
    if tuple(target.shape) not in ((n, *spatial), (n, 1, *spatial)):
        raise invalid(
            "target",
            f"have shape {(n, *spatial)} (labels) or {tuple(logits.shape)} (one-hot or soft)",
            tuple(target.shape),
        )
    if torch.is_floating_point(target) or torch.is_complex(target):
        raise invalid(
            "target",
            "be integer or bool where it holds labels",
            str(target.dtype).removeprefix("torch."),
            "give soft targets the logits' shape",
        )
    return target.reshape(n, *spatial)


def fit_sigmoid_target(logits: Tensor, target: Tensor) -> Tensor:
    """``target`` in the shape of the logits with a channel axis; raise unless it is given so, or lacks one channel."""
    check_logits(logits, softmax=False)
    lacking = (logits.shape[0], *logits.shape[2:])
    single = logits.ndim >= 2 and logits.shape[1] == 1
    if target.shape != logits.shape and not (single and tuple(target.shape) == lacking):
        allowed = f"have the logits' shape {tuple(logits.shape)}" + (f" or {lacking}" if single else "")
        raise invalid("target", allowed, tuple(target.shape))
    return target.reshape(logits.shape[0], 1) if logits.ndim == 1 else target.reshape(logits.shape)


def fit_mask(logits: Tensor, mask: Tensor | None) -> Tensor | None:
    """``mask`` as ``(N, *spatial)``; raise unless it is given so, or with one channel."""
    if mask is None:
        return None
    n, spatial = logits.shape[0], tuple(logits.shape[2:])
    if tuple(mask.shape) not in ((n, *spatial), (n, 1, *spatial)):
        raise invalid("mask", f"have shape {(n, *spatial)} or {(n, 1, *spatial)}", tuple(mask.shape))
    return mask.reshape(n, *spatial) != 0


def read_softmax_target(logits: Tensor, target: Tensor, mask: Tensor | None, ignore_index: int) -> Target:
    """Check ``target`` and ``mask`` against logits ``(N, C, *spatial)``, and flatten them."""
    target = fit_softmax_target(logits, target)
    valid = _flat_mask(fit_mask(logits, mask))
    n, c, voxels = flatten_logits(logits).shape
    if target.shape == logits.shape:
        values = target.reshape(n, c, voxels)
        _check_range(values, valid)
        return Target(_blank(values, valid), False, valid)
    index = target.reshape(n, voxels)
    if target.device.type == "cpu":
        check_labels(index, c, ignore_index=ignore_index, mask=None if valid is None else valid[:, 0])
    kept = _not_ignored(index, ignore_index)
    if kept is not None:
        valid = kept.unsqueeze(1) if valid is None else valid & kept.unsqueeze(1)
    index = index.long()
    return Target(index if valid is None else index.where(valid[:, 0], 0), True, valid)


def read_sigmoid_target(logits: Tensor, target: Tensor, mask: Tensor | None, ignore_index: int) -> Target:
    """Check ``target`` and ``mask`` against logits of the same shape, and flatten them."""
    values = fit_sigmoid_target(logits, target).reshape(flatten_logits(logits).shape)
    valid = _flat_mask(fit_mask(logits, mask))
    kept = _not_ignored(values, ignore_index)
    if kept is not None:
        valid = kept if valid is None else valid & kept
    _check_range(values, valid)
    return Target(_blank(values, valid), False, valid)


def count_valid(target: Tensor, ignore_index: int) -> Tensor:
    """How many entries of a target of labels (or of sigmoid values) count, as a 0-d tensor of `sum_dtype`."""
    kept = _not_ignored(target, ignore_index)
    return count_of(target, target.numel()) if kept is None else kept.sum(dtype=sum_dtype(target))


def count_of(target: Tensor, count: float) -> Tensor:
    """A number beside ``target``, in the dtype of sums: float32 counts only up to 2^24 one by one."""
    return torch.tensor(count, dtype=sum_dtype(target), device=target.device)


def check_weight(name: str, weight: Sequence[float] | Tensor | None) -> Tensor | None:
    """Class weights as a float64 vector on the CPU.

    Raises:
        ValueError: a weight is negative or not finite, or they are not a vector.
    """
    if weight is None:
        return None
    vector = torch.as_tensor(weight, dtype=torch.float64).detach().cpu()
    if vector.ndim != 1 or vector.numel() == 0:
        raise invalid(name, "be one number for each class", tuple(vector.shape))
    if not (torch.isfinite(vector).all() and (vector >= 0).all()):
        raise invalid(name, "be finite and not negative", vector.tolist())
    return vector


def match_weight(name: str, weight: Tensor | None, logits: Tensor, dtype: torch.dtype) -> Tensor | None:
    """``weight`` on the logits' device.

    Raises:
        ValueError: there are not as many weights as classes.
    """
    if weight is None:
        return None
    num_classes = logits.shape[1] if logits.ndim > 1 else 1
    if weight.numel() != num_classes:
        raise invalid(name, f"have one number for each of the {num_classes} classes", weight.tolist())
    return weight.to(device=logits.device, dtype=dtype)


def _flat_mask(mask: Tensor | None) -> Tensor | None:
    return None if mask is None else mask.reshape(mask.shape[0], 1, mask.shape[1:].numel())


def _not_ignored(values: Tensor, ignore_index: int) -> Tensor | None:
    """Where ``values`` differ from ``ignore_index``; None where its dtype can't hold it or no entry does."""
    if values.dtype == torch.bool or (values.dtype == torch.uint8 and not 0 <= ignore_index <= 255):
        return None
    kept = values != ignore_index
    # Only on the CPU is asking free; elsewhere the mask is carried along rather than waited for.
    return None if values.device.type == "cpu" and bool(kept.all()) else kept


def _check_range(values: Tensor, valid: Tensor | None) -> None:
    if values.device.type != "cpu" or values.dtype == torch.bool or values.numel() == 0:
        return
    outside = ~((values >= 0) & (values <= 1))
    if valid is not None:
        outside &= valid
    if outside.any():
        raise invalid("target", "hold values in 0 .. 1", values[outside][0].item())


def _blank(values: Tensor, valid: Tensor | None) -> Tensor:
    """Zero where nothing counts, so that what stands there (255, NaN) can't enter a product."""
    return values if valid is None else values.masked_fill(~valid, 0)
