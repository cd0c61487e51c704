"""Copying a source's weights into a model, with an account of every tensor."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hone import checks
from hone.transfer.audit import Audit, AuditRow
from hone.transfer.heads import Head, find_head
from hone.transfer.layers import LAYERS, out_width, unwrap
from hone.transfer.matching import match_by_name, match_by_order
from hone.transfer.patterns import select
from hone.transfer.resizing import fit

#: From this share of the trunk on, names are trusted.
_MOST = 0.8


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
    setting = _look_at(unwrap(model), state, skip)
    pairs, matched = _match(setting, minimum)
    fitted, rows = _fit_all(setting, pairs)
    rows += _unused(setting, pairs, fitted)
    audit = Audit(tuple(rows), matched, setting.share(fitted), setting.output(fitted))
    if audit.share < minimum:
        raise ValueError(_too_little(model, audit, minimum))
    _copy(setting.target, fitted)
    return audit


@dataclass(frozen=True)
class _Setting:
    """The two sides, and what is special in the model.

    Attributes:
        target: the model's tensors.
        state: the source's.
        heads: the model's output layers.
        head: the names of their tensors.
        left: the names that are left as they are, as asked.
        trunk: the names of the parameters by which a copy is judged.
        first: the name of the first layer's weight, whose input channels may be adapted.
    """

    target: Mapping[str, Tensor]
    state: Mapping[str, Tensor]
    heads: tuple[Head, ...]
    head: frozenset[str]
    left: frozenset[str]
    trunk: tuple[str, ...]
    first: str

    def fit(self, name: str, other: str) -> tuple[Tensor | None, str]:
        """The source's tensor in the shape of the model's, and how; None, and why not."""
        source, tensor = self.state[other], self.target[name]
        if source.is_floating_point() != tensor.is_floating_point():
            return None, f"{source.dtype} in the source, {tensor.dtype} in the model".replace("torch.", "")
        if source.layout != torch.strided or source.is_quantized:
            return None, "sparse or quantized in the source"
        result = fit(name, source, tuple(tensor.shape), name == self.first)
        return result if result is not None else (None, f"shape {tuple(source.shape)} in the source")

    def share(self, copied: Collection[str]) -> float:
        """How much of the trunk is among ``copied``."""
        total = sum(self.target[name].numel() for name in self.trunk)
        return sum(self.target[name].numel() for name in self.trunk if name in copied) / total if total else 1.0

    def output(self, copied: Collection[str]) -> str:
        """The output layer in words, where it is new."""
        head = next((head for head in self.heads if not head.fed), None)
        if head is None or f"{head.name}.weight" in copied:
            return ""
        width = getattr(head.layer, "in_features", None) or getattr(head.layer, "in_channels", None)
        return f"{width or out_width(head.layer)} -> {head.width}"


def _look_at(model: nn.Module, state: Mapping[str, Tensor], skip: Sequence[str]) -> _Setting:
    target = {name: tensor for name, tensor in model.state_dict(keep_vars=True).items() if isinstance(tensor, Tensor)}
    try:
        heads = find_head(model)
    except ValueError:
        heads = ()  # a trunk by itself: every tensor is the trunk's
    head = frozenset(name for name in target if any(name.startswith(each.name + ".") for each in heads))
    left = frozenset(
        name for pattern in skip for name in (head if pattern == "head" else select(pattern, list(target)))
    )
    trunk = tuple(name for name, _ in model.named_parameters() if name not in head and name not in left)
    layers = (name for name, layer in model.named_modules() if isinstance(layer, LAYERS))
    return _Setting(target, state, heads, head, left, trunk, f"{next(layers, '')}.weight")


def _match(setting: _Setting, minimum: float) -> tuple[dict[str, str], str]:
    """Pairs of names, and how they were found: by order only where names do not carry most of the trunk."""
    shapes = {name: tuple(tensor.shape) for name, tensor in setting.target.items()}
    others = {name: tuple(tensor.shape) for name, tensor in setting.state.items()}
    named = match_by_name(shapes, others)
    good = [name for name, other in named.items() if setting.fit(name, other)[0] is not None]
    if setting.share(good) < max(minimum, _MOST):
        counted = match_by_order(_countable(setting.target), _countable(setting.state), setting.head)
        if counted is not None:
            return counted, "by order and shape"
    return named, "by name"


def _countable(tensors: Mapping[str, Tensor]) -> dict[str, tuple[int, ...]]:
    """Shapes of what an architecture is recognised by: floating tensors and the counters of batch norms."""
    return {
        name: tuple(tensor.shape)
        for name, tensor in tensors.items()
        if tensor.is_floating_point() or name.endswith("num_batches_tracked")
    }


def _fit_all(setting: _Setting, pairs: Mapping[str, str]) -> tuple[dict[str, Tensor], list[AuditRow]]:
    """The tensors to copy, in the model's shapes, and a row for each of the model's tensors."""
    fitted: dict[str, Tensor] = {}
    rows: list[AuditRow] = []
    for name, tensor in setting.target.items():
        shape = tuple(tensor.shape)
        result, reason = None, "output layer" if name in setting.head else "not in the source"
        if name in setting.left:
            reason = "left as it is, as asked"
        elif name in pairs:
            result, reason = setting.fit(name, pairs[name])
            if result is None and name in setting.head:
                reason = f"output layer, {reason}"
        if result is None:
            rows.append(AuditRow(name, "new", reason, shape))
        else:
            fitted[name] = result
            rows.append(AuditRow(name, "resized" if reason else "copied", reason, shape, pairs[name]))
    return fitted, rows


def _unused(setting: _Setting, pairs: Mapping[str, str], fitted: Collection[str]) -> list[AuditRow]:
    """A row for each of the source's tensors that went nowhere."""
    target_of = {other: name for name, other in pairs.items()}
    tails = {setting.target[name].shape[1:] for name in setting.head - set(pairs) if setting.target[name].ndim > 1}
    heads = {
        other.rpartition(".")[0]
        for other, tensor in setting.state.items()
        if tensor.ndim > 1 and tensor.shape[1:] in tails and other not in target_of
    }
    rows = []
    for other, tensor in setting.state.items():
        name = target_of.get(other)
        if name in fitted:
            continue
        if name in setting.left:
            reason = f"{'output layer: ' if name in setting.head else ''}{name} is left as it is, as asked"
        elif name in setting.head or (name is None and other.rpartition(".")[0] in heads):
            reason = "output layer of another size"
        else:
            reason = "not in the model" if name is None else f"does not go into {name}"
        rows.append(AuditRow(other, "skipped", reason, tuple(tensor.shape)))
    return rows


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
