"""Keep chosen modules in float32 while the rest of the model runs in half precision."""

from __future__ import annotations

import fnmatch
from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_map
from torch.utils.hooks import RemovableHandle

from hone.checks import unknown


def matching(model: nn.Module, patterns: Iterable[str]) -> list[str]:
    """The outermost modules of ``model`` whose names match one of the globs; a glob without a match is an error.

    Raises:
        ValueError: a pattern matches no module; the nearest names are given.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Sequential(nn.Linear(2, 2)))
        >>> matching(model, ["1*"])
        ['1']
    """
    names = [name for name, _ in model.named_modules() if name]
    found: set[str] = set()
    for pattern in patterns:
        hits = fnmatch.filter(names, pattern)
        if not hits:
            raise unknown("keep_fp32 pattern", pattern, names)
        found.update(hits)
    return [name for name in names if name in found and not any(name.startswith(f"{other}.") for other in found)]


class _Float32Region:
    """The two hooks of one module: switch autocast off and make the inputs float32, then switch it on again."""

    def __init__(self) -> None:
        self._entered: list[torch.autocast] = []

    def enter(self, module: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
        device_type = next((t.device.type for t in module.parameters()), None) or first_device(args) or "cpu"
        off = torch.autocast(device_type, enabled=False)
        off.__enter__()  # type: ignore[no-untyped-call]
        self._entered.append(off)
        return tree_map(to_float32, args), tree_map(to_float32, kwargs)

    def leave(self, module: nn.Module, args: Any, output: Any) -> None:
        self._entered.pop().__exit__(None, None, None)


def first_device(args: Any) -> str | None:
    """The device type of the first tensor among ``args``."""
    return next((value.device.type for value in args if isinstance(value, Tensor)), None)


def to_float32(value: Any) -> Any:
    """A half tensor as float32; anything else unchanged."""
    half = isinstance(value, Tensor) and value.dtype in (torch.float16, torch.bfloat16)
    return value.float() if half else value


class Kept:
    """The modules that ``keep_fp32`` holds in float32, by name; ``remove`` lets them go again."""

    def __init__(self, names: list[str], handles: list[RemovableHandle]) -> None:
        self.names = names
        self._handles = handles

    def remove(self) -> None:
        for handle in self._handles:
            handle.remove()
        self._handles.clear()


def keep_fp32(model: nn.Module, *patterns: str) -> Kept:
    """Run the modules whose names match the globs in float32, whatever autocast is around them.

    Works by hooks: the model's class, its ``forward`` and its state dict keys stay as they are, and a deep copy keeps
    them too.

    Args:
        model: any model.
        patterns: globs over module names, such as ``"head"``, ``"*.norm*"``.

    Returns:
        The names of the modules held, outermost only, and ``remove()``.

    Raises:
        ValueError: a pattern matches no module.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> keep_fp32(model, "1").names
        ['1']
        >>> with torch.autocast("cpu", torch.bfloat16):
        ...     model(torch.ones(1, 2)).dtype
        torch.float32
    """
    names = matching(model, patterns)
    handles = []
    for name in names:
        module, region = model.get_submodule(name), _Float32Region()
        handles.append(module.register_forward_pre_hook(region.enter, with_kwargs=True))
        # always_call: a forward that raises (a checkpoint stops its recomputation so) must not leave autocast off.
        handles.append(module.register_forward_hook(region.leave, always_call=True))
    return Kept(names, handles)
