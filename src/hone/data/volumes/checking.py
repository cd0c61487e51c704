"""All that can be wrong with volumes and their labels, found from the facts of one look: one line that names files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ...checks import invalid
from .cases import Case
from .facts import ImageFacts, LabelFacts
from .scan import CaseFacts

#: Of many wrong files, so many are named.
_NAMED = 5
#: Corners of a label map may lie so far from those of its image, in voxels.
_APART = 0.5


def check_cases(cases: Sequence[Case], facts: Sequence[CaseFacts]) -> None:
    """Raise where images or label maps can't be trained on.

    Raises:
        ValueError: voxels that are not finite; channels that differ in number; a modality or a label map whose size or
            place is not its image's; labels that are not whole numbers.
    """
    pairs = list(zip(cases, facts, strict=True))
    _refuse(
        "hold finite numbers only",
        (
            f"{path} ({sum(channel.not_finite for channel in image.channels)} NaN or infinite)"
            for case, known in pairs
            for path, image in zip(case.images, known.images, strict=True)
            if any(channel.not_finite for channel in image.channels)
        ),
    )
    _check_channels(pairs)
    _refuse(
        "have one size and place for all modalities of a case",
        (
            f"{path} ({_sizes(image)}; {case.images[0]}: {_sizes(known.images[0])})"
            for case, known in pairs
            for path, image in zip(case.images[1:], known.images[1:], strict=True)
            if not _fits(image, known.images[0])
        ),
    )
    _refuse(
        "have the size of their image",
        (
            f"{case.label} ({_sizes(known.label)}; its image: {_sizes(known.images[0])})"
            for case, known in pairs
            if known.label is not None and known.label.shape != known.images[0].shape
        ),
        what="labels",
    )
    _refuse(
        "lie where their image lies (the affines differ)",
        (
            str(case.label)
            for case, known in pairs
            if known.label is not None and not _fits(known.label, known.images[0])
        ),
        what="labels",
    )
    _refuse(
        "be whole numbers",
        (
            f"{case.label} ({_numbers(value for value in known.label.counts if value != round(value))})"
            for case, known in pairs
            if known.label is not None and not known.label.whole
        ),
        what="labels",
    )


def seen_values(facts: Iterable[CaseFacts]) -> list[int]:
    """The values of all label maps, in order."""
    return sorted({int(value) for known in facts if known.label is not None for value in known.label.counts})


def check_values(cases: Sequence[Case], facts: Sequence[CaseFacts], classes: Sequence[str], ignore: int | None) -> None:
    """Raise where a label map holds other values than those of the classes.

    Raises:
        ValueError: values and files are named.
    """
    allowed = {*range(len(classes)), *([ignore] if ignore is not None else [])}
    _refuse(
        f"be 0 to {len(classes) - 1} for the {len(classes)} classes",
        (
            f"{case.label} ({_numbers(value for value in known.label.counts if value not in allowed)})"
            for case, known in zip(cases, facts, strict=True)
            if known.label is not None and not allowed.issuperset(known.label.counts)
        ),
        what="labels",
    )


def _check_channels(pairs: Sequence[tuple[Case, CaseFacts]]) -> None:
    """The same number of channels in every case."""
    first: dict[int, str] = {}
    for case, known in pairs:
        first.setdefault(sum(len(image.channels) for image in known.images), case.images[0])
    if len(first) > 1:
        raise invalid(
            "volumes",
            "have the same number of channels",
            ", ".join(f"{count} in {path}" for count, path in sorted(first.items())),
        )


def _fits(one: ImageFacts | LabelFacts, other: ImageFacts) -> bool:
    """Whether the corners of two volumes lie in the same places, to half a voxel."""
    if one.shape != other.shape:
        return False
    corners = np.array(np.meshgrid(*[(0, size - 1) for size in other.shape], [1], indexing="ij")).reshape(4, -1)
    apart = (np.array(one.affine) - np.array(other.affine)) @ corners
    return bool(np.abs(apart[:3]).max() <= _APART * min(other.spacing))


def _refuse(rule: str, wrong: Iterable[str], *, what: str = "volumes") -> None:
    found = list(wrong)
    if found:
        more = f", and {len(found) - _NAMED} more files" if len(found) > _NAMED else ""
        raise ValueError(f"{what} must {rule}, got {', '.join(found[:_NAMED])}{more}")


def _sizes(facts: ImageFacts | LabelFacts) -> str:
    return "x".join(map(str, facts.shape))


def _numbers(values: Iterable[float]) -> str:
    found = sorted(values)
    return ", ".join(f"{value:g}" for value in found[:_NAMED]) + (", ..." if len(found) > _NAMED else "")
