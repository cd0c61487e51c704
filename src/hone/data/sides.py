"""Classes whose names speak of sides: what they show must not be mirrored."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SIDES = re.compile(r"(?<![a-z])(left|right|(counter|anti)?-?clockwise|ccw|cw)(?![a-z])")


def tells_left_from_right(classes: Sequence[str]) -> bool:
    """Whether class names speak of sides.

    Example:
        >>> tells_left_from_right(["pan_left", "pan_right"]), tells_left_from_right(["bright", "leftover"])
        (True, False)
    """
    return any(_SIDES.search(name.lower()) for name in classes)


def mirrors(hflip: bool | None, classes: Sequence[str]) -> bool:
    """Whether training mirrors: what is stated, or else unless class names speak of sides.

    Example:
        >>> mirrors(None, ["left", "right"]), mirrors(True, ["left", "right"]), mirrors(None, ["daisy", "rose"])
        (False, True, True)
    """
    return not tells_left_from_right(classes) if hflip is None else hflip
