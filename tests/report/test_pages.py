"""Every page: well formed, self-contained, safe from what users name things, small, readable in light and dark."""

from __future__ import annotations

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from hone.report import (
    Arm,
    Best,
    ClassScore,
    DemoResult,
    Layer,
    Mistake,
    Predictions,
    Result,
    compare_runs,
    write_comparison,
    write_demo_report,
    write_report,
)
from hone.report.markup import Markup, element, text_of
from hone.report.style import DARK, LIGHT, SHEET

Reader = Callable[[str], Any]
HOSTILE = '</style></script><script>alert(1)</script><img src=x onerror="alert(2)">"\'&{}'
#: Attributes that make a browser fetch something.
FETCHING = ("src", "href", "srcset", "data", "poster", "action", "xlink:href", "background")


def check(page: str, outline: Reader) -> Any:
    """What holds for every page, whatever is on it."""
    read = outline(page)
    assert page.startswith("<!doctype html>")
    assert {tag for tag, _ in read.elements}.isdisjoint({"script", "iframe", "object", "embed", "link", "base", "form"})
    for tag, attributes in read.elements:
        assert not any(name.startswith("on") for name in attributes), tag
        for name in FETCHING:
            value = attributes.get(name)
            assert value is None or value.startswith(("data:image/jpeg;base64,", "data:image/png;base64,")), (
                tag,
                value,
            )
        if tag == "img":
            assert attributes.get("alt")
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if tag == "th":
            assert attributes.get("scope") in ("row", "col")
        if style := attributes.get("style"):
            assert re.fullmatch(r"--w:(\d+(\.\d+)?)", style), style
    assert "@import" not in page and "url(" not in page
    assert not re.search(r"https?://", re.sub(r'alt="[^"]*"', "", page))
    assert [a["lang"] for a in read.all("html")] == ["en"] and len(read.all("h1")) == 1
    assert len(read.all("table")) == len(read.all("caption"))
    assert len(page.encode()) < 1_000_000
    return read


def rewrite(run: Path, **changes: Any) -> str:
    """The page of the run with a changed result."""
    dataclasses.replace(Result.read(run / "result.json"), **changes).write(run / "result.json")
    return write_report(run).read_text()


def test_the_page_of_a_whole_run(run: Path, outline: Reader) -> None:
    read = check(write_report(run).read_text(), outline)
    words = read.words
    assert "best accuracy, at update 40, epoch 4" in words
    assert (
        words.index("0.900")
        < words.index("How it learned")
        < words.index("Where it errs")
        < words.index("What to do next")
    )
    for said in (
        "2 of 42",
        "linear probe",
        "NVIDIA T4",
        "412 k",
        "1 min 12 s",
        "class: CrossEntropyLoss",
        "1 new, as the model",
        "1 of 2 tensors copied.",
    ):
        assert said in words, said
    captions = [svg["aria-label"] for svg in read.all("svg") if svg.get("aria-label")]
    names = ("accuracy", "Loss", "Learning rate of 2", "Samples", "Gradient", "Skipped")
    assert [text.split()[0].strip(",:") for text in captions] == [name.split()[0] for name in names]
    # One photo is there, the other is not, and the page says so.
    assert len(read.all("img")) == 1 and "could not be opened" in words and "gone/away.jpg" in words
    assert "--resume" not in words


def test_commands_survive_a_space_in_the_path(run: Path, outline: Reader) -> None:
    words = check(write_report(run).read_text(), outline).words
    assert f"hone predict '{run}' photo.jpg" in words and f"hone evaluate '{run}' photos" in words


def test_a_stopped_run_says_how_to_go_on(run: Path, outline: Reader) -> None:
    words = check(rewrite(run, interrupted=True), outline).words
    assert "stopped at update 40" in words and f"hone fit --resume '{run}'" in words


def test_a_killed_run_says_how_to_go_on(run: Path, outline: Reader) -> None:
    (run / "result.json").unlink()
    words = check(write_report(run).read_text(), outline).words
    assert "has not ended, or was killed. Its last known update is 40" in words and "--resume" in words


def test_a_run_without_evaluation_makes_nothing_up(tmp_path: Path, outline: Reader) -> None:
    Result("classify", "accuracy").write(tmp_path / "result.json")
    words = check(write_report(tmp_path).read_text(), outline).words
    assert "no evaluation yet" in words and "0.000" not in words


def test_the_page_can_be_written_again(run: Path) -> None:
    first, second = write_report(run), write_report(run)
    assert first == second == run / "report.html"
    assert not list(run.glob("*.part"))


