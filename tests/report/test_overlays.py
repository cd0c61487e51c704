"""Pictures of label maps: what is up, what is left, in which colour; and the gallery that shows them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageColor

from hone.report import Case
from hone.report.cases import case_gallery, ends
from hone.report.overlays import COLORS, beside, three_planes, tint


def near(pixel: tuple[int, ...], color: str, by: int = 12) -> bool:
    return max(abs(a - b) for a, b in zip(pixel, ImageColor.getrgb(color), strict=True)) <= by


def colored(picture: np.ndarray, color: str) -> np.ndarray:
    """(n, 2): rows and columns of the line of a class."""
    return np.argwhere((np.abs(picture.astype(int) - ImageColor.getrgb(color)) <= 12).all(-1))


@pytest.fixture
def labels() -> np.ndarray:
    """Class 1 at the back left foot, class 2 at the front right top; both in every middle plane."""
    made = np.zeros((30, 30, 30), dtype=np.uint8)
    made[4:16, 4:16, 4:16] = 1
    made[14:26, 14:26, 14:26] = 2
    return made


def test_planes_are_seen_as_radiologists_see(labels: np.ndarray) -> None:
    image = np.random.default_rng(0).normal(0, 1, labels.shape).astype(np.float32)
    sheet = np.asarray(three_planes(image, labels, np.zeros_like(labels), (1.0, 1.0, 1.0), side=160))
    gap = 5
    assert sheet.shape == (2 * 160 + gap, 3 * 160 + 2 * gap, 3)
    for column in range(3):
        plane = sheet[:160, column * 165 : column * 165 + 160]
        first, second = (colored(plane, color).mean(0) for color in COLORS[:2])
        # The second class lies higher (axial: further to the front), and front and the patient's right are left.
        assert second[0] < first[0] - 20 and second[1] < first[1] - 20
    assert not len(colored(sheet[165:], COLORS[0])), "the prediction, which has nothing, is below"


def test_sides_are_as_long_as_they_are_in_mm() -> None:
    labels = np.zeros((8, 8, 8), dtype=np.uint8)
    labels[1:7, 1:7, 1:7] = 1
    sheet = np.asarray(three_planes(labels.astype(np.float32), labels, labels, (1.0, 1.0, 0.5), side=100))
    lit = [np.argwhere(sheet[:100, k * 104 : k * 104 + 100].max(-1) > 40) for k in range(3)]
    heights, widths = zip(*[np.ptp(places, axis=0).tolist() for places in lit], strict=True)
    assert heights[2] == pytest.approx(widths[2], abs=2)
    assert heights[0] == pytest.approx(widths[0] / 2, abs=3) and heights[1] == pytest.approx(widths[1] / 2, abs=3)


def test_nothing_labelled_and_nothing_but_one_value_can_be_drawn() -> None:
    blank = np.zeros((5, 6, 7), dtype=np.float32)
    sheet = three_planes(blank, blank.astype(np.uint8), blank.astype(np.uint8), (1.0, 1.0, 1.0), side=40)
    colours = np.asarray(sheet.convert("RGB"))
    assert min(sheet.size) > 0 and (np.ptp(colours, axis=-1) < 12).all()  # grey: nothing is tinted


def test_the_gallery_names_what_it_shows(tmp_path: Path, labels: np.ndarray) -> None:
    three_planes(labels.astype(np.float32), labels, labels, (1.0, 1.0, 1.0), side=40).save(tmp_path / "worst.png")
    cases = [
        Case("data/images/a.nii.gz", "worst", 0.5, {"liver": 0.5}, "worst.png"),
        Case("data/images/b.nii.gz", "best", 0.9, {"liver": 0.9}, "gone.png"),
    ]
    page = str(case_gallery(cases, ["liver", "<tumour>"], tmp_path))
    assert page.count("data:image/png") == 1 and "not here any more" in page
    assert "worst: 0.500 Dice" in page and "images/b.nii.gz" in page and "&lt;tumour&gt;" in page
    assert COLORS[0] in page and COLORS[1] in page
    assert case_gallery([], ["liver"], tmp_path) is None


def test_image_truth_and_prediction_stand_in_a_row() -> None:
    image = np.full((30, 60, 3), 90, dtype=np.uint8)
    truth, predicted = np.zeros((2, 30, 60), dtype=bool), np.zeros((2, 30, 60), dtype=bool)
    truth[1, 5:25, 5:25] = True
    predicted[0, 5:25, 35:55] = True
    sheet = np.asarray(beside(image, list(truth), list(predicted)))
    assert sheet.shape == (210, 3 * 420 + 16, 4)
    panels = [sheet[..., :3][:, k * 428 : k * 428 + 420] for k in range(3)]
    assert (panels[0] == 90).all() and (sheet[:, 420:428, 3] == 0).all()
    assert not len(colored(panels[1], COLORS[0])) and colored(panels[1], COLORS[1]).mean(0)[1] < 150
    assert not len(colored(panels[2], COLORS[1])) and colored(panels[2], COLORS[0]).mean(0)[1] > 270


def test_areas_that_reach_the_border_have_their_line_there() -> None:
    whole = np.asarray(tint(Image.new("RGB", (20, 10), "#202020"), [np.ones((10, 20), dtype=bool)]))
    line = (np.abs(whole.astype(int) - ImageColor.getrgb(COLORS[0])) <= 12).all(-1)
    assert line[0].all() and line[-1].all() and line[:, 0].all() and line[:, -1].all() and not line[4:6, 5:15].any()


def test_few_samples_are_shown_once_each() -> None:
    assert ends([]) == {} and ends([float("nan")]) == {} and ends([0.5]) == {0: "best"}
    assert ends([0.1 * k for k in range(8)]) == {
        0: "worst", 1: "worst 2", 2: "worst 3", 7: "best", 6: "best 2", 5: "best 3",
    }  # fmt: skip
    assert len(ends([0.3, 0.1, 0.2])) == 2
