"""The same operator in Triton. See ``cpu/softmax_sums.inc`` and ``cpu/softmax_grad.inc`` for the sums and the gradient.

One program handles a block of voxels of one sample and all classes; its sums go to a row of their own and are added in
float64 afterwards, so that the result is the same every time. A label out of range makes the sums NaN: raising would
make the host wait for the device.
"""

# Triton compiles these functions from their source: they have no types that Python knows.
# mypy: disable-error-code="no-untyped-def, untyped-decorator, no-untyped-call"

from __future__ import annotations

from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

#: Logits a program holds at once.
BLOCK_LOGITS = 8192


@triton.jit
def _load(
    logits, target, mask, sample, first, C, V, ignore, HAS_MASK: tl.constexpr, BC: tl.constexpr, BV: tl.constexpr
):
    """exp(x - max), its sum over the other classes, x - max, the same at the label, what is label, what the maximum.

    Labels are -1 where nothing counts, C where out of range.
    """
    voxel = first + tl.arange(0, BV)
    classes = tl.arange(0, BC)
    inside = voxel < V
    label = tl.load(target + sample * V + voxel, mask=inside, other=0).to(tl.int64)
    valid = inside & (label != ignore)
    if HAS_MASK:
        valid = valid & (tl.load(mask + sample * V + voxel, mask=inside, other=0) != 0)
    label = tl.where(valid, tl.where((label >= 0) & (label < C), label, C), -1)
    place = (sample * C + classes[:, None]) * V + voxel[None, :]
    held = (classes[:, None] < C) & valid[None, :]
    x = tl.load(logits + place, mask=held, other=0.0).to(tl.float32)
    x = tl.where(classes[:, None] < C, x, float("-inf"))
    shifted = x - tl.max(x, 0)[None, :]
    exps = tl.exp(shifted)
    highest = classes[:, None] == tl.argmax(x, 0)[None, :]
    chosen = classes[:, None] == label[None, :]
    label_shift = tl.sum(tl.where(chosen, shifted, 0.0), 0)
    rest = tl.sum(tl.where(highest, 0.0, exps), 0)
    return exps, rest, shifted, label_shift, chosen, highest, label, valid, place


@triton.jit
def _log1p(x):
    """log(1 + x) for x >= 0, with the digits that 1 + x drops."""
    u = 1.0 + x
    return tl.log(u) + (x - (u - 1.0)) / u


@triton.jit
def _sums(
    logits,
    target,
    mask,
    out,
    C,
    V,
    blocks,
    ignore,
    gamma,
    FLAGS: tl.constexpr,
    FOCAL: tl.constexpr,
    HAS_MASK: tl.constexpr,
    BC: tl.constexpr,
    BV: tl.constexpr,
):
    sample = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * BV
    exps, rest, shifted, label_shift, chosen, highest, label, valid, _place = _load(
        logits, target, mask, sample, first, C, V, ignore, HAS_MASK, BC, BV
    )
    classes = tl.arange(0, BC)
    weight = tl.where(valid, 1.0, 0.0)
    probs = exps * (weight / (1.0 + rest))[None, :]
    hits = tl.where(chosen, probs, 0.0)
    poison = tl.where(label == C, float("nan"), 0.0)
    row = out + (sample * blocks + tl.program_id(0)) * 8 * C + classes
    held = classes < C
    if FLAGS & 8:
        tl.store(row, tl.sum(hits, 1), mask=held)
        tl.store(row + C, tl.sum(probs, 1), mask=held)
    counts = tl.sum(tl.where(chosen, 1.0, 0.0), 1) + tl.sum(poison, 0)
    tl.store(row + 2 * C, counts, mask=held)
    tl.store(row + 3 * C, tl.zeros_like(counts) + tl.sum(weight, 0), mask=held)
    if FLAGS & 1:
        tl.store(row + 4 * C, tl.sum(probs * probs, 1), mask=held)
        tl.store(row + 5 * C, counts, mask=held)
    if FLAGS & 2:
        entropy = _log1p(rest) - label_shift
        if FOCAL:
            top = tl.sum(tl.where(chosen & highest, 1, 0), 0) > 0
            missed = tl.maximum(tl.where(top, rest / (1.0 + rest), 1.0 - tl.sum(hits, 0)), 1e-30)
            entropy = entropy * tl.exp(gamma * tl.log(missed))
        tl.store(row + 6 * C, tl.sum(tl.where(chosen, entropy[None, :], 0.0), 1), mask=held)
    if FLAGS & 4:
        loss = _log1p(rest)[None, :] - shifted
        counted = valid[None, :] & (shifted > float("-inf"))
        tl.store(row + 7 * C, tl.sum(tl.where(counted, loss, 0.0), 1), mask=held)


