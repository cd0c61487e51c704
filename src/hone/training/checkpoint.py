"""Checkpoints: a folder of safetensors and JSON, written beside and renamed, with checksums; never a pickle.

checkpoints/update-00000120/
    model.safetensors      parameters and buffers
    optimizer.safetensors  moments, by parameter number
    average.safetensors    the running average of the weights, where there is one
    state.json             update, attempt, and every other *State
    checksums.json         SHA-256 of the others
"""

from __future__ import annotations

import errno
import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.optim import Optimizer

from hone.training.folders import remove, remove_drafts, written_beside

_PREFIX = "update-"


@dataclass(frozen=True)
class Checkpoint:
    """What a checkpoint holds.

    Attributes:
        model: the model's state dict.
        optimizer: the optimizer's tensors, by ``number/name``.
        state: everything else, as JSON.
        path: where it was read from.
        average: the running average of the weights, by name; empty where there is none.
    """

    model: dict[str, Tensor]
    optimizer: dict[str, Tensor]
    state: dict[str, Any]
    path: Path | None = None
    average: Mapping[str, Tensor] = field(default_factory=dict)

    @staticmethod
    def of(
        model: nn.Module, optimizer: Optimizer, state: Mapping[str, Any], average: Mapping[str, Tensor] | None = None
    ) -> Checkpoint:
        """A view of a model and its optimizer now (nothing is copied), with the given other state."""
        held = optimizer.state_dict()["state"]
        tensors = {f"{n}/{key}": x for n, entry in held.items() for key, x in entry.items() if isinstance(x, Tensor)}
        plain = {str(n): {k: x for k, x in entry.items() if not isinstance(x, Tensor)} for n, entry in held.items()}
        return Checkpoint(model.state_dict(), tensors, {**state, "optimizer": plain}, average=average or {})

    def restore(self, model: nn.Module, optimizer: Optimizer) -> None:
        """Put the tensors back, each in the memory format that the model's own have now."""
        model.load_state_dict(self.model)
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        held: dict[int, dict[str, Any]] = {int(n): dict(entry) for n, entry in self.state["optimizer"].items()}
        for name, value in self.optimizer.items():
            number, key = name.split("/", 1)
            held[int(number)][key] = _laid_out_like(parameters[int(number)], value)
        optimizer.load_state_dict({"state": held, "param_groups": optimizer.state_dict()["param_groups"]})


def save_checkpoint(folder: Path, update: int, checkpoint: Checkpoint, *, keep: int = 2) -> Path:
    """Write a checkpoint; a crash at any moment leaves the ones before it whole.

    Args:
        folder: of all checkpoints; made where it is missing.
        update: names it.
        checkpoint: what to write.
        keep: how many to leave, the newest; older ones are deleted once this one is on the disk.

    Returns:
        The checkpoint's own folder.

    Raises:
        OSError: the disk is full or not writable; what was there before is untouched.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_drafts(folder)
    target = folder / f"{_PREFIX}{update:08d}"
    with written_beside(target) as draft:
        draft.mkdir()
        write_tensors(draft / "model.safetensors", checkpoint.model)
        write_tensors(draft / "optimizer.safetensors", checkpoint.optimizer)
        if checkpoint.average:
            write_tensors(draft / "average.safetensors", checkpoint.average)
        (draft / "state.json").write_text(json.dumps(checkpoint.state, indent=1))
        sums = {path.name: _sha256(path) for path in sorted(draft.iterdir())}
        (draft / "checksums.json").write_text(json.dumps(sums, indent=1))
    for old in list_checkpoints(folder)[:-keep]:
        remove(old)
    return target


def list_checkpoints(folder: Path) -> list[Path]:
    """All finished checkpoints of a run, oldest first."""
    return sorted(path for path in folder.glob(f"{_PREFIX}*") if path.is_dir())


def read_checkpoint(path: Path) -> Checkpoint:
    """Read one checkpoint, checking every byte.

    Raises:
        ValueError: a file is missing or damaged; it is named.
    """
    try:
        sums = json.loads((path / "checksums.json").read_text())
    except (OSError, ValueError) as error:
        raise ValueError(
            f"checkpoint {path} is damaged: checksums.json can't be read ({error}); "
            "delete that folder to go on from the checkpoint before it"
        ) from error
    for name, expected in sums.items():
        if not (path / name).is_file() or _sha256(path / name) != expected:
            raise ValueError(
                f"checkpoint {path} is damaged: {name} is not what was written; "
                "delete that folder to go on from the checkpoint before it"
            )
    return Checkpoint(
        load_file(path / "model.safetensors"),
        load_file(path / "optimizer.safetensors"),
        json.loads((path / "state.json").read_text()),
        path,
        load_file(path / "average.safetensors") if "average.safetensors" in sums else {},
    )


def write_tensors(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write a safetensors file: contiguous, on the host, each tensor with memory of its own.

    Raises:
        OSError: the disk is full or not writable.
    """
    seen: set[int] = set()
    ready: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        plain = tensor.detach().to("cpu").contiguous()
        memory = plain.untyped_storage().data_ptr()
        ready[name] = plain.clone() if memory in seen else plain
        seen.add(memory)
    path.touch()
    mode = path.stat().st_mode
    try:
        save_file(ready, path, metadata={"format": "pt"})
    except SafetensorError as error:
        raise _as_os_error(error, path) from error
    path.chmod(mode)  # safetensors shuts out everybody else, whatever the user's umask says


def _as_os_error(error: SafetensorError, path: Path) -> OSError:
    """The error of the operating system that safetensors tells in words only."""
    number = re.search(r"os error (\d+)", str(error))
    return OSError(int(number[1]) if number else errno.EIO, str(error), str(path))


def _laid_out_like(parameter: Tensor, value: Tensor) -> Tensor:
    if value.shape != parameter.shape:
        return value
    return torch.empty_like(parameter, dtype=value.dtype, device=value.device).copy_(value)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
