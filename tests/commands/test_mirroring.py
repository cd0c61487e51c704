"""Whether training mirrors photos: what is stated, what class names say, and what a probe sees."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from hone import cli
from hone.data import Examples, Preprocessing, TrainBatches
from hone.models import import_name
from hone.recipe import Run, mirroring

from .made import class_folders, write_table

Fit = Callable[..., Run]
SIDE = 32


def saws(angle: float, generator: np.random.Generator) -> Image.Image:
    """Stripes whose brightness rises in one direction and falls at once: mirrored, they are those of another angle."""
    y, x = np.mgrid[:SIDE, :SIDE]
    along = x * np.cos(angle) + y * np.sin(angle) + generator.uniform(0, 8)
    grey = 20 + 25 * (along % 8) + generator.normal(0, 6, (SIDE, SIDE))
    return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")


def stripes(root: Path, counts: Sequence[int], angles: dict[str, float], seed: int = 0) -> Path:
    """``root/{train,val}/CLASS/*.png``."""
    generator = np.random.default_rng(seed)
    for part, count in zip(("train", "val"), counts, strict=True):
        for name, angle in angles.items():
            (root / part / name).mkdir(parents=True)
            for k in range(count):
                saws(angle, generator).save(root / part / name / f"{k:02}.png")
    return root


@pytest.fixture
def fit(own_folder: Path, tmp_path: Path) -> Fit:
    """fit(DATA, "--option", ...): one update of a small network with a source."""
    torch.manual_seed(3)
    source = tmp_path / "source.pth"
    torch.save(import_name("own_parts:normed", what="model")().state_dict(), source)
    words = ["--model", "own_parts:normed", "--weights", str(source), "--image-size", str(SIDE), "--device", "cpu"]

    def succeed(data: Path, *more: str) -> Run:
        out = tmp_path / f"run{len(list(tmp_path.glob('run*')))}"
        length = () if "probe" in more else ("--updates", "1")
        assert cli.main(["fit", str(data), *words, *length, *more, "--out", str(out)]) == 0
        return Run(out)

    return succeed


def note(run: Run) -> str:
    return next((text for text in run.result.notes if text.startswith("mirrored: ")), "")


EAST_WEST = {"east": 0.0, "west": np.pi}
NORTH_SOUTH = {"north": np.pi / 2, "south": -np.pi / 2}


@pytest.mark.parametrize("strategy", ["finetune", "probe"])
def test_photos_that_look_like_another_class_in_a_mirror_stay_as_they_are(
    fit: Fit, tmp_path: Path, strategy: str
) -> None:
    found = fit(stripes(tmp_path / "data", (16, 4), EAST_WEST), "--strategy", strategy, "--probe-views", "2")
    assert found.recipe.hflip is False
    as_they_are, mirrored = map(int, re.findall(r"(\d+)%", note(found)))
    assert as_they_are > 75 and mirrored < 25 and "(--hflip to mirror them)" in note(found)


def test_photos_that_a_mirror_does_not_change_are_mirrored(fit: Fit, tmp_path: Path) -> None:
    found = fit(stripes(tmp_path / "data", (16, 4), NORTH_SOUTH), "--strategy", "finetune")
    assert found.recipe.hflip is True and not note(found)


def test_what_is_stated_is_done(fit: Fit, tmp_path: Path) -> None:
    data = stripes(tmp_path / "data", (16, 4), EAST_WEST)
    assert fit(data, "--strategy", "finetune", "--hflip").recipe.hflip is True
    other = stripes(tmp_path / "other", (16, 4), NORTH_SOUTH)
    stated = fit(other, "--strategy", "finetune", "--no-hflip")
    assert stated.recipe.hflip is False and not note(stated)


def test_without_a_probe_the_question_is_put_to_some_photos_only(
    fit: Fit, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mirroring, "_stored", lambda job: pytest.fail("features that nothing asks for"))
    found = fit(stripes(tmp_path / "data", (16, 4), EAST_WEST), "--strategy", "finetune", "--head", "random")
    assert found.recipe.hflip is False


def test_names_of_sides_are_enough(fit: Fit, tmp_path: Path) -> None:
    root = tmp_path / "data"
    for part, count in (("train", 4), ("val", 2)):
        class_folders(root / part, (count, count), classes=("turn_left", "turn_right"))
    found = fit(root, "--strategy", "none")
    assert found.recipe.hflip is False and "mirrored: no photos: class names speak of sides" in note(found)
    assert fit(root, "--strategy", "none", "--hflip").recipe.hflip is True


def test_numbers_that_a_mirror_turns_round(fit: Fit, tmp_path: Path) -> None:
    """How far the stripes lean, which a mirror makes negative."""
    generator, root = np.random.default_rng(0), tmp_path / "photos"
    root.mkdir()
    leaning = generator.uniform(-0.9, 0.9, 60)
    for k, angle in enumerate(leaning):
        saws(np.pi / 2 + angle, generator).save(root / f"{k:02}.png")
    table = write_table(root / "labels.csv", [("path", "value"), *((f"{k:02}.png", x) for k, x in enumerate(leaning))])
    found = fit(table, "--strategy", "finetune", "--task", "regress")
    assert found.recipe.hflip is False and "mirrored: no photos" in note(found)


@pytest.mark.parametrize("on_device", [False, True])
@pytest.mark.parametrize("augment", ["light", "strong"])
def test_batches_mirror_half_of_the_photos_or_none(tmp_path: Path, on_device: bool, augment: str) -> None:
    ramp = np.repeat(np.arange(0, 240, 6, dtype=np.uint8)[None, :, None], 30, 0).repeat(3, 2)
    Image.fromarray(ramp).save(tmp_path / "ramp.png")
    examples = Examples([str(tmp_path / "ramp.png")] * 40, torch.arange(40) % 2, ["left", "right"])

    def mirrored(examples: Examples, hflip: bool | None, augment: str = augment) -> int:
        """Of 40 photos that get brighter to the right, how many get darker."""
        options = {"batch_size": 40, "cache": 0, "hflip": hflip, "on_device": on_device}
        batches = TrainBatches(examples, Preprocessing(image_size=16), augment=augment, **options)  # type: ignore[arg-type]
        images = next(batches.batches())[0]
        return int((images[:, 0, :, :4].mean((1, 2)) > images[:, 0, :, -4:].mean((1, 2))).sum())

    neutral = Examples(examples.paths, examples.targets, ["daisy", "rose"])
    assert 8 <= mirrored(neutral, None) == mirrored(neutral, True) <= 32
    if augment == "light":  # RandAugment may invert what it is given
        assert mirrored(neutral, False) == mirrored(examples, None) == 0
    assert mirrored(neutral, False) != mirrored(neutral, True)
