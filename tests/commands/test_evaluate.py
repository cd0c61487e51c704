"""``hone evaluate RUN DATA`` and ``hone.load``: from the run folder alone, wherever it lies."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import hone
from hone import cli
from hone.recipe import Run
from hone.training import read_record

from .made import class_folders, flat_photos, prepared, write_table


@pytest.fixture(scope="module")
def moved(fit: Callable[..., Run], photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run folder that lies elsewhere than where it was written; nothing is left there."""
    data = tmp_path_factory.mktemp("gone") / "photos"
    shutil.copytree(photos, data)
    run = fit(data, "--class-weights", "auto")
    place = tmp_path_factory.mktemp("elsewhere") / "model"
    shutil.move(run.path, place)
    shutil.rmtree(data)
    return Run(place)


def evaluate(run: Run, data: Path, out: Path, *words: str) -> dict[str, float]:
    assert cli.main(["evaluate", str(run.path), str(data), *words, "--json", str(out), "--device", "cpu"]) == 0
    metrics: dict[str, float] = json.loads(out.read_text())
    return metrics


def test_a_moved_run_measures_what_it_measured(
    moved: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Val photos again: what training said of its best weights."""
    found = evaluate(moved, photos, tmp_path / "m.json")
    said = capsys.readouterr().out
    assert "11 photos" in said and f"{found['accuracy']:.4f}" in said
    for name in ("accuracy", "balanced_accuracy", "f1"):
        assert found[name] == pytest.approx(moved.result.final[name], rel=1e-6)
    best = max(line["metrics"]["accuracy"] for line in read_record(moved.path) if line["kind"] == "eval")
    assert found["accuracy"] == pytest.approx(best)


def test_parts_of_the_data(moved: Run, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    counts = {"train": 24, "val": 11, "all": 35}
    for split, count in counts.items():
        evaluate(moved, photos, tmp_path / "m.json", "--split", split)
        assert f"{count} photos" in capsys.readouterr().out
    assert cli.main(["evaluate", str(moved.path), str(photos), "--split", "test"]) == 2
    assert "split" in capsys.readouterr().err


def test_classes_are_matched_by_name(moved: Run, photos: Path, tmp_path: Path) -> None:
    """bee and cat alone: their places among the run's classes count, not their own."""
    data = class_folders(tmp_path / "data", (4, 4), seed=5, classes=("bee", "cat"))
    found = evaluate(moved, data, tmp_path / "m.json")
    loaded = hone.load(moved)
    rows = hone.data.read_examples(data, val_fraction=0)
    hits = 0
    for path, label in zip(rows.train.paths, rows.train.targets.tolist(), strict=True):
        logits = loaded.model(prepared(path, loaded.preprocessing))
        hits += loaded.classes[int(logits.argmax())] == rows.classes[label]
    assert found["accuracy"] == pytest.approx(hits / 8)


def test_classes_that_the_run_does_not_know(moved: Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = class_folders(tmp_path / "data", (2, 2), classes=("ant", "wasp"))
    assert cli.main(["evaluate", str(moved.path), str(data)]) == 2
    assert "wasp" in capsys.readouterr().err


def test_regression_and_several_labels(fit: Callable[..., Run], tmp_path: Path) -> None:
    names = flat_photos(tmp_path / "photos", 12)
    numbers = write_table(
        tmp_path / "n.csv", [("path", "value"), *((f"photos/{n}", 100 * k) for k, n in enumerate(names))]
    )
    labels = write_table(
        tmp_path / "l.csv",
        [("path", "label"), *((f"photos/{n}", ("a;b", "b", "a")[k % 3]) for k, n in enumerate(names))],
    )
    run = fit(numbers, "--task", "regress", "--val-fraction", "0.5")
    found = evaluate(run, numbers, tmp_path / "m.json")
    assert 0 < found["mae"] < 1200 and found["rmse"] >= found["mae"]
    run = fit(labels, "--val-fraction", "0.5")
    assert 0 < evaluate(run, labels, tmp_path / "m.json")["map"] <= 1


def test_flips_of_what_has_no_place_are_refused(moved: Run, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words in (["evaluate", str(moved.path), str(photos)], ["predict", str(moved.path), str(photos / "val")]):
        assert cli.main([*words, "--flips"]) == 2
        assert "flips mirrors what is segmented (segment, segment-volume), and the run's task is classify" in (
            capsys.readouterr().err
        )


def test_no_run(tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["evaluate", str(tmp_path), str(photos)]) == 2
    assert "recipe.yaml" in capsys.readouterr().err


def test_a_run_without_weights_yet(moved: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(moved.path, tmp_path / "run")
    run = Run(tmp_path / "run")
    run.best.unlink()
    assert torch.equal(
        hone.load(run).model(torch.ones(1, 3, 32, 32)), hone.load(run.path).model(torch.ones(1, 3, 32, 32))
    )
    run.last.unlink()
    with pytest.raises(ValueError, match="no weights yet"):
        hone.load(run)


def test_a_format_that_this_device_lacks_is_no_hindrance(fit: Callable[..., Run], photos: Path, tmp_path: Path) -> None:
    """A run trained in TF32 on a GPU, used on a CPU."""
    run = fit(photos)
    recipe = run.path / "recipe.yaml"
    recipe.write_text(recipe.read_text().replace("precision: auto", "precision: tf32"))
    assert cli.main(["evaluate", str(run.path), str(photos), "--device", "cpu"]) == 0
    assert cli.main(["predict", str(run.path), str(photos / "val"), "--device", "cpu"]) == 0


def test_others_may_read_the_weights(fit: Callable[..., Run], photos: Path) -> None:
    run = fit(photos)
    assert run.best.stat().st_mode == run.report.stat().st_mode
