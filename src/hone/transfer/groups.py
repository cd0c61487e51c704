"""Parameter groups for an optimizer: rates by depth, weight decay only where it belongs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from torch import nn

from hone import checks
from hone.transfer.freeze import norm_parameters
from hone.transfer.layers import unwrap
from hone.transfer.patterns import matches
from hone.transfer.rows import LayerRow, layer_rows

#: Tokens and tables of positions, which timm and torchvision leave undecayed, under both libraries' names.
_TABLES = (
    "cls_token",
    "class_token",
    "dist_token",
    "reg_token",
    "pos_embed",
    "pos_embedding",
    "position_embedding",
    "relative_position_bias_table",
)


def parameter_groups(
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float = 0.0,
    layer_decay: float = 1.0,
    head_multiplier: float = 1.0,
) -> list[dict[str, Any]]:
    r"""All parameters of the model, the frozen ones too, in named groups with their own rates.

    The row at depth :math:`d` of :math:`n` before the head gets

    .. math:: \eta_d = \eta \cdot \lambda^{\,n-d}, \qquad \eta_{head} = \eta \cdot m,

    so the rate falls from the output to the input. Norms, biases, other vectors, class tokens and position tables get
    no weight decay.

    Args:
        model: any network.
        lr: the rate of a row just before the head without ``layer_decay``, above 0.
        weight_decay: for matrices and filters, at least 0.
        layer_decay: :math:`\lambda`, in (0, 1]; at 1 the trunk is one group (two with the undecayed).
        head_multiplier: :math:`m`, above 0.

    Returns:
        Groups with ``"name"``, ``"params"``, ``"lr"`` and ``"weight_decay"``: names are the row's (or ``"trunk"``) and
        ``"head"``, with ``" no decay"`` behind where no weight decay applies.

    Raises:
        ValueError: a number out of its range.

    Example:
        >>> from torchvision.models import resnet18
        >>> groups = parameter_groups(resnet18(), lr=1e-3, weight_decay=0.05, head_multiplier=10.0)
        >>> for group in groups:
        ...     print(group["name"], len(group["params"]), group["lr"], group["weight_decay"])
        trunk 20 0.001 0.05
        trunk no decay 40 0.001 0.0
        head 1 0.01 0.05
        head no decay 1 0.01 0.0

    Reference:
        Bao, Dong and Wei, "BEiT", ICLR 2022 (layer-wise decay, after Clark et al., "ELECTRA", ICLR 2020).
    """
    checks.number("lr", lr, above=0)
    checks.number("weight_decay", weight_decay, at_least=0)
    checks.number("layer_decay", layer_decay, above=0, at_most=1)
    checks.number("head_multiplier", head_multiplier, above=0)
    model = unwrap(model)
    rows = layer_rows(model)
    parameters = dict(model.named_parameters())
    bare = _undecayed(model)
    last = sum(not row.is_head for row in rows)
    groups: dict[str, dict[str, Any]] = {}
    for row in rows:
        title = "head" if row.is_head else "trunk" if layer_decay == 1.0 else row.name
        rate = lr * (head_multiplier if row.is_head else layer_decay ** (last - row.depth))
        for name in row.parameters:
            no_decay = name in bare
            key = f"{title} no decay" if no_decay else title
            empty = {"name": key, "params": [], "lr": rate, "weight_decay": 0.0 if no_decay else weight_decay}
            groups.setdefault(key, empty)["params"].append(parameters[name])
    return list(groups.values())


def _undecayed(model: nn.Module) -> set[str]:
    """Norms, vectors and scalars, tables of positions, and what the model itself says should not decay."""
    listed: Callable[[], Sequence[str]] | None = getattr(model, "no_weight_decay", None)
    own = tuple(listed()) if callable(listed) else ()
    return set(norm_parameters(model)) | {
        name
        for name, parameter in model.named_parameters()
        if parameter.ndim <= 1
        or any(matches(pattern, name) for pattern in own)
        or name.rsplit(".", 1)[-1] in _TABLES
        or name.endswith(".bias")
    }


@dataclass(frozen=True)
class GroupRow:
    """One layer and what it gets.

    Attributes:
        name: the layer.
        depth: 0 for the first.
        tensors: how many parameters (tensors) it has.
        size: how many numbers they hold.
        trains: how many of these numbers train now.
        lr: its rate.
        weight_decay: of its matrices and filters.
    """

    name: str
    depth: int
    tensors: int
    size: int
    trains: int
    lr: float
    weight_decay: float


def group_rows(model: nn.Module, groups: Sequence[dict[str, Any]]) -> list[GroupRow]:
    """A table of the model's layers with the rates that ``groups`` give them: what ``hone groups`` prints.

    Args:
        model: the network.
        groups: as :func:`parameter_groups` made them, or an optimizer's ``param_groups``.

    Returns:
        One row for each of :func:`layer_rows`.

    Example:
        >>> from torchvision.models import resnet18
        >>> model = resnet18()
        >>> row = group_rows(model, parameter_groups(model, lr=1e-3, layer_decay=0.5))[-2]
        >>> row.name, row.depth, row.lr
        ('layer4.1', 8, 0.0005)
    """
    model = unwrap(model)
    group_of = {id(parameter): group for group in groups for parameter in group["params"]}
    parameters = dict(model.named_parameters())

    def describe(row: LayerRow) -> GroupRow:
        inside = [parameters[name] for name in row.parameters]
        held = [group_of[id(parameter)] for parameter in inside if id(parameter) in group_of]
        trains = sum(parameter.numel() for parameter in inside if parameter.requires_grad)
        rates = [float(group["lr"]) for group in held]
        decays = [float(group.get("weight_decay", 0.0)) for group in held]
        return GroupRow(
            row.name, row.depth, len(inside), row.size, trains, max(rates, default=0.0), max(decays, default=0.0)
        )

    return [describe(row) for row in layer_rows(model)]
