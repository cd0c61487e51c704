"""Kinds of data: photos, masks, volumes, clips; each is one module with the functions of ``Kind``."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from hone.data.layout import task_of

if TYPE_CHECKING:
    from hone.recipe.kinds.kind import Kind

#: Task -> the module that knows its data; loaded when a recipe asks for it.
_HOME = {
    "classify": "photos",
    "multilabel": "photos",
    "regress": "photos",
    "segment": "masks",
    "segment-volume": "volumes",
    "classify-volume": "volumes",
    "classify-video": "clips",
}


def kind_of(task: str, data: str | None = None) -> Kind:
    """The kind of data that a task is about.

    Args:
        task: of a recipe; for "auto" the layout of the data decides, and photos are the answer where it is silent.
        data: what the recipe names as its data.
    """
    if task == "auto":
        task = (data and task_of(data)) or "classify"
    return cast("Kind", importlib.import_module(f"{__name__}.{_HOME[task]}"))
