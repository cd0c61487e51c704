"""``hone fit``: every layout of data, every kind of part, by the command line and on real photos made here."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import hone
from hone.recipe import Run
from hone.training import read_record

from .made import CLASSES, class_folders, differing, flat_photos, write_table

Fit = Callable[..., Run]


@pytest.fixture(scope="module")
def base(fit: Fit, photos: Path) -> Run:
    """A run with nothing stated but its size."""
    return fit(photos)


# What a run leaves behind


def test_the_folder_holds_what_is_promised(base: Run) -> None:
    names = {path.name for path in base.path.iterdir()}
    assert names >= {
        "recipe.yaml", "metrics.jsonl", "best.safetensors", "last.safetensors", "classes.json", "preprocessing.json",
        "result.json", "report.html", "checkpoints",
    }  # fmt: skip
    assert any(name.startswith("events.out.tfevents") for name in names)
    assert json.loads((base.path / "classes.json").read_text()) == list(CLASSES)
    assert not [name for name in names if name.endswith(".draft")]
    page = base.report.read_text()
    assert "<html" in page and 'src="http' not in page and "@import" not in page


def test_metrics_lines_say_what_happened(base: Run) -> None:
    lines = read_record(base.path)
    train, evals = ([line for line in lines if line["kind"] == kind] for kind in ("train", "eval"))
    assert [line["update"] for line in evals] == [3, 6]  # 24 photos in batches of 8: an epoch is 3 updates
    assert {"loss", "lr", "samples_per_second", "grad_norm", "skipped", "attempt", "epoch"} <= set(train[-1])
    assert train[-1]["update"] == train[-1]["attempt"] == 6 and train[-1]["epoch"] == 2
    values = [line["metrics"]["accuracy"] for line in evals]
    assert [line["best"] for line in evals] == [True, values[1] > values[0]]
    assert base.result.best is not None and base.result.best.value == max(values)
    assert base.result.samples == {"train": 24, "val": 11}


def test_best_loads_strictly_into_the_plain_model(base: Run, own_folder: Path) -> None:
    import own_parts  # type: ignore[import-not-found]

    model = own_parts.normed()
    model[-1] = nn.Linear(64, 3)
    model.load_state_dict(load_file(base.best), strict=True)
    loaded = hone.load(base)
    assert loaded.classes == list(CLASSES) and loaded.task == "classify" and not loaded.model.training
    inputs = torch.randn(2, 3, 32, 32)
    assert torch.equal(loaded.model(inputs), model.eval()(inputs))


@pytest.mark.parametrize("name", ["mobilenet_v2", "timm:test_resnet"])
def test_best_loads_strictly_into_the_library_model(fit: Fit, photos: Path, name: str) -> None:
    run = fit(photos, "--model", name, "--no-pretrained", "--updates", "1", "--train", "head")
    if name.startswith("timm:"):
        import timm

        model = timm.create_model(name.removeprefix("timm:"), num_classes=3)
    else:
        from torchvision.models import mobilenet_v2

        model = mobilenet_v2(num_classes=3)
    state = load_file(run.best)
    model.load_state_dict(state, strict=True)
    assert all(x.dtype == torch.float32 for x in state.values() if x.is_floating_point())


# Layouts of data


def test_class_folders_alone_are_divided(fit: Fit, tmp_path: Path) -> None:
    run = fit(class_folders(tmp_path / "data", (10, 10, 5)), "--val-fraction", "0.4")
    assert run.result.samples == {"train": 15, "val": 10}


def test_a_test_part_gives_the_last_word(fit: Fit, photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    class_folders(data / "train", (4, 4, 4))
    class_folders(data / "val", (2, 2, 2), seed=1)
    class_folders(data / "test", (3, 3, 1), seed=2)
    run = fit(data)
    assert run.result.samples == {"train": 12, "val": 6, "test": 7} and run.result.measured_on == "test"
    assert run.result.confusion is not None and sum(map(sum, run.result.confusion)) == 7


def test_a_table_of_one_label(fit: Fit, tmp_path: Path) -> None:
    names = flat_photos(tmp_path / "photos", 12)
    table = write_table(
        tmp_path / "t.csv", [("path", "label"), *((f"photos/{n}", CLASSES[k % 3]) for k, n in enumerate(names))]
    )
    run = fit(table)
    assert run.recipe.task == "classify" and run.classes == list(CLASSES)


def test_a_table_of_several_labels(fit: Fit, tmp_path: Path) -> None:
    names = flat_photos(tmp_path / "photos", 12)
    rows = [(f"photos/{n}", ("red;dark", "green", "dark")[k % 3]) for k, n in enumerate(names)]
    run = fit(write_table(tmp_path / "t.csv", [("path", "label"), *rows]), "--augment", "strong")
    assert run.recipe.task == "multilabel" and run.recipe.metric == "map"
    assert run.classes == ["dark", "green", "red"]
    assert run.result.per_class is not None and len(run.result.per_class) == 3


def test_regression_is_in_the_units_of_the_target(fit: Fit, tmp_path: Path) -> None:
    """Brightness counted in thousands: the plain model predicts it, though a network starts near 0."""
    generator = np.random.default_rng(0)
    rows: list[tuple[object, ...]] = [("path", "value")]
    (tmp_path / "photos").mkdir()
    for k in range(24):
        level = int(generator.integers(30, 226))
        Image.new("RGB", (32, 32), (level, level, level)).save(tmp_path / "photos" / f"{k}.png")
        rows.append((f"photos/{k}.png", 5000 + 100 * level))
    run = fit(
        write_table(tmp_path / "t.csv", rows), "--task", "regress", "--updates", "60", "--lr", "0.02",
        "--model", "own_parts:plain", "--augment", "none", "--eval-every", "20", "--head-multiplier", "1",
    )  # fmt: skip
    spread = 100 * 65  # about the standard deviation of the targets
    assert run.result.best is not None and run.result.metric == "mae" and run.result.best.value < spread / 3
    loaded = hone.load(run)
    for level in (60, 200):
        pixels = torch.full((1, 3, 32, 32), level / 255)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (loaded.preprocessing.mean, loaded.preprocessing.std))
        assert loaded.model((pixels - mean) / std).item() == pytest.approx(5000 + 100 * level, abs=spread / 2)


def test_without_validation_the_last_weights_are_the_result(fit: Fit, tmp_path: Path) -> None:
    run = fit(class_folders(tmp_path / "data", (6, 6, 6)), "--val-fraction", "0")
    assert run.result.best is None and run.result.samples == {"train": 18} and not run.best.exists()
    assert list(run.checkpoints.iterdir()), "a checkpoint each epoch, evaluation or not"
    assert hone.load(run).classes == list(CLASSES)


# Transfer


def test_the_head_alone_trains(fit: Fit, photos: Path, base: Run) -> None:
    """Bit for bit, the running mean and variance of every layer too; and the head does move."""
    run = fit(photos, "--from", str(base.path), "--train", "head", "--lr", "0.1")
    source, after = load_file(base.best), load_file(run.last)
    assert [name for name in source if not torch.equal(source[name], after[name])] == ["9.bias", "9.weight"]
    assert {name for name in source if "running" in name} == {
        f"{place}.running_{part}" for place in (1, 4) for part in ("mean", "var")
    }
    audit = json.loads((run.path / "transfer.json").read_text())
    assert {row["name"]: row["status"] for row in audit["tensors"]}["0.weight"] == "copied"


def test_everything_trains_where_nothing_is_frozen(fit: Fit, photos: Path, base: Run) -> None:
    """The counterpart that shows that the comparison above can fail."""
    run = fit(photos, "--from", str(base.path), "--train", "all", "--norm", "follow", "--lr", "0.1")
    assert set(differing(base.best, run.last)) == set(load_file(run.last))


def test_a_run_is_a_source_for_other_classes(fit: Fit, base: Run, tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", (6, 6), classes=("wasp", "fly"))
    run = fit(data, "--from", str(base.path), "--train", "last:1")
    assert run.classes == ["fly", "wasp"]
    assert load_file(run.best)["9.weight"].shape == (2, 64)
    assert torch.equal(load_file(run.best)["0.weight"], load_file(base.best)["0.weight"])
    assert hone.load(run).model(torch.zeros(1, 3, 32, 32)).shape == (1, 2)


def test_a_run_of_another_model_is_rebuilt_from_its_own(fit: Fit, photos: Path) -> None:
    first = fit(photos, "--model", "own_parts:normed", "--model.width", "4")
    second = fit(photos, "--from", str(first.path))
    assert hone.load(second).model[0].weight.shape[0] == 4
    assert second.recipe.model.name == "own_parts:normed"


def test_weights_from_a_nested_pickle(fit: Fit, photos: Path, tmp_path: Path) -> None:
    import own_parts

    source = own_parts.normed()
    torch.save(
        {"epoch": 3, "state_dict": {f"module.{k}": v for k, v in source.state_dict().items()}}, tmp_path / "w.pth"
    )
    run = fit(photos, "--weights", str(tmp_path / "w.pth"), "--train", "head")
    assert torch.equal(load_file(run.last)["0.weight"], source.state_dict()["0.weight"])