@triton.jit
def _grad(
    upstream,
    logits,
    target,
    mask,
    grad,
    N,
    C,
    V,
    ignore,
    gamma,
    FLAGS: tl.constexpr,
    FOCAL: tl.constexpr,
    HAS_MASK: tl.constexpr,
    BC: tl.constexpr,
    BV: tl.constexpr,
):
    sample = tl.program_id(1).to(tl.int64)
    first = tl.program_id(0).to(tl.int64) * BV
    exps, rest, shifted, label_shift, chosen, highest, _label, valid, place = _load(
        logits, target, mask, sample, first, C, V, ignore, HAS_MASK, BC, BV
    )
    classes = tl.arange(0, BC)
    held = classes < C
    row = upstream + sample * C + classes
    of_hit = tl.load(row, mask=held, other=0.0)
    of_prediction = tl.load(row + N * C, mask=held, other=0.0)
    inverse = tl.where(valid, 1.0 / (1.0 + rest), 0.0)
    probs = exps * inverse[None, :]
    slope = of_prediction[:, None] + tl.where(chosen, of_hit[:, None], 0.0)
    if FLAGS & 1:
        slope += 2.0 * probs * tl.load(row + 4 * N * C, mask=held, other=0.0)[:, None]
    slope -= tl.sum(tl.where(highest, slope, 0.0), 0)[None, :]  # as in softmax_grad.inc, where it says why
    result = probs * (slope - tl.sum(probs * slope, 0)[None, :])
    if FLAGS & 2:
        weight = tl.sum(tl.where(chosen, tl.load(row + 6 * N * C, mask=held, other=0.0)[:, None], 0.0), 0)
        top = tl.sum(tl.where(chosen & highest, 1, 0), 0) > 0
        if FOCAL:
            prob = tl.sum(tl.where(chosen, probs, 0.0), 0)
            missed = tl.maximum(tl.where(top, rest * inverse, 1.0 - prob), 1e-30)
            entropy = _log1p(rest) - label_shift
            weight *= tl.exp(gamma * tl.log(missed)) * (1.0 + gamma * prob * entropy / missed)
        miss = tl.where(chosen & highest, -(rest * inverse)[None, :], tl.where(chosen, probs - 1.0, probs))
        result += weight[None, :] * miss
    if FLAGS & 4:
        counted = valid[None, :] & (shifted > float("-inf"))
        spread = tl.where(counted, tl.load(row + 7 * N * C, mask=held, other=0.0)[:, None], 0.0)
        result += probs * tl.sum(spread, 0)[None, :] - spread
    inside = (first + tl.arange(0, BV)) < V
    tl.store(grad + place, result.to(grad.dtype.element_ty), mask=held[:, None] & inside[None, :])


def _shape(logits: Tensor) -> tuple[int, int, int, int, int]:
    n, c = logits.shape[:2]
    rows = triton.next_power_of_2(c)
    return n, c, logits.shape[2:].numel(), rows, max(16, BLOCK_LOGITS // rows)


def compute_sums(
    logits: Tensor, target: Tensor, mask: Tensor | None, ignore_index: int, flags: int, gamma: float
) -> Tensor:
    """The sums ``(8, N, C)`` of a softmax against labels, float64."""
    logits, target = logits.contiguous(), target.contiguous()
    n, c, voxels, rows, block = _shape(logits)
    blocks = triton.cdiv(voxels, block)
    parts = torch.zeros(n, blocks, 8, c, dtype=torch.float32, device=logits.device)
    kept: Any = target if mask is None else mask.contiguous()
    constants = {"FLAGS": flags, "FOCAL": gamma != 0, "HAS_MASK": mask is not None, "BC": rows, "BV": block}
    _sums[(blocks, n)](logits, target, kept, parts, c, voxels, blocks, ignore_index, gamma, **constants)
    return parts.sum(1, dtype=torch.float64).transpose(0, 1).contiguous()


def compute_grad(
    upstream: Tensor,
    logits: Tensor,
    target: Tensor,
    mask: Tensor | None,
    ignore_index: int,
    flags: int,
    gamma: float,
) -> Tensor:
    """The gradient of the logits from that of the sums."""
    logits, target = logits.contiguous(), target.contiguous()
    n, c, voxels, rows, block = _shape(logits)
    grad = torch.empty_like(logits)
    kept: Any = target if mask is None else mask.contiguous()
    constants = {"FLAGS": flags, "FOCAL": gamma != 0, "HAS_MASK": mask is not None, "BC": rows, "BV": block}
    above = upstream.clone()
    above[1] -= upstream[1, :, :1]  # only differences matter: what is common to all classes would cost them digits
    above = above.to(torch.float32)
    _grad[(triton.cdiv(voxels, block), n)](
        above, logits, target, kept, grad, n, c, voxels, ignore_index, gamma, **constants
    )
    return grad
