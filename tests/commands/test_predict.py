"""``hone predict RUN PATH...``: names, probabilities and numbers, from the run folder alone."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

import hone
from hone import cli
from hone.recipe import Run

from .made import CLASSES, flat_photos, prepared, write_table

Said = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(fit: Callable[..., Run], photos: Path) -> Run:
    return fit(photos, "--updates", "30", "--lr", "0.01", "--precision", "fp32")


def rows_of(file: Path) -> list[dict[str, str]]:
    with file.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_lines(run: Run, photos: Path, capsys: Said) -> None:
    assert cli.main(["predict", str(run.path), str(photos / "val"), "--batch-size", "4"]) == 0
    lines = [line.split("\t") for line in capsys.readouterr().out.splitlines()]
    assert [Path(path).name for path, _, _ in lines] == [path.name for path in sorted((photos / "val").rglob("*.png"))]
    assert all(label in CLASSES and 0 < float(confidence) <= 1 for _, label, confidence in lines)


def test_a_table_holds_every_probability(run: Run, photos: Path, tmp_path: Path) -> None:
    """What the plain model gives on the prepared photo."""
    paths = [str(photos / "val" / "bee" / "00.png"), str(photos / "val" / "ant")]
    assert cli.main(["predict", str(run.path), *paths, "--csv", str(tmp_path / "p.csv"), "--device", "cpu"]) == 0
    rows = rows_of(tmp_path / "p.csv")
    assert len(rows) == 6 and list(rows[0]) == ["path", "label", "confidence", *CLASSES]
    loaded = hone.load(run)
    with torch.no_grad():
        probs = loaded.model(prepared(rows[0]["path"], loaded.preprocessing)).softmax(1)[0].tolist()
    assert [float(rows[0][name]) for name in CLASSES] == pytest.approx(probs, abs=1e-5)
    assert rows[0]["label"] == CLASSES[probs.index(max(probs))]
    assert float(rows[0]["confidence"]) == pytest.approx(max(probs), abs=1e-5)


def test_labels_and_numbers(fit: Callable[..., Run], tmp_path: Path) -> None:
    names = flat_photos(tmp_path / "photos", 12)
    rows = [(f"photos/{name}", 1000 + k) for k, name in enumerate(names)]
    numbers = fit(write_table(tmp_path / "n.csv", [("path", "value"), *rows]), "--task", "regress")
    assert cli.main(["predict", str(numbers.path), str(tmp_path / "photos"), "--csv", str(tmp_path / "p.csv")]) == 0
    assert all(900 < float(row["value"]) < 1100 and row["confidence"] == "" for row in rows_of(tmp_path / "p.csv"))

    table = [("path", "label"), *((f"photos/{n}", ("x;y", "y", "x")[k % 3]) for k, n in enumerate(names))]
    labels = fit(write_table(tmp_path / "l.csv", table))
    assert cli.main(["predict", str(labels.path), str(tmp_path / "photos"), "--csv", str(tmp_path / "p.csv")]) == 0
    for row in rows_of(tmp_path / "p.csv"):
        assert row["label"] == ";".join(name for name in ("x", "y") if float(row[name]) > 0.5)


def test_what_cannot_be_read_is_named(run: Run, tmp_path: Path, capsys: Said) -> None:
    (tmp_path / "bad.jpg").write_text("no photo")
    words = ["predict", str(run.path), str(tmp_path / "bad.jpg"), "--csv", str(tmp_path / "p.csv")]
    assert cli.main(words) == 2
    assert "bad.jpg" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.jpg"]
    assert cli.main(["predict", str(run.path), str(tmp_path / "nothing")]) == 2
    assert "nothing" in capsys.readouterr().err
