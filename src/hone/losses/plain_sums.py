"""The sums in plain torch: what the kernels must return, and what serves where there is no kernel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from hone.losses.targets import Target, flatten_logits, sum_dtype, working_dtype

#: What is asked for beyond the target's size and the valid voxels; the kernels' flags.
SQUARES, CROSS_ENTROPY, COMPLEMENT, REGIONS = 1, 2, 4, 8


class Sums(NamedTuple):
    """Sums over the valid voxels, each ``(N, C)``, float64 (float32 where the device has no float64)."""

    intersection: Tensor
    """sum p t; zero unless asked for"""
    prediction: Tensor
    """sum p; zero unless asked for"""
    target: Tensor
    """sum t"""
    valid: Tensor
    """how many voxels count"""
    prediction_squares: Tensor
    """sum p^2; zero unless asked for"""
    target_squares: Tensor
    """sum t^2; zero unless asked for"""
    cross_entropy: Tensor
    """-sum t (1 - p)^gamma log p; zero unless asked for"""
    complement: Tensor
    """softmax: -sum log p, what label smoothing adds; sigmoid: -sum (1 - t) p^gamma log(1 - p)"""


def plain_softmax_sums(logits: Tensor, known: Target, flags: int, gamma: float) -> Sums:
    """The sums of a softmax, by operations that torch differentiates any number of times."""
    log_probs, probs = softmax_from_peak(visible(logits, known))
    total = Totals(logits, probs, known)
    if known.is_index:
        intersection = total.by_label(probs) if flags & REGIONS else total.none
        target = target_squares = total.by_label(torch.ones_like(probs[:, :1]).expand_as(probs))
    else:
        values = known.values.to(probs.dtype)
        intersection = total(probs * values) if flags & REGIONS else total.none
        target, target_squares = total(values), total(values * values)
    losses = total.none
    if flags & CROSS_ENTROPY:
        # The focal factor is applied to what the target picks only: at a class masked by -inf its gradient is NaN.
        if known.is_index:
            losses = total.by_label(-log_probs, gamma)
        else:
            losses = total(values * damp((-log_probs).where(values > 0, 0), gamma))
    return Sums(
        intersection,
        total(probs) if flags & REGIONS else total.none,
        target,
        total.valid(),
        total(probs * probs) if flags & SQUARES else total.none,
        target_squares if flags & SQUARES else total.none,
        losses,
        total((-log_probs).where(log_probs > -torch.inf, 0)) if flags & COMPLEMENT else total.none,
    )


def softmax_from_peak(x: Tensor) -> tuple[Tensor, Tensor]:
    r"""The logarithm of the softmax over axis 1 and the softmax, with gradients that keep their digits.

    With m the class of the largest logit and :math:`r = \sum_{k \neq m} e^{x_k - x_m}`, p_m is 1 / (1 + r). Gradients
    then flow through r, which is small where the softmax is saturated; that of torch is there a difference of nearly
    equal numbers.
    """
    highest, peak = x.max(1, keepdim=True)
    shifted = (x - highest).scatter(1, peak, 0)  # 0 is what stands there; now it has no gradient of its own
    others = shifted.exp().scatter(1, peak, 0)
    rest = others.sum(1, keepdim=True)
    inverse = 1 / (1 + rest)
    return shifted - rest.log1p(), (others * inverse).scatter(1, peak, inverse)


def sigmoid_from_tail(x: Tensor) -> Tensor:
    """The sigmoid, computed from the smaller of p and 1 - p, so that the gradient p (1 - p) keeps its digits near 1."""
    negative = x < 0
    tail = x.where(negative, -x).exp()
    near = 1 / (1 + tail)
    return (tail * near).where(negative, near)


def plain_sigmoid_sums(logits: Tensor, known: Target, flags: int, gamma: float) -> Sums:
    """The sums of a sigmoid, by operations that torch differentiates any number of times."""
    x = visible(logits, known)
    probs, values = sigmoid_from_tail(x), known.values.to(x.dtype)
    total = Totals(logits, x, known)
    # logsigmoid is exact everywhere; softplus turns linear at 20.
    hits = damp(-torch.nn.functional.logsigmoid(x), gamma) if flags & CROSS_ENTROPY else None
    misses = damp(-torch.nn.functional.logsigmoid(-x), gamma) if flags & COMPLEMENT else None
    return Sums(
        total(probs * values) if flags & REGIONS else total.none,
        total(probs) if flags & REGIONS else total.none,
        total(values),
        total.valid(),
        total(probs * probs) if flags & SQUARES else total.none,
        total(values * values) if flags & SQUARES else total.none,
        total.none if hits is None else total((values * hits).where(values > 0, 0)),
        total.none if misses is None else total(((1 - values) * misses).where(values < 1, 0)),
    )


class Totals:
    """Sums over the valid voxels of maps ``(N, C, V)``."""

    def __init__(self, logits: Tensor, like: Tensor, known: Target) -> None:
        self.dtype, self.known, self.like = sum_dtype(logits), known, like
        self.weight = None if known.valid is None else known.valid.to(like.dtype)
        self.none = torch.zeros(like.shape[:2], dtype=self.dtype, device=like.device)

    def __call__(self, values: Tensor) -> Tensor:
        """The sum of each class's own map."""
        return (values if self.weight is None else values * self.weight).sum(-1, dtype=self.dtype)

    def by_label(self, values: Tensor, gamma: float = 0.0) -> Tensor:
        """The sum of what stands at the label (damped by a focal factor), at the label's class."""
        picked = damp(values.gather(1, self.known.values.unsqueeze(1)).squeeze(1), gamma)
        kept = picked if self.weight is None else picked * self.weight[:, 0]
        return self.none.scatter_add(1, self.known.values, kept.to(self.dtype))

    def valid(self) -> Tensor:
        """How many voxels count."""
        n, c, voxels = self.like.shape
        if self.known.valid is None:
            return torch.full_like(self.none, float(voxels))
        return self.known.valid.sum(-1, dtype=self.dtype).expand(n, c)


#: Below this ``1 - p`` is held: its power then has a gradient of 0, where that of 0**0.5 would be infinite.
_TINY = 1e-30


def damp(loss: Tensor, gamma: float) -> Tensor:
    """``(1 - p)^gamma (-log p)`` from ``-log p``: the focal factor."""
    return loss if gamma == 0 else (-torch.expm1(-loss)).clamp_min(_TINY) ** gamma * loss


def visible(logits: Tensor, known: Target) -> Tensor:
    """``logits`` as ``(N, C, V)`` in the working dtype, zero where voxels don't count: a NaN there must not spread."""
    flat = flatten_logits(logits).to(working_dtype(logits))
    return flat if known.valid is None else flat.masked_fill(~known.valid, 0)