def test_names_cannot_break_the_page(run: Path, outline: Reader) -> None:
    (run / "classes.json").write_text(json.dumps([HOSTILE, "rose", "tulip"]))
    (run / "recipe.yaml").write_text(f"data: {HOSTILE}\n")
    (run / "preprocessing.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    row = dict.fromkeys(("name", "status", "reason"), HOSTILE) | {"shape": [HOSTILE]}
    (run / "transfer.json").write_text(json.dumps({"summary": HOSTILE, "tensors": [row]}))
    lines = [
        {"kind": "train", "update": 1, "loss": 1.0, "lr": {HOSTILE: 0.1, "b": 0.2}},
        {"kind": "eval", "update": 1, "metrics": {HOSTILE: 0.5}, "best": True},
    ]
    (run / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = rewrite(
        run,
        metric=HOSTILE,
        best=Best(1, 0.5),
        baselines={HOSTILE: 0.4},
        precision=HOSTILE,
        model=HOSTILE,
        weights=HOSTILE,
        data=HOSTILE,
        samples={HOSTILE: 3},
        per_class=[ClassScore(HOSTILE, 0.1, 0.2, 0.3, 4)],
        mistakes=[Mistake(f"{HOSTILE}.jpg", HOSTILE, HOSTILE, 0.9)],
        trained=[Layer(HOSTILE, 3)],
        command=HOSTILE,
        notes=[HOSTILE],
    )
    read = check(page, outline)
    assert read.words.count("<script>alert(1)</script>") > 12


def test_a_hostile_comparison_and_demo(run: Path, tmp_path: Path, outline: Reader) -> None:
    (run / "recipe.yaml").write_text(json.dumps({HOSTILE: HOSTILE}))
    twin = tmp_path / "<b>twin"
    twin.mkdir()
    for name in ("result.json", "metrics.jsonl"):
        (twin / name).write_bytes((run / name).read_bytes())
    (twin / "recipe.yaml").write_text(json.dumps({HOSTILE: "other"}))
    check(write_comparison(tmp_path / "c.html", compare_runs([run, twin])).read_text(), outline)
    arms = [Arm(HOSTILE, [[0.1, 0.2]], HOSTILE)]
    demo = DemoResult([0, 2], 2, arms, main=HOSTILE, rival=HOSTILE, examples=[([[0.0, 1.0]], HOSTILE)])
    check(write_demo_report(tmp_path / "d.html", demo).read_text(), outline)


def test_the_check_itself_notices_bad_pages(outline: Reader) -> None:
    whole = '<!doctype html>\n<html lang="en"><head><title>t</title></head><body><h1>h</h1>{}</body></html>'
    check(whole.format("fine"), outline)
    for bad in (
        "<p>", "</p>", "<b><i></b></i>", '<img src="data:image/png;base64,AA">', '<img alt="x" src="x.png">',
        "<script></script>", '<a href="http://x.org">x</a>', '<p onclick="x">x</p>', "<svg></svg>",
        '<p style="color:red">x</p>', "<table><tr><th>x</th></tr></table>",
    ):  # fmt: skip
        with pytest.raises(AssertionError):
            check(whole.format(bad), outline)


def test_what_was_measured_on_the_test_data_says_so(run: Path, outline: Reader) -> None:
    words = check(rewrite(run, measured_on="test", final={"accuracy": 0.77}), outline).words
    assert "and the test data at 0.770 ." in words and "The best weights on the test data." in words
    assert "7 of 30 were wrong on the test data" in words


def test_without_baselines_the_largest_class_is_one(run: Path, outline: Reader) -> None:
    words = check(rewrite(run, baselines={}, confusion=[[8, 1, 3], [0, 7, 1], [0, 2, 8]]), outline).words
    assert "always the largest class 0.400" in words
    words = check(rewrite(run, baselines={}, metric="macro_f1", final={"macro_f1": 0.7}), outline).words
    assert "always" not in words and "macro_f1 0.700" in words


def test_regression_draws_a_scatter(run: Path, outline: Reader) -> None:
    pairs = Predictions([float(i) for i in range(2000)], [i * 1.1 for i in range(2000)])
    page = rewrite(
        run, task="regress", metric="mae", higher_is_better=False, best=Best(40, 3.5), confusion=None, per_class=None,
        predictions=pairs, mistakes=[], baselines={"always the mean": 9.0},
    )  # fmt: skip
    read = check(page, outline)
    assert any("2000 points" in (svg.get("aria-label") or "") for svg in read.all("svg"))
    assert "always the mean" in read.words and read.words.index("always the mean") < read.words.index("this run")
    assert "Where it errs" not in read.words


def test_many_labels_are_sorted_by_their_score(run: Path, outline: Reader) -> None:
    scores = [ClassScore(f"label{i}", 0.5, 0.5, ((7 * i) % 40) / 40, 10) for i in range(40)] + [
        ClassScore("never", math.nan, math.nan, math.nan, 0)
    ]
    words = check(rewrite(run, task="multilabel", confusion=None, per_class=scores, mistakes=[]), outline).words
    shown = re.findall(r"label\d+", words.split("the weakest first")[-1])
    assert shown == [row.name for row in sorted(scores[:-1], key=lambda row: row.f1)] and "never – – –" in words


def test_hundreds_of_classes_are_a_picture(run: Path, outline: Reader) -> None:
    draw = np.random.default_rng(0)
    counts = (np.eye(400, dtype=int) * 40 + (draw.random((400, 400)) > 0.995)).tolist()
    (run / "classes.json").write_text(json.dumps([f"class {i}" for i in range(400)]))
    read = check(rewrite(run, confusion=counts, per_class=None), outline)
    assert any("400 classes" in (img["alt"] or "") for img in read.all("img"))
    assert "Most often confused" in read.words


def test_a_long_run_of_a_big_model_stays_small(run: Path, outline: Reader) -> None:
    groups = [f"blocks.{i} (decay)" for i in range(26)]
    with (run / "metrics.jsonl").open("w") as lines:
        for u in range(1, 5_001):
            rates = {name: 1e-3 * 0.8**i * (1 - u / 5_001) for i, name in enumerate(groups)}
            row = {"kind": "train", "update": u, "attempt": u, "loss": 1 / u, "lr": rates, "samples_per_second": u % 9}
            lines.write(json.dumps(row) + "\n")
            if u % 10 == 0:
                metrics = {"loss": 1.0, "accuracy": 0.5}
                lines.write(json.dumps({"kind": "eval", "update": u, "metrics": metrics, "best": False}) + "\n")
    rows = [{"name": f"blocks.{i}.weight", "status": "copied", "shape": [9]} for i in range(5000)]
    (run / "transfer.json").write_text(json.dumps({"tensors": rows}))
    photo = run.parent / "noise.jpg"
    noise = np.random.default_rng(0).integers(0, 255, (900, 700, 3), dtype=np.uint8)
    Image.fromarray(noise).save(photo, quality=95)
    page = rewrite(run, mistakes=[Mistake(str(photo), "a", "b", 0.9)] * 24)
    read = check(page, outline)
    assert len(read.all("img")) == 24 and "the first 600 of 5,000" in read.words


def contrast(a: str, b: str) -> float:
    """WCAG 2.2: (L1 + 0.05) / (L2 + 0.05) of the relative luminances."""

    def luminance(colour: str) -> float:
        parts = np.array([int(colour[i : i + 2], 16) for i in (1, 3, 5)]) / 255
        linear = np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    dark, bright = sorted((luminance(a), luminance(b)))
    return (bright + 0.05) / (dark + 0.05)


def mixed(name: str, palette: dict[str, str], alpha: float) -> str:
    over = np.array([int(palette["card"][i : i + 2], 16) for i in (1, 3, 5)])
    ink = np.array([int(part) for part in palette[name].split()])
    return "#" + "".join(f"{round(v):02x}" for v in alpha * ink + (1 - alpha) * over)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_everything_can_be_read_in_both_themes(theme: str) -> None:
    palette = dict(re.findall(r"--(\w+):([^;]+);", theme))
    for ground in ("paper", "card", "wash"):
        assert contrast(palette["ink"], palette[ground]) > 7
        assert contrast(palette["soft"], palette[ground]) > 4.5
    assert contrast(palette["c1"], palette["paper"]) > 4.5  # links
    assert contrast(palette["warn"], palette["warnwash"]) > 4.5
    for colour in range(1, 9):
        assert contrast(palette[f"c{colour}"], palette["card"]) > 3, colour
    depths = dict(re.findall(r"rgb\(var\(--(hit|miss)\)/calc\(var\(--w\)\*([.\d]+)\)\)", SHEET))
    assert depths.keys() == {"hit", "miss"}
    for name, depth in depths.items():
        assert contrast(palette["ink"], mixed(name, palette, float(depth))) > 4.5, name


def test_contrast_agrees_with_the_standards_own_values() -> None:
    assert contrast("#000000", "#ffffff") == pytest.approx(21.0)
    assert contrast("#777777", "#ffffff") == pytest.approx(4.48, abs=0.01)


def test_only_markup_is_not_escaped() -> None:
    assert element("p", "<b>", Markup("<i>"), title='"') == '<p title="&quot;">&lt;b&gt;<i></p>'
    assert text_of([1, 2.5, None, ["<"]]) == "12.5&lt;"
