"""Checkpoints: what is written is what is read, and a crash or a full disk leaves the ones before whole."""

from __future__ import annotations

import errno
import json
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from hone.training import Checkpoint, list_checkpoints, read_checkpoint, save_checkpoint, write_tensors

from .small import Small


def trained(kind: type[torch.optim.Optimizer], **options: Any) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model with convolutions in channels_last, and an optimizer after two steps."""
    torch.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2))
    model = model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimizer = kind(model.parameters(), **options)
    for _ in range(2):
        model(torch.randn(3, 3, 4, 4)).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
    return model, optimizer


OPTIMIZERS: list[tuple[type[torch.optim.Optimizer], dict[str, Any]]] = [
    (torch.optim.SGD, {"lr": 0.1, "momentum": 0.9}),
    (torch.optim.AdamW, {"lr": 0.1, "amsgrad": True}),
    (torch.optim.NAdam, {"lr": 0.1}),
    (torch.optim.ASGD, {"lr": 0.1}),
    (torch.optim.Rprop, {"lr": 0.1}),
    (torch.optim.Adafactor, {"lr": 0.1}),
    (torch.optim.RMSprop, {"lr": 0.1, "centered": True, "momentum": 0.5}),
]


@pytest.mark.parametrize(("kind", "options"), OPTIMIZERS, ids=lambda value: getattr(value, "__name__", ""))
def test_training_goes_on_bit_for_bit(
    kind: type[torch.optim.Optimizer], options: dict[str, Any], tmp_path: Path
) -> None:
    model, optimizer = trained(kind, **options)
    path = save_checkpoint(tmp_path, 2, Checkpoint.of(model, optimizer, {"update": 2}))
    other, other_optimizer = trained(kind, **options)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.zero_()
    checkpoint = read_checkpoint(path)
    checkpoint.restore(other, other_optimizer)
    assert checkpoint.state["update"] == 2
    for each, its in ((model, optimizer), (other, other_optimizer)):
        torch.manual_seed(5)
        each(torch.randn(3, 3, 4, 4)).square().mean().backward()
        its.step()
    for name, value in model.state_dict().items():
        assert torch.equal(value, other.state_dict()[name])
        assert value.stride() == other.state_dict()[name].stride()


def save(folder: Path, update: int, keep: int = 2) -> Path:
    model = Small()
    return save_checkpoint(
        folder, update, Checkpoint.of(model, torch.optim.SGD(model.parameters(), lr=1.0), {"n": update}), keep=keep
    )


def test_the_newest_are_kept(tmp_path: Path) -> None:
    for update in (5, 10, 15, 200):
        save(tmp_path, update)
    assert [path.name for path in list_checkpoints(tmp_path)] == ["update-00000015", "update-00000200"]
    save(tmp_path, 200)  # the same update once more, after a skipped attempt
    assert read_checkpoint(list_checkpoints(tmp_path)[-1]).state["n"] == 200


@pytest.mark.parametrize("file", ["model.safetensors", "optimizer.safetensors", "state.json", "checksums.json"])
@pytest.mark.parametrize("damage", ["cut", "flipped", "gone"])
def test_damage_is_named(tmp_path: Path, file: str, damage: str) -> None:
    path = save(tmp_path, 1)
    place = path / file
    content = bytearray(place.read_bytes())
    if damage == "gone":
        place.unlink()
    elif damage == "cut":
        place.write_bytes(content[: len(content) // 2])
    else:
        content[len(content) // 2] ^= 255
        place.write_bytes(content)
    with pytest.raises(ValueError, match=r"checkpoint .*update-00000001 is damaged: .*delete that folder"):
        read_checkpoint(path)


def test_nothing_is_pickled(tmp_path: Path) -> None:
    path = save(tmp_path, 1)
    assert sorted(file.name for file in path.iterdir()) == [
        "checksums.json", "model.safetensors", "optimizer.safetensors", "state.json",
    ]  # fmt: skip
    json.loads((path / "state.json").read_text())


FULL = """
import resource, signal, sys
from pathlib import Path
import torch
from hone.training import Checkpoint, save_checkpoint
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
model = torch.nn.Linear(200, 200)
try:
    save_checkpoint(Path(sys.argv[1]), 2, Checkpoint.of(model, torch.optim.SGD(model.parameters(), lr=1.0), {}))
except OSError as error:
    print(type(error).__name__, error.errno)
"""


def test_a_file_that_cannot_grow_leaves_the_checkpoint_before(tmp_path: Path) -> None:
    """The operating system itself refuses (a limit on the size of files, as a full disk would)."""
    save(tmp_path, 1)
    done = subprocess.run([sys.executable, "-c", FULL, str(tmp_path)], capture_output=True, text=True, check=True)
    assert done.stdout == f"OSError {errno.EFBIG}\n", done.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["update-00000001"]
    assert read_checkpoint(tmp_path / "update-00000001").state["n"] == 1
    assert resource.getrlimit(resource.RLIMIT_FSIZE) and signal.getsignal(signal.SIGXFSZ)


def test_shared_and_strided_tensors_are_written_whole(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    base = torch.arange(12.0).reshape(3, 4)
    tensors = {"whole": base, "same": base, "turned": base.t(), "row": base[1]}
    write_tensors(tmp_path / "t.safetensors", tensors)
    found = load_file(tmp_path / "t.safetensors")
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
