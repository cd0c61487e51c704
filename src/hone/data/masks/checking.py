"""All that can be wrong with images and their masks, found from one look: one line that names values and files."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from .facts import PairFacts
from .listing import Pair

#: Of many wrong files, so many are named.
_NAMED = 10
_WHITE = 255


def check_sizes(pairs: Sequence[Pair], facts: Sequence[PairFacts]) -> None:
    """Raise where a mask has another size than its image.

    Raises:
        ValueError: files and sizes are named.
    """
    _refuse(
        "have the size of their image",
        (
            f"{path} ({width}x{height}; its image: {known.stat[2]}x{known.stat[3]})"
            for pair, known in zip(pairs, facts, strict=True)
            for path, (width, height) in zip(pair.masks, known.sizes, strict=True)
            if path and (width, height) != known.stat[2:]
        ),
    )


def see_classes(
    pairs: Sequence[Pair], facts: Sequence[PairFacts], ignore: int | None, classes: Sequence[str] | None
) -> tuple[list[str], bool]:
    """The classes of masks of indices, and whether 255 in them means class 1.

    Without names, the values say how many classes there are: 0 and 255 are two; else they must be 0, 1, 2, ... without
    a gap, since a gap is more often a marker or a grey level than a class that no image shows.

    Args:
        pairs: images and masks.
        facts: what a look at each said.
        ignore: the value of pixels that count nowhere.
        classes: the names, where they are known.

    Returns:
        Names, and whether 255 stands for 1.

    Raises:
        ValueError: values beyond the classes; they are named, and the files.
    """
    seen = {value for known in facts for value in known.total()} - {ignore}
    white = _WHITE in seen and seen <= {0, _WHITE} and (classes is None or len(classes) == 2)
    values = {min(value, 1) for value in seen} if white else seen
    if classes is None:
        classes = _counted(values, pairs, facts, ignore)
    beyond = {value for value in values if not 0 <= value < len(classes)}
    if beyond:
        known_as = f"be 0 to {len(classes) - 1} for the {len(classes)} classes"
        _refuse(known_as, _with_values(pairs, facts, beyond), hint=_hint(beyond))
    return list(classes), white


def check_labels(pairs: Sequence[Pair], facts: Sequence[PairFacts], ignore: int | None) -> None:
    """Raise where the mask of a label holds more than "no" and "yes": 0, and 1 or 255.

    Raises:
        ValueError: values and files are named.
    """
    seen = {value for known in facts for value in known.total()} - {ignore, 0, 1, _WHITE}
    if seen:
        _refuse("be 0 and 1, or 0 and 255, for each label", _with_values(pairs, facts, seen), hint=_hint(seen))


def _counted(values: set[int], pairs: Sequence[Pair], facts: Sequence[PairFacts], ignore: int | None) -> list[str]:
    """Names for classes that nobody named."""
    top = max(values, default=0)
    wanted = set(range(top + 1))
    if min(values, default=0) < 0:
        below = {value for value in values if value < 0}
        _refuse("be 0 or more", _with_values(pairs, facts, below), hint="name it by --ignore-index")
    if top == 0:
        shown = "nothing but pixels to ignore" if ignore is not None and not values else "0 everywhere"
        raise ValueError(f"masks must show at least one class beside the background (0), got {shown}")
    if values | {0} != wanted:
        listed = _numbers(values)
        after_gap = {value for value in values if not set(range(1, value)) <= values}
        raise ValueError(
            f"masks must hold 0, 1, 2, ... without a gap where nobody names the classes, got {listed}: "
            f"{_listed(_with_values(pairs, facts, after_gap))}; write their names into classes.txt beside the images, "
            f"a line each{_also(_hint(after_gap))}"
        )
    return ["background", *(f"class {value}" for value in range(1, top + 1))]


def _with_values(pairs: Sequence[Pair], facts: Sequence[PairFacts], values: set[int]) -> Iterable[str]:
    for pair, known in zip(pairs, facts, strict=True):
        for path, counts in zip(pair.masks, known.counts, strict=True):
            if found := values.intersection(counts):
                yield f"{path} ({_numbers(found)})"


def _hint(values: set[int]) -> str:
    if values == {_WHITE}:
        return "--ignore-index 255 leaves those pixels out"
    return "lossy formats such as JPEG change the values of a mask" if len(values) > 20 else ""


def _also(hint: str) -> str:
    return f"; or: {hint}" if hint else ""


def _refuse(rule: str, wrong: Iterable[str], *, hint: str = "") -> None:
    found = list(wrong)
    if found:
        raise ValueError(f"masks must {rule}, got {_listed(found)}" + (f"; {hint}" if hint else ""))


def _listed(found: Iterable[str]) -> str:
    named = list(found)
    more = f", and {len(named) - _NAMED:,} more files" if len(named) > _NAMED else ""
    return ", ".join(named[:_NAMED]) + more


def _numbers(values: Iterable[int]) -> str:
    found = sorted(values)
    return ", ".join(map(str, found[:_NAMED])) + (", ..." if len(found) > _NAMED else "")
