"""A cut through a network: where stored tensors go in, and which calls then need not run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, cast

import torch
from torch import Tensor
from torch.utils import _pytree as pytree

Side = Literal["in", "out"]


@dataclass(frozen=True)
class Port:
    """One tensor that goes into, or comes out of, one call of one module in a forward.

    Attributes:
        name: the module.
        call: which of its calls in a forward, from 0.
        side: what goes in, or what comes out.
        leaf: which tensor of the nested arguments or outputs, from 0.
    """

    name: str
    call: int
    side: Side
    leaf: int


@dataclass(frozen=True)
class Shape:
    """What a tensor looks like, but for the number of samples.

    Attributes:
        sizes: of one sample.
        dtype: of its numbers.
        channels_last: whether its channels lie together.
    """

    sizes: tuple[int, ...]
    dtype: torch.dtype
    channels_last: bool = False

    @staticmethod
    def of(tensor: Tensor) -> Shape:
        """The shape of one sample of a batch."""
        last = tensor.ndim == 4 and not tensor.is_contiguous() and tensor.is_contiguous(memory_format=_LAST)
        return Shape(tuple(tensor.shape[1:]), tensor.dtype, last)

    def zeros(self, count: int, device: torch.device, *, dense: bool = False) -> Tensor:
        """A batch of zeros: one number seen at every place, or (``dense``) numbers that can be written to."""
        if dense:
            return torch.zeros(count, *self.sizes, dtype=self.dtype, device=device)
        return torch.zeros((), dtype=self.dtype, device=device).expand(count, *self.sizes)


@dataclass(frozen=True)
class Fixed:
    """Something in an output that is no tensor and always the same.

    Attributes:
        value: None, a number or a word.
    """

    value: int | float | str | None


@dataclass(frozen=True)
class Skipped:
    """One call that does not run.

    Attributes:
        name: the module.
        call: which of its calls.
        outputs: what each part of its output looks like.
        spec: how its output is nested.
    """

    name: str
    call: int
    outputs: tuple[Shape | Fixed, ...]
    spec: pytree.TreeSpec


@dataclass(frozen=True)
class Cut:
    """Where a forward begins when it does not begin at the input.

    Attributes:
        slots: the shape of each stored tensor.
        ports: where a stored tensor goes, and its number.
        skipped: the calls that do not run.
        example: the shape of the network's own input.
        dense: the zeros are written to by the network's own code and must have memory.
    """

    slots: tuple[Shape, ...]
    ports: dict[Port, int]
    skipped: tuple[Skipped, ...]
    example: Shape
    dense: bool = False


def cut_to_json(cut: Cut) -> dict[str, Any]:
    """Plain values.

    Example:
        >>> cut = Cut((Shape((2,), torch.float32),), {Port("fc", 0, "in", 0): 0}, (), Shape((3, 8, 8), torch.float32))
        >>> cut_from_json(cut_to_json(cut)) == cut
        True
    """
    return {
        "slots": [_shape(shape) for shape in cut.slots],
        "ports": [[port.name, port.call, port.side, port.leaf, slot] for port, slot in cut.ports.items()],
        "skipped": [
            [each.name, each.call, [_part(part) for part in each.outputs], pytree.treespec_dumps(each.spec)]
            for each in cut.skipped
        ],
        "example": _shape(cut.example),
        "dense": cut.dense,
    }


def cut_from_json(values: dict[str, Any]) -> Cut:
    """What :func:`cut_to_json` wrote."""
    return Cut(
        tuple(_read_shape(shape) for shape in values["slots"]),
        {Port(name, call, cast(Side, side), leaf): slot for name, call, side, leaf, slot in values["ports"]},
        tuple(
            Skipped(name, call, tuple(_read_part(part) for part in outputs), pytree.treespec_loads(spec))
            for name, call, outputs, spec in values["skipped"]
        ),
        _read_shape(values["example"]),
        values["dense"],
    )


def _part(part: Shape | Fixed) -> Any:
    return _shape(part) if isinstance(part, Shape) else {"fixed": part.value}


def _read_part(values: Any) -> Shape | Fixed:
    return Fixed(values["fixed"]) if isinstance(values, dict) else _read_shape(values)


def _shape(shape: Shape) -> list[Any]:
    return [list(shape.sizes), str(shape.dtype).removeprefix("torch."), shape.channels_last]


def _read_shape(values: list[Any]) -> Shape:
    sizes, dtype, last = values
    return Shape(tuple(sizes), getattr(torch, dtype), last)


_LAST = torch.channels_last
