"""What a run says of one input, and how it was asked."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import torch

from hone.precision import Precision

#: Spatial axes that are mirrored where flips are asked for.
_FLIPS = {"segment": (1,), "segment-volume": (0, 1, 2)}


@dataclass(frozen=True)
class Prediction:
    """What a model says of one input.

    Attributes:
        path: the photo, or the file that was predicted on.
        label: the class; the labels above probability 0.5 with ``;`` between them; the number; or the file written.
        confidence: probability of ``label``; None where there is none.
        scores: the values of the kind's columns: the probability of every class or label, the numbers of a regression.
    """

    path: str
    label: str
    confidence: float | None
    scores: list[float]


@dataclass(frozen=True)
class Asked:
    """How predictions are asked for.

    Attributes:
        device: where the model runs.
        precision: in which numbers.
        batch_size: inputs at a time; None leaves it to the kind.
        out: folder for predictions that are files; None where none is written.
        memory: bytes that one prediction may take, such as "4GB"; None leaves it to the kind.
        flips: spatial axes; the mean over inputs mirrored in every combination of them is taken.
    """

    device: torch.device
    precision: Precision
    batch_size: int | None = None
    out: Path | None = None
    memory: str | None = None
    flips: tuple[int, ...] = ()


def flip_axes(task: str) -> tuple[int, ...]:
    """The spatial axes along which inputs are mirrored where that is asked for: of images the width, of volumes all.

    Raises:
        ValueError: the task's output has no place that could be mirrored back.

    Example:
        >>> flip_axes("segment"), flip_axes("segment-volume")
        ((1,), (0, 1, 2))
    """
    if task not in _FLIPS:
        raise ValueError(f"flips mirrors what is segmented ({', '.join(_FLIPS)}), and the run's task is {task}")
    return _FLIPS[task]
