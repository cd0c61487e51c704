"""A user's own Dataset and DataLoader as the data of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset, TensorDataset

import hone


class Blobs(Dataset[tuple[Tensor, int]]):
    """Small images whose brightness is their class."""

    classes = ("dark", "bright")

    def __init__(self, count: int) -> None:
        self.targets = [row % 2 for row in range(count)]

    def __len__(self) -> int:
        return len(self.targets)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        generator = torch.Generator().manual_seed(row)
        return torch.randn(3, 8, 8, generator=generator) + 2.0 * self.targets[row], self.targets[row]


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4))


def options(tmp_path: Path) -> dict[str, object]:
    return {"model": network(), "updates": 12, "lr": 0.01, "batch_size": 8, "out": str(tmp_path / "run"), "quiet": True}


def test_a_dataset_is_learned(tmp_path: Path) -> None:
    run = hone.finetune(Blobs(64), val=Blobs(31), **options(tmp_path))
    assert run.classes == ["dark", "bright"]
    assert run.result.best is not None and run.result.best.value > 0.9
    assert run.result.samples == {"train": 64, "val": 31}
    assert sum(map(sum, run.result.confusion or [])) == 31
    assert "Blobs (handed over in Python)" in run.recipe.data


def test_a_loader_is_learned(tmp_path: Path) -> None:
    train, val = DataLoader(Blobs(64), batch_size=8, shuffle=True), DataLoader(Blobs(30), batch_size=8)
    run = hone.finetune(train, val=val, **options(tmp_path))
    assert run.result.best is not None and run.result.best.value > 0.9


def test_classes_that_nobody_names_are_asked_for(tmp_path: Path) -> None:
    data = TensorDataset(torch.randn(4, 3, 8, 8), torch.tensor([0, 1, 0, 1]))
    with pytest.raises(ValueError, match="classes must be given: TensorDataset has no attribute classes"):
        hone.finetune(data, **options(tmp_path))
    assert not (tmp_path / "run").exists()


def test_what_augments_itself_is_not_mirrored(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="hflip must be left out for data that augments itself, got False"):
        hone.finetune(Blobs(8), hflip=False, **options(tmp_path))


def test_val_with_a_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="val and classes go with a Dataset or DataLoader"):
        hone.finetune("photos", val=Blobs(4), **options(tmp_path))


def test_what_is_kept_is_never_worse_than_the_probe(tmp_path: Path) -> None:
    """A rate that ruins the network: the weights kept are the probe's, and the report can say so."""
    ruin = {**options(tmp_path), "lr": 50.0, "optimizer": "SGD", "max_norm": 0.0, "strategy": "none"}
    run = hone.finetune(Blobs(64), val=Blobs(31), head="probe", **ruin)
    assert run.result.best is not None
    assert run.result.best.value == run.result.baselines["linear probe"]
    assert run.result.best.update == 0
    assert not torch.equal(*(load_file(path)["4.weight"] for path in (run.best, run.last)))
    # Where averages are tried, one of equal accuracy and smaller loss may take the probe's place.
    averaged = hone.finetune(
        Blobs(64), val=Blobs(31), head="probe", **ruin | {"strategy": "finetune", "out": str(tmp_path / "averaged")}
    )
    assert averaged.result.best is not None
    assert averaged.result.best.value >= averaged.result.baselines["linear probe"]


def test_a_network_that_was_handed_over_is_handed_over_again(tmp_path: Path) -> None:
    run = hone.finetune(Blobs(64), val=Blobs(31), **options(tmp_path))
    with pytest.raises(
        ValueError, match=r"network .*Sequential can't be built from the recipe alone .*hone.load\(run, model=NETWORK\)"
    ):
        hone.load(run)
    loaded = hone.load(run, model=network())
    assert loaded.classes == ["dark", "bright"]
    assert torch.equal(loaded.model.state_dict()["4.weight"], load_file(run.best)["4.weight"])
