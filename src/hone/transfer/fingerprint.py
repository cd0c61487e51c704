"""What stored features depend on, as one short name: any change of any of it is another name."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection
from types import CodeType
from typing import Any

import torch
from torch import Tensor, nn

from hone.transfer.layers import unwrap

_DIGITS = 40


def fingerprint(*parts: object) -> str:
    """SHA-256 of the parts, told apart and in their order; forty hexadecimal digits of it.

    Args:
        parts: text, bytes, numbers or tensors; the rest by its ``repr``.

    Example:
        >>> fingerprint("a", "b") == fingerprint("a", "b"), fingerprint("a", "b") == fingerprint("ab")
        (True, False)
        >>> fingerprint(torch.zeros(2)) == fingerprint(torch.zeros(2).double())
        False
    """
    digest = hashlib.sha256()
    for part in parts:
        content = _content(part)
        digest.update(f"{type(part).__name__} {len(content)} ".encode())
        digest.update(content)
    return digest.hexdigest()[:_DIGITS]


def frozen_fingerprint(model: nn.Module, trains: Collection[str]) -> str:
    """The frozen part of a network: every tensor, what each module is and does, its mode, and the numbers it runs in.

    Args:
        model: in the modes in which it will train, under the autocast under which it will train.
        trains: the names of the parameters that train at some time; neither they nor the modules that they are in
            count.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
        >>> before = frozen_fingerprint(model, {"1.weight", "1.bias"})
        >>> _ = nn.init.zeros_(model[1].weight)
        >>> before == frozen_fingerprint(model, {"1.weight", "1.bias"})
        True
        >>> _ = nn.init.zeros_(model[0].weight)
        >>> before == frozen_fingerprint(model, {"1.weight", "1.bias"})
        False
    """
    model = unwrap(model)
    device = next((tensor.device.type for tensor in model.parameters()), "cpu")
    parts: list[object] = [torch.__version__, device, _numbers(device)]
    for name, module in model.named_modules():
        own = {
            inner: p for inner, p in module.named_parameters(recurse=False) if f"{name}.{inner}".strip(".") in trains
        }
        parts += [name, type(module).__module__, type(module).__qualname__, _code(type(module).forward)]
        if own:  # its settings (the number of classes) and statistics belong to what trains
            continue
        parts += [module.extra_repr(), module.training]
        tensors = [*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)]
        for inner, tensor in tensors:
            parts += [inner, tensor]
    return fingerprint(*parts)


def _numbers(device: str) -> str:
    """In which numbers the network would run now."""
    if torch.is_autocast_enabled(device):
        return str(torch.get_autocast_dtype(device))
    return torch.get_float32_matmul_precision()


def _code(function: Callable[..., Any]) -> bytes:
    """The compiled code of a function, without where it stands: a changed ``forward`` is another network."""
    code = getattr(function, "__code__", None)
    return _of_code(code) if isinstance(code, CodeType) else repr(function).encode()


def _of_code(code: CodeType) -> bytes:
    constants = [_of_code(each) if isinstance(each, CodeType) else repr(each).encode() for each in code.co_consts]
    return b"\0".join([code.co_code, repr(code.co_names).encode(), *constants])


def _content(part: object) -> bytes | memoryview:
    if isinstance(part, bytes):
        return part
    if isinstance(part, Tensor):
        numbers = part.detach().cpu().contiguous().reshape(-1)
        shown = f"{part.dtype} {tuple(part.shape)} ".encode()
        return shown + numbers.view(torch.uint8).numpy().tobytes() if numbers.numel() else shown
    return str(part).encode() if isinstance(part, (str, int, float)) else repr(part).encode()
