"""Copying a source's weights into a model, with an account of every tensor."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence

import torch
from torch import Tensor, nn

from hone import checks
from hone.transfer.audit import Audit, AuditRow
from hone.transfer.heads import Head, find_head
from hone.transfer.layers import LAYERS, out_width, unwrap
from hone.transfer.matching import match_by_name, match_by_order
from hone.transfer.patterns import select
from hone.transfer.resizing import fit


def copy_weights(
    model: nn.Module, state: Mapping[str, Tensor], *, skip: Sequence[str] = (), minimum: float = 0.8
) -> Audit:
    """Copy what fits from a source's tensors into the model, and account for every tensor of both.

    Tensors are matched by name (common prefixes aside), else by order and shape, which is verified. An output layer
    of another size stays as the model has it. Position embeddings, the first layer's channels, and 2D filters for a
    3D network are resized.

    Args:
        model: the target; its dtypes, devices and memory formats stay.
        state: name -> tensor, as :func:`read_weights` gives them.
        skip: patterns of the model's tensors to leave as they are: globs, module names, or ``"head"``.
        minimum: the least share of the trunk's parameters that must be copied, 0 to 1.

    Returns:
        The :class:`Audit`.

    Raises:
        ValueError: less than ``minimum`` would be copied, a pattern of ``skip`` matches nothing, or a tensor to copy
            holds NaN or infinity; the model is as it was.

    Example:
        >>> source = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 3))
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2))
        >>> copy_weights(model, source.state_dict()).summary()
        '2 of 4 tensors copied, output layer new (8 -> 2)'
    """
    checks.number("minimum", minimum, at_least=0, at_most=1)
    inner = unwrap(model)
    target = inner.state_dict(keep_vars=True)
    heads = _heads(inner)
    head = [name for name in target if any(name.startswith(each.name + ".") for each in heads)]
    left = {name for pattern in skip for name in (head if pattern == "head" else select(pattern, list(target)))}
    wanted = {name: tensor for name, tensor in target.items() if isinstance(tensor, Tensor)}
    plan = _best_plan(inner, wanted, state, head, minimum)
    fitted, rows = _fit_all(wanted, state, plan.pairs, left, head, plan.first)
    trunk = [name for name, tensor in inner.named_parameters() if name not in head and name not in left]
    share = _share(wanted, trunk, fitted)
    used = {plan.pairs[name] for name in fitted}
    rows += _unused(state, used, plan.pairs, head)
    audit = Audit(tuple(rows), plan.matched, share, _output(heads, fitted))
    if share < minimum:
        raise ValueError(_too_little(inner, audit, minimum))
    _copy(wanted, fitted)
    return audit


class _Plan:
    """Which tensor comes from which, how that was found, and which is the first layer's weight."""

    def __init__(self, pairs: dict[str, str], matched: str, first: str) -> None:
        self.pairs, self.matched, self.first = pairs, matched, first


def _heads(model: nn.Module) -> tuple[Head, ...]:
    try:
        return find_head(model)
    except ValueError:
        return ()  # a trunk without an output layer: every tensor is the trunk's


def _best_plan(
    model: nn.Module, target: Mapping[str, Tensor], state: Mapping[str, Tensor], head: Collection[str], minimum: float
) -> _Plan:
    layers = ((name, layer) for name, layer in model.named_modules() if isinstance(layer, LAYERS))
    first = next((f"{name}.weight" for name, _ in layers), "")
    shapes = {name: tuple(tensor.shape) for name, tensor in target.items()}
    others = {name: tuple(tensor.shape) for name, tensor in state.items()}
    named = match_by_name(shapes, others)
    trunk = [name for name, _ in model.named_parameters() if name not in head]
    good = [name for name in named if fit(name, state[named[name]], shapes[name], name == first) is not None]
    if _share(target, trunk, good) < max(minimum, 0.8):
        counted = match_by_order(_countable(target), _countable(state), head)
        if counted is not None:
            return _Plan(counted, "by order and shape", first)
    return _Plan(named, "by name", first)


