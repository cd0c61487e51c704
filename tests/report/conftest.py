"""A made run folder, and a strict reader of pages."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path

import pytest
from PIL import Image

from hone.report import Best, Layer, Machine, Mistake, Result, class_scores

VOID = {"br", "hr", "img", "input", "link", "meta"}
CLASSES = ["daisy", "rose", "tulip"]
CONFUSION = [[8, 1, 1], [0, 7, 3], [0, 2, 8]]


@dataclass
class Outline(HTMLParser):
    """What a page holds; refuses a page whose elements are not properly nested."""

    elements: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    open: list[str] = field(default_factory=list)
    text: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__(convert_charrefs=True)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert len(dict(attrs)) == len(attrs), f"<{tag}> has an attribute twice"
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag, f"</{tag}> is out of place"

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.text.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    @property
    def words(self) -> str:
        return " ".join(" ".join(self.text).split())


def read_outline(page: str) -> Outline:
    outline = Outline()
    outline.feed(page)
    outline.close()
    assert outline.open == [], f"never closed: {outline.open}"
    return outline


@pytest.fixture
def outline() -> Callable[[str], Outline]:
    return read_outline


def metric_lines(updates: int = 40) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for u in range(1, updates + 1):
        rate = 1e-3 * min(1.0, u / 5)
        rows.append(
            {
                "kind": "train",
                "update": u,
                "attempt": u + 2,
                "epoch": u / 10,
                "loss": 2 * math.exp(-u / 20),
                "lr": {"backbone": rate / 10, "head": rate},
                "samples_per_second": 50.0 + u % 3,
                "grad_norm": 1.0 + 1 / u,
                "skipped": 2,
            }
        )
        if u % 10 == 0:
            metrics = {"loss": 1.5 * math.exp(-u / 20), "accuracy": 0.5 + u / 100}
            rows.append(
                {"kind": "eval", "update": u, "epoch": u / 10, "seconds": 1.0, "metrics": metrics, "best": True}
            )
    return rows


def full_result(photo: Path) -> Result:
    return Result(
        "classify",
        "accuracy",
        best=Best(40, 0.9),
        final={"loss": 0.2, "accuracy": 0.9},
        baselines={"always the largest class": 1 / 3, "linear probe": 0.8},
        epochs=4.0,
        updates=40,
        attempts=42,
        skipped=2,
        seconds=71.5,
        samples_per_second=50.5,
        precision="fp16",
        model="mobilenet_v2",
        weights="imagenet",
        data="photos",
        samples={"train": 120, "val": 30},
        confusion=CONFUSION,
        per_class=class_scores(CONFUSION, CLASSES),
        mistakes=[Mistake(str(photo), "rose", "tulip", 0.97), Mistake("gone/away.jpg", "tulip", "rose", 0.6)],
        trained=[Layer("features.18", 412_160), Layer("classifier", 3843)],
        frozen=[Layer(f"features.{i}", 1000 * (i + 1)) for i in range(18)],
        machine=Machine("NVIDIA T4", 8, "Linux-6.1", "3.12.1", {"torch": "2.11.0"}),
        command="hone fit photos --model mobilenet_v2",
        notes=["model      mobilenet_v2"],
    )


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run folder that lacks nothing."""
    folder = tmp_path / "my run"
    folder.mkdir()
    photo = tmp_path / "rose.jpg"
    Image.new("RGB", (64, 48), (200, 30, 60)).save(photo)
    full_result(photo).write(folder / "result.json")
    (folder / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metric_lines()))
    (folder / "classes.json").write_text(json.dumps(CLASSES))
    (folder / "preprocessing.json").write_text(json.dumps({"crop": 160, "mean": [0.485, 0.456, 0.406]}))
    rows = [
        {"name": "features.0.weight", "status": "copied", "reason": "", "shape": [32, 3, 3, 3]},
        {"name": "classifier.weight", "status": "new", "reason": "1000 outputs, 3 here", "shape": [3, 1280]},
    ]
    (folder / "transfer.json").write_text(json.dumps({"summary": "1 of 2 tensors copied", "tensors": rows}))
    (folder / "recipe.yaml").write_text("data: photos\nlr: 0.001\nloss:\n  class: CrossEntropyLoss\n")
    return folder
