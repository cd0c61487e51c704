"""Checkpoints as they come: each is audited rightly, or refused with one clear line and the model left as it was."""

from __future__ import annotations

import argparse
import io
import os
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor, nn

from hone.transfer import copy_weights, read_weights

State = dict[str, Tensor]


class Small(nn.Module):
    """Two convolutions with batch norms, and a head."""

    def __init__(self, num_classes: int = 4, channels: int = 3, width: int = 8) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, 2 * width, 3)
        self.bn2 = nn.BatchNorm2d(2 * width)
        self.fc = nn.Linear(2 * width, num_classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.bn1(self.conv1(x)).relu()
        return self.fc(self.bn2(self.conv2(x)).relu().mean((2, 3)))


def source(**options: int) -> State:
    torch.manual_seed(7)
    state = Small(**options).state_dict()
    return {name: torch.rand_like(t) + 0.5 if t.is_floating_point() else t + 3 for name, t in state.items()}


def prefixed(state: State, prefix: str) -> State:
    return {prefix + name: tensor for name, tensor in state.items()}


def without(state: State, *parts: str) -> State:
    return {name: tensor for name, tensor in state.items() if not name.startswith(parts)}


def renamed(state: State) -> State:
    """The same network in another library: other names, the same order."""
    names = {"conv1": "stem.0", "bn1": "stem.1", "conv2": "body.0", "bn2": "body.1", "fc": "classifier"}
    return {f"{names[name.split('.')[0]]}.{name.split('.')[1]}": tensor for name, tensor in state.items()}


def saved(content: Any) -> bytes:
    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


class Harmful:
    """What runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, ("touch /tmp/hone-was-here",)


EMA = {name: tensor * 2 for name, tensor in source().items() if tensor.is_floating_point()}
#: name -> (content of a .pth file, the summary, a tensor of the model and what it must equal)
GOOD: dict[str, tuple[Any, str, tuple[str, Tensor] | None]] = {
    "plain": (source(), "16 of 16 tensors copied", ("conv1.weight", source()["conv1.weight"])),
    "nested state_dict": ({"epoch": 3, "state_dict": source()}, "16 of 16 tensors copied", None),
    "nested model beside an optimizer": (
        {"model": source(), "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}, "param_groups": [{"lr": 0.1}]}},
        "16 of 16 tensors copied",
        ("fc.weight", source()["fc.weight"]),
    ),
    "nested twice": ({"checkpoint": {"state_dict": source()}}, "16 of 16 tensors copied", None),
    "averaged weights go first": (
        {"state_dict": source(), "state_dict_ema": EMA},
        "14 of 16 tensors copied",
        ("conv1.weight", EMA["conv1.weight"]),
    ),
    "averaged weights only": ({"model_ema": EMA}, "14 of 16 tensors copied", ("fc.bias", EMA["fc.bias"])),
    "torch's AveragedModel": (
        {"n_averaged": torch.tensor(5), **prefixed(source(), "module.")},
        "16 of 16 tensors copied, 1 of the source not used",
        None,
    ),
    "DataParallel": (prefixed(source(), "module."), "16 of 16 tensors copied", None),
    "compiled and distributed": (prefixed(source(), "module._orig_mod."), "16 of 16 tensors copied", None),
    "Lightning": ({"state_dict": prefixed(source(), "model."), "lr_schedulers": []}, "16 of 16 tensors copied", None),
    "a backbone without a head": (
        prefixed(without(source(), "fc"), "backbone."),
        "14 of 16 tensors copied, output layer new (16 -> 4)",
        ("bn2.running_var", source()["bn2.running_var"]),
    ),
    "self-supervised, a projector beside it": (
        prefixed(without(source(), "fc"), "encoder.") | {"projector.weight": torch.ones(3, 3)},
        "14 of 16 tensors copied, 1 of the source not used, output layer new (16 -> 4)",
        None,
    ),
    "other classes": (
        source(num_classes=10),
        "14 of 16 tensors copied, output layer new (16 -> 4)",
        ("conv2.weight", source(num_classes=10)["conv2.weight"]),
    ),
    "one class": (source(num_classes=1), "14 of 16 tensors copied, output layer new (16 -> 4)", None),
    "grey": (
        source(channels=1),
        "16 of 16 tensors copied, 1 of them resized",
        ("conv1.weight", source(channels=1)["conv1.weight"].expand(-1, 3, -1, -1) / 3),
    ),
    "multispectral": (source(channels=6), "16 of 16 tensors copied, 1 of them resized", None),
    "another library, the same order": (
        renamed(source()),
        "16 of 16 tensors copied by order and shape",
        ("bn2.running_mean", renamed(source())["body.1.running_mean"]),
    ),
    "another library, other classes": (
        renamed(source(num_classes=9)),
        "14 of 16 tensors copied by order and shape, output layer new (16 -> 4)",
        None,
    ),
    "half precision": (
        {name: t.half() if t.is_floating_point() else t for name, t in source().items()},
        "16 of 16 tensors copied",
        None,
    ),
    "double precision": (
        {name: t.double() if t.is_floating_point() else t for name, t in source().items()},
        "16 of 16 tensors copied",
        None,
    ),
    "parameters, not tensors": (
        {name: nn.Parameter(t) if t.is_floating_point() else t for name, t in source().items()},
        "16 of 16 tensors copied",
        None,
    ),
    "an old file without counters": (
        {name: t for name, t in source().items() if "num_batches" not in name},
        "14 of 16 tensors copied",
        ("conv1.weight", source()["conv1.weight"]),
    ),
    "partial, a small layer is missing": (
        without(source(), "conv1."),
        "14 of 16 tensors copied",
        ("conv2.weight", source()["conv2.weight"]),
    ),
    "a namespace of options beside it": (
        {"args": argparse.Namespace(lr=0.1), "model": source()},
        "16 of 16 tensors copied",
        None,
    ),
    "not contiguous": (
        {name: t.to(memory_format=torch.channels_last) if t.ndim == 4 else t for name, t in source().items()},
        "16 of 16 tensors copied",
        ("conv2.weight", source()["conv2.weight"]),
    ),
}


@pytest.mark.parametrize("case", GOOD)
def test_good_checkpoints(case: str, tmp_path: Path) -> None:
    content, summary, expected = GOOD[case]
    file = tmp_path / "model.pth"
    file.write_bytes(saved(content))
    model = Small()
    audit = copy_weights(model, read_weights(file))
    assert audit.summary() == summary
    assert {row.name for row in audit.rows if row.status != "skipped"} == set(model.state_dict())
    assert all(row.reason for row in audit.rows if row.status != "copied")
    if expected is not None:
        name, value = expected
        torch.testing.assert_close(model.state_dict()[name], value)


def broken(name: str, value: Tensor) -> State:
    return {**source(), name: value}


#: name -> (the bytes of the file, what the one line must say)
BAD: dict[str, tuple[Callable[[], bytes], str]] = {
    "wrong architecture": (lambda: saved({"blocks.0.weight": torch.ones(5, 5)}), "only 0 % .* another architecture"),
    "other widths": (lambda: saved(source(width=6)), r"only 0 % .* shape \(6, 3, 3, 3\) in the source"),
    "too partial": (lambda: saved(without(source(), "conv2")), r"only 1\d % .* conv2.weight: not in the source"),
    "two networks that look alike": (
        lambda: saved(dict(reversed(renamed(source()).items()))),
        "only 2 % .* another architecture",
    ),
    "code": (lambda: saved({"state_dict": source(), "hook": Harmful()}), "holds more than tensors .*system"),
    "code in a bare pickle": (lambda: pickle.dumps(Harmful()), "holds more than tensors"),
    "a whole model": (lambda: saved(Small()), "holds more than tensors .*Small.* save its state_dict"),
    "a numpy object": (lambda: saved({"best": np.float64(1.0), "model": source()}), "holds more than tensors .*numpy"),
    "text": (lambda: b"404: not found, sorry", "can't be read"),
    "a page of the web": (lambda: b"<!DOCTYPE html><html><body>404</body></html>", "can't be read"),
    "empty": (lambda: b"", "can't be read.* empty"),
    "cut off": (lambda: saved(source())[:3000], "can't be read"),
    "a list": (lambda: saved([torch.ones(2)]), "holds no weights: a list"),
    "a tensor": (lambda: saved(torch.ones(2)), "holds no weights: a Tensor"),
    "no tensors": (lambda: saved({"epoch": 3}), "holds no weights"),
    "an optimizer only": (lambda: saved({"optimizer": {"state": {0: {"m": torch.ones(1)}}}}), "holds no weights"),
    "two models": (lambda: saved({"first": source(), "second": source()}), "several .*first, second.* entry="),
    "NaN": (
        lambda: saved(broken("conv2.weight", torch.full((16, 8, 3, 3), float("nan")))),
        "conv2.weight must be finite",
    ),
    "infinity": (lambda: saved(broken("bn1.bias", torch.full((8,), float("inf")))), "bn1.bias must be finite"),
    "whole numbers for weights": (
        lambda: saved(broken("conv2.weight", torch.ones(16, 8, 3, 3, dtype=torch.int8))),
        "conv2.weight: int8 in the source, float32 in the model",
    ),
    "complex numbers": (
        lambda: saved(broken("conv2.weight", torch.ones(16, 8, 3, 3, dtype=torch.complex64))),
        "conv2.weight: complex64 in the source",
    ),
    "sparse": (lambda: saved(broken("conv2.weight", torch.ones(16, 8, 3, 3).to_sparse())), "conv2.weight: sparse"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_checkpoints_are_refused_and_the_model_stays(case: str, tmp_path: Path) -> None:
    content, message = BAD[case]
    file = tmp_path / "model.pth"
    file.write_bytes(content())
    model = Small()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(ValueError, match=message) as error:
        copy_weights(model, read_weights(file))
    assert "\n" not in str(error.value)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


def test_hostile_code_never_ran(tmp_path: Path) -> None:
    trace = tmp_path / "ran"

    class Touch:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {trace}",)

    for name, content in {"a.pth": saved({"w": Touch()}), "b.pt": pickle.dumps({"w": Touch()})}.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(ValueError, match="could run its code"):
            read_weights(tmp_path / name)
    assert not trace.exists()
    torch.load(tmp_path / "a.pth", weights_only=False)  # the file does harm where it is trusted
    assert trace.exists()


def test_safetensors(tmp_path: Path) -> None:
    save_file(prefixed(source(), "module."), tmp_path / "model.safetensors")
    (tmp_path / "renamed.bin").write_bytes((tmp_path / "model.safetensors").read_bytes())
    for name in ("model.safetensors", "renamed.bin"):
        assert copy_weights(Small(), read_weights(tmp_path / name)).summary() == "16 of 16 tensors copied"
    (tmp_path / "bad.safetensors").write_bytes(b"junk")
    with pytest.raises(ValueError, match=r"bad\.safetensors can't be read as safetensors"):
        read_weights(tmp_path / "bad.safetensors")
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "model.safetensors").read_bytes()[:900])
    with pytest.raises(ValueError, match="can't be read as safetensors"):
        read_weights(tmp_path / "cut.safetensors")


def test_an_entry_by_name(tmp_path: Path) -> None:
    file = tmp_path / "two.pth"
    torch.save({"first": source(), "second": {"model": EMA}}, file)
    assert torch.equal(read_weights(file, entry="second.model")["fc.bias"], EMA["fc.bias"])
    with pytest.raises(ValueError, match=r"no entry 'third'.*'first', 'second.model'"):
        read_weights(file, entry="third")
    with pytest.raises(FileNotFoundError, match="there is no checkpoint file"):
        read_weights(tmp_path / "none.pth")


def test_skip_minimum_and_what_they_refuse() -> None:
    model = Small()
    before = model.fc.weight.clone()
    audit = copy_weights(model, source(), skip=["head", "bn*"])
    assert torch.equal(model.fc.weight, before)
    assert [row.reason for row in audit.rows if row.source is None and row.name == "fc.bias"][:1] == [
        "left as it is, as asked"
    ]
    assert audit.count("new") == 2 + 10 and audit.share == 1.0
    with pytest.raises(ValueError, match="'nothing' matches no"):
        copy_weights(model, source(), skip=["nothing"])
    with pytest.raises(ValueError, match="minimum"):
        copy_weights(model, source(), minimum=1.5)
    partial = copy_weights(Small(), without(source(), "conv2"), minimum=0)
    assert partial.share < 0.3 and partial.count("new") == 2
    with torch.device("meta"):
        empty = Small()
    with pytest.raises(ValueError, match="meta"):
        copy_weights(empty, source())


def test_the_target_keeps_its_own_dtype_and_format() -> None:
    model = Small().to(torch.bfloat16).to(memory_format=torch.channels_last)
    copy_weights(model, source())
    assert model.conv2.weight.dtype == torch.bfloat16
    assert model.conv2.weight.is_contiguous(memory_format=torch.channels_last)
    assert model.conv2.weight.requires_grad
    torch.testing.assert_close(model.conv2.weight.float(), source()["conv2.weight"], atol=4e-3, rtol=4e-3)


def test_audit_as_json() -> None:
    content = copy_weights(Small(), source(num_classes=9)).to_json()
    rows = {row["name"]: row for row in content["tensors"]}
    assert content["summary"] == "14 of 16 tensors copied, output layer new (16 -> 4)"
    assert rows["fc.weight"]["status"] in ("new", "skipped")
    assert rows["conv1.weight"] == {
        "name": "conv1.weight",
        "status": "copied",
        "reason": "",
        "shape": [8, 3, 3, 3],
        "source": "conv1.weight",
    }