def _countable(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of what an architecture is recognised by: floating tensors and the counters of batch norms."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if tensor.is_floating_point() or name.endswith("num_batches_tracked")
    }


def _share(target: Mapping[str, Tensor], trunk: Sequence[str], copied: Collection[str]) -> float:
    total = sum(target[name].numel() for name in trunk)
    return sum(target[name].numel() for name in trunk if name in copied) / total if total else 1.0


def _fit_all(
    target: Mapping[str, Tensor],
    state: Mapping[str, Tensor],
    pairs: Mapping[str, str],
    left: Collection[str],
    head: Collection[str],
    first: str,
) -> tuple[dict[str, Tensor], list[AuditRow]]:
    """The tensors to copy, in the model's shapes, and a row for each of the model's tensors."""
    fitted: dict[str, Tensor] = {}
    rows: list[AuditRow] = []
    for name, tensor in target.items():
        shape = tuple(tensor.shape)
        other = pairs.get(name)
        result, reason = None, "not in the source"
        if name in left:
            reason = "left as it is, as asked"
        elif other is not None:
            source = state[other]
            result, reason = _fit_one(name, source, tensor, name == first)
            if result is None and name in head:
                reason = f"output layer, {tuple(source.shape)} in the source"
        elif name in head:
            reason = "output layer"
        if result is None:
            rows.append(AuditRow(name, "new", reason, shape))
        else:
            fitted[name] = result
            rows.append(AuditRow(name, "resized" if reason else "copied", reason, shape, other))
    return fitted, rows


def _fit_one(name: str, source: Tensor, tensor: Tensor, is_input: bool) -> tuple[Tensor | None, str]:
    if source.is_floating_point() != tensor.is_floating_point():
        return None, f"{source.dtype} in the source, {tensor.dtype} in the model".replace("torch.", "")
    if source.layout != torch.strided or source.is_quantized:
        return None, "sparse or quantized in the source"
    result = fit(name, source, tuple(tensor.shape), is_input)
    return result if result is not None else (None, f"shape {tuple(source.shape)} in the source")


def _unused(
    state: Mapping[str, Tensor], used: Collection[str], pairs: Mapping[str, str], head: Collection[str]
) -> list[AuditRow]:
    """A row for each of the source's tensors that went nowhere."""
    wanted_by = {other: name for name, other in pairs.items()}
    rows = []
    for other, tensor in state.items():
        if other in used:
            continue
        name = wanted_by.get(other)
        reason = "not in the model" if name is None else f"does not go into {name}"
        if name in head:
            reason = "output layer of another size"
        rows.append(AuditRow(other, "skipped", reason, tuple(tensor.shape)))
    return rows


def _output(heads: Sequence[Head], fitted: Collection[str]) -> str:
    if not heads or f"{heads[0].name}.weight" in fitted:
        return ""
    layer = heads[0].layer
    width = getattr(layer, "in_features", None) or getattr(layer, "in_channels", None) or out_width(layer)
    return f"{width} -> {heads[0].width}"


def _too_little(model: nn.Module, audit: Audit, minimum: float) -> str:
    missing = [row for row in audit.rows if row.status == "new" and not row.reason.startswith("output layer")]
    example = f"; {missing[0].name}: {missing[0].reason}" if missing else ""
    return (
        f"only {math.floor(100 * audit.share)} % of the trunk's parameters would be copied into {type(model).__name__}"
        f", less than {100 * minimum:g} %{example}; is this another architecture? (minimum=0 copies what fits)"
    )


def _copy(target: Mapping[str, Tensor], fitted: Mapping[str, Tensor]) -> None:
    for name, source in fitted.items():
        if source.is_floating_point() and not source.isfinite().all():
            raise checks.invalid(f"the source's tensor for {name}", "be finite", "NaN or infinity")
        if target[name].is_meta:
            raise checks.invalid("model", "not be on the meta device when weights are copied", name)
    with torch.no_grad():
        for name, source in fitted.items():
            target[name].copy_(source)
