"""Reading the tensors of a checkpoint file, whatever it is wrapped in, without running anything it holds."""

from __future__ import annotations

import argparse
import pickle
import re
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

#: Entries that hold weights, the better first: averaged weights before those they average, as timm does.
_ENTRIES = (
    ("state_dict_ema", "model_ema", "ema_state_dict", "ema", "params_ema", "teacher"),
    (
        "state_dict",
        "model_state_dict",
        "model_state",
        "model",
        "net",
        "network",
        "params",
        "weights",
        "module",
        "student",
    ),
)
#: Entries that hold tensors which are no weights.
_NOT_WEIGHTS = ("optim", "sched", "scaler", "rng", "loss", "metric")
#: What a wrapper puts before every name.
_WRAPPERS = ("module.", "_orig_mod.")
#: How a file of torch.save begins: a zip archive, or a pickle (before torch 1.6).
_TORCH_STARTS = (b"PK\x03\x04", b"\x80")
#: Classes that hold plain values and run no code when they are read.
_PLAIN: list[Any] = [argparse.Namespace]


def read_weights(path: str | Path, *, entry: str | None = None) -> dict[str, Tensor]:
    """Read the tensors of a checkpoint by name, on the CPU.

    Safetensors files are read as they are. Files of ``torch.save`` are read with ``weights_only=True``; nested
    entries are searched for the weights (averaged ones first, then ``state_dict``, ``model``, ...), and the prefixes
    that DataParallel and ``torch.compile`` put before every name are taken off.

    Args:
        path: the file.
        entry: the dotted name of the entry that holds the weights, where a file holds several.

    Returns:
        name -> tensor, in the file's order (safetensors files are sorted by name).

    Raises:
        ValueError: the file is no checkpoint, holds code, or holds no weights: one line that names it.
        FileNotFoundError: there is no such file.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "model.pth"
        >>> torch.save({"epoch": 3, "state_dict": {"module.fc.weight": torch.zeros(2, 4)}}, file)
        >>> {name: tuple(tensor.shape) for name, tensor in read_weights(file).items()}
        {'fc.weight': (2, 4)}
    """
    file = Path(path)
    if not file.is_file():
        raise FileNotFoundError(f"there is no checkpoint file {file}")
    content = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
    state = _choose(file, content, entry)
    while prefix := next((p for p in _WRAPPERS if all(name.startswith(p) for name in state)), None):
        state = {name[len(prefix) :]: tensor for name, tensor in state.items()}
    return state


def _is_safetensors(file: Path) -> bool:
    with file.open("rb") as stream:
        start = stream.read(9)
    return file.suffix == ".safetensors" or (len(start) == 9 and start[8:] == b"{" and start[:2] != b"PK")


def _read_safetensors(file: Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        return dict(load_file(file))
    except (SafetensorError, OSError) as error:
        raise ValueError(f"{file} can't be read as safetensors: {_first_line(error)}") from None


def _read_torch(file: Path) -> Any:
    with file.open("rb") as stream:
        start = stream.read(12)
    if not start.startswith(_TORCH_STARTS):
        found = f"it starts with {start!r}" if start else "it is empty"
        raise ValueError(f"{file} can't be read as a checkpoint: {found}")
    try:
        with torch.serialization.safe_globals(_PLAIN), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(file, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise ValueError(
            f"{file} holds more than tensors ({_culprit(str(error))}), and reading that could run its code; "
            "save its state_dict alone, best as safetensors"
        ) from None
    except (RuntimeError, EOFError, OSError, KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
        raise ValueError(f"{file} can't be read as a checkpoint: {_first_line(error)}") from None


def _culprit(message: str) -> str:
    """The name of what was refused, out of torch's message of many lines."""
    found = re.search(r"(?:GLOBAL|instantiate class|Unsupported class) ([\w.]+)", message)
    return found[1].rstrip(".") if found else "a pickle that is no checkpoint of torch"


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:160] or type(error).__name__


def _tensors(mapping: Mapping[Any, Any]) -> dict[str, Tensor]:
    return {str(name): value for name, value in mapping.items() if isinstance(value, Tensor)}


def _nested(content: Any, path: str = "", depth: int = 3) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """Every mapping of tensors inside, with its dotted place, the outer ones first."""
    if not isinstance(content, Mapping):
        return
    if tensors := _tensors(content):
        yield path, tensors
    for name, value in content.items():
        if depth and isinstance(name, str) and not any(word in name.lower() for word in _NOT_WEIGHTS):
            yield from _nested(value, f"{path}.{name}" if path else name, depth - 1)


def _choose(file: Path, content: Any, entry: str | None) -> dict[str, Tensor]:
    found = dict(_nested(content))
    if entry is not None:
        if entry not in found:
            places = ", ".join(repr(place) for place in found) or "none"
            raise ValueError(f"{file} has no entry {entry!r} that holds tensors; those that do: {places}")
        return found[entry]
    whole = found.get("", {})
    if whole and (len(found) == 1 or len(whole) >= max(len(state) for state in found.values())):
        return whole
    for names in _ENTRIES:
        for name in names:
            for place in sorted(found, key=lambda place: place.count(".")):
                if name in place.split("."):
                    return found[place]
    if len(found) == 1:
        return next(iter(found.values()))
    if not found:
        kind = type(content).__name__
        raise ValueError(f"{file} holds no weights: a {kind}, not a mapping of names to tensors")
    raise ValueError(f"{file} holds several sets of tensors ({', '.join(found)}); name one with entry=")
