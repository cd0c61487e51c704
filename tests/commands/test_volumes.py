"""``hone fit``, ``evaluate`` and ``predict`` on volumes, as a user types them."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel
import numpy as np
import pytest
import torch
from torch.nn import functional as F

import hone
from hone import cli
from hone.precision import Precision
from hone.recipe import Run
from hone.recipe.kinds import kind_of
from hone.recipe.kinds.volume_plan import multiples_of
from hone.recipe.kinds.volume_prediction import batch_within
from hone.recipe.kinds.volumes import window_for
from hone.recipe.prediction import Asked
from hone.report import Result
from hone.training import sliding_window

from .killing import killed_run
from .made import differing
from .made_volumes import OBLIQUE, balls, save, volume_data

Said = pytest.CaptureFixture[str]
#: A network of a few thousand numbers.
TINY = ("--patch-size", "16", "--model.channels", "[4, 8]", "--model.strides", "[2]", "--device", "cpu")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return volume_data(tmp_path_factory.mktemp("volumes"))


@pytest.fixture(scope="module")
def fit_volumes(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """fit_volumes(DATA, "--option", "value", ...): a run that succeeds."""

    def fit(data: Path, *words: str) -> Run:
        out = tmp_path_factory.mktemp("runs") / "run"
        length = () if "--updates" in words else ("--updates", "8")
        assert cli.main(["fit", str(data), "--out", str(out), *length, *words]) == 0
        return Run(out)

    return fit


@pytest.fixture(scope="module")
def run(fit_volumes: Callable[..., Run], data: Path) -> Run:
    """A run that has learned what a ball is."""
    return fit_volumes(data, *TINY, "--updates", "60", "--lr", "0.02", "--eval-every", "30")


def test_the_task_is_seen_and_everything_is_in_the_run_folder(run: Run) -> None:
    recipe, result = run.recipe, run.result
    assert recipe.task == result.task == "segment-volume" and recipe.metric == "mean_dice"
    assert recipe.model.name == "monai:UNet" and recipe.model.options["channels"] == [4, 8]
    assert (recipe.patch_size, recipe.spacing) == ("16x16x16", "1x1x1")
    assert run.classes == ["background", "1"]
    preprocessing = json.loads((run.path / "preprocessing.json").read_text())
    assert preprocessing["orientation"] == "RAS" and preprocessing["channels"][0]["method"] == "zscore"
    assert result.best is not None and result.best.value > 0.5
    assert set(result.final) == {"loss", "mean_dice", "dice", "iou", "nsd_1mm"}
    assert result.samples == {"train": 5, "val": 2}


def test_the_report_shows_the_worst_and_the_best(run: Run) -> None:
    result = run.result
    assert [case.rank for case in result.cases] == ["worst", "best"]
    assert result.cases[0].value <= result.cases[1].value == pytest.approx(result.cases[1].scores["1"])
    mean = sum(case.value for case in result.cases) / 2
    assert mean == pytest.approx(result.final["mean_dice"], abs=1e-6)
    page = run.report.read_text()
    assert "The worst cases and the best" in page and page.count("data:image/png") >= 2
    assert result.per_class is not None and 0 <= (result.per_class[0].surface or -1) <= 1


def test_evaluate_says_what_the_result_says(run: Run, data: Path, tmp_path: Path, capsys: Said) -> None:
    assert cli.main(["evaluate", str(run.path), str(data), "--device", "cpu", "--json", str(tmp_path / "m.json")]) == 0
    found, expected = json.loads((tmp_path / "m.json").read_text()), run.result.final
    assert "2 volumes" in capsys.readouterr().out
    assert found == {name: pytest.approx(expected[name], abs=1e-6) for name in ("loss", "mean_dice", "dice", "iou")}


def test_evaluate_refuses_what_the_run_does_not_know(run: Run, tmp_path: Path, capsys: Said) -> None:
    three = volume_data(tmp_path / "three", 1, 1, classes=2)
    assert cli.main(["evaluate", str(run.path), str(three)]) == 2
    assert "labels must be 0 to 1 for the 2 classes" in capsys.readouterr().err
    image, label = balls((12, 12, 12), 0)
    save(tmp_path / "more" / "images" / "a.nii.gz", np.stack([image, image], axis=-1))
    save(tmp_path / "more" / "labels" / "a.nii.gz", label)
    assert cli.main(["evaluate", str(run.path), str(tmp_path / "more")]) == 2
    assert "volumes must have the 1 channels that the model was trained on, got 2" in capsys.readouterr().err


def expected_labels(run: Run, file: Path) -> np.ndarray:
    """By nibabel, torch and MONAI: RAS, the run's spacing, z-score, windows, back to the file's voxels."""
    from monai.inferers import sliding_window_inference

    loaded = hone.load(run)
    source = nibabel.load(file)
    closest = nibabel.as_closest_canonical(source)
    ras = torch.from_numpy(np.asarray(closest.dataobj, dtype=np.float64))
    ras = ((ras - ras.mean()) / ras.std(correction=0)).float()[None, None]
    spacing = nibabel.affines.voxel_sizes(closest.affine)
    size = tuple(
        round(n * mm / to) for n, mm, to in zip(closest.shape, spacing, loaded.preprocessing.spacing, strict=True)
    )
    volume = F.interpolate(ras, size=size, mode="trilinear", align_corners=False).half().float()
    with torch.no_grad():
        window = loaded.preprocessing.patch_size
        logits = sliding_window_inference(volume, window, 4, loaded.model, 0.5, mode="gaussian")
    back = F.interpolate(logits, size=closest.shape, mode="trilinear", align_corners=False)[0].argmax(0)
    orientation = nibabel.io_orientation(source.affine)
    inverse = nibabel.orientations.ornt_transform(np.array([[0, 1], [1, 1], [2, 1]]), orientation)
    return nibabel.orientations.apply_orientation(back.numpy(), inverse)


@pytest.mark.parametrize(
    "affine", [np.eye(4), OBLIQUE, np.diag([2.0, -2.0, -2.0, 1.0])], ids=["ras", "oblique", "coarse"]
)
def test_predictions_lie_in_the_inputs_own_space(run: Run, tmp_path: Path, affine: np.ndarray) -> None:
    """Smaller than a window, larger, turned over, anisotropic: the labels of the plain model, voxel by voxel."""
    image, truth = balls((13, 26, 17), 77)
    file = save(tmp_path / "new.nii.gz", 100 + 10 * image, affine)
    assert cli.main(["predict", str(run.path), str(file), "--out", str(tmp_path / "labels"), "--device", "cpu"]) == 0
    found = nibabel.load(tmp_path / "labels" / "new.nii.gz")
    assert found.shape == image.shape and np.array_equal(found.affine, nibabel.load(file).affine)
    assert found.get_data_dtype() == np.uint8
    labels = np.asarray(found.dataobj)
    assert (labels != expected_labels(run, file)).mean() < 1e-3
    if affine is not OBLIQUE:
        return
    overlap = 2 * (labels * truth).sum() / (labels.sum() + truth.sum())
    assert overlap > 0.5


def test_memory_changes_the_number_of_windows_and_nothing_else(run: Run, tmp_path: Path, capsys: Said) -> None:
    file = save(tmp_path / "new.nii.gz", balls((40, 26, 30), 5)[0])
    words = ["predict", str(run.path), str(file), "--device", "cpu", "--out"]
    assert cli.main([*words, str(tmp_path / "a")]) == 0
    assert cli.main([*words, str(tmp_path / "b"), "--memory", "5MB"]) == 0
    a, b = (np.asarray(nibabel.load(tmp_path / name / "new.nii.gz").dataobj) for name in "ab")
    assert a.any() and (a != b).mean() < 1e-4
    assert cli.main([*words, str(tmp_path / "c"), "--memory", "1kB"]) == 2
    assert "memory must be at least" in capsys.readouterr().err and not (tmp_path / "c").exists()


def test_only_another_grid_of_the_file_takes_memory_again() -> None:
    asked = Asked(torch.device("cpu"), Precision("fp32", "cpu"), memory="1GB")
    window, shape = (64, 64, 64), (1, 512, 512, 512)
    # 3 classes: 604 MB of sums and slabs, 110 MB a window.
    assert batch_within(asked, window, shape, shape[1:], 3) == 3
    with pytest.raises(ValueError, match="memory must be at least 1257 MiB for this volume, got '1GB'"):
        batch_within(asked, window, shape, (511, 512, 512), 3)


def test_flips_take_the_mean_over_mirrored_volumes(run: Run, tmp_path: Path) -> None:
    """Of a volume and its mirror image the label maps are mirror images, which they are not without flips."""
    image, _ = balls((18, 16, 17), 3)
    noisy = 0.25 * image + np.random.default_rng(1).normal(0, 0.5, image.shape).astype(np.float32)
    for name, voxels in (("plain", noisy), ("mirror", noisy[::-1])):
        save(tmp_path / "in" / f"{name}.nii.gz", np.ascontiguousarray(voxels))
    labels = {}
    for name, words in (("once", ()), ("flips", ("--flips",))):
        out = tmp_path / name
        assert cli.main(["predict", str(run.path), str(tmp_path / "in"), "--out", str(out), *words]) == 0
        plain, mirror = (np.asarray(nibabel.load(out / f"{k}.nii.gz").dataobj) for k in ("plain", "mirror"))
        labels[name] = (plain != mirror[::-1]).mean()
    assert labels["flips"] < 1e-3 < labels["once"]


def test_an_evaluation_with_flips_mirrors_every_axis(run: Run, data: Path, tmp_path: Path) -> None:
    words = ["evaluate", str(run.path), str(data), "--device", "cpu", "--json", str(tmp_path / "m.json")]
    found = []
    for more in ((), ("--flips",)):
        assert cli.main([*words, *more]) == 0
        found.append(json.loads((tmp_path / "m.json").read_text()))
    loaded, kind = hone.load(run), kind_of("segment-volume")
    inference = kind.inference(run.recipe, loaded.preprocessing, loaded.classes)
    volume = torch.randn(1, 1, 16, 16, 24)
    with torch.inference_mode():
        logits = inference.mirrored((0, 1, 2)).infer(loaded.model, volume)
        mirror = inference.mirrored((0, 1, 2)).infer(loaded.model, volume.flip(2, 4)).flip(2, 4)
        assert torch.allclose(logits, mirror, atol=1e-4)
        assert not torch.allclose(inference.infer(loaded.model, volume), logits, atol=1e-4)
        # Of a size that no window has: as the windows of a prediction, mirrored each.
        odd = torch.randn(1, 1, 9, 14, 20)
        window = window_for(odd.shape[2:], loaded.preprocessing.patch_size, multiples_of(run.recipe.model))
        expected = sliding_window(loaded.model, odd, window, overlap=loaded.preprocessing.overlap, flips=(0, 1, 2))
        assert torch.allclose(inference.mirrored((0, 1, 2)).infer(loaded.model, odd), expected, atol=1e-5)
    assert found[0]["loss"] != found[1]["loss"]


def test_predict_says_what_does_not_fit(run: Run, tmp_path: Path, capsys: Said) -> None:
    image, _ = balls((13, 14, 15), 1)
    two = save(tmp_path / "two.nii.gz", np.stack([image, image], axis=-1))
    assert cli.main(["predict", str(run.path), str(two), "--out", str(tmp_path / "o")]) == 2
    assert "two.nii.gz must have the 1 channels that the run was trained on, got 2" in capsys.readouterr().err
    assert cli.main(["predict", str(run.path), str(two)]) == 2
    assert "--out FOLDER" in capsys.readouterr().err


#: A network of the user's own, with dropout.
OWN_NETWORK = """
from torch import nn


def network():
    body = [nn.Conv3d(1, 6, 3, padding=1), nn.InstanceNorm3d(6), nn.ReLU(), nn.Dropout3d(0.2)]
    return nn.Sequential(*body, nn.Conv3d(6, 2, 1))
"""
#: A run that takes long enough to be killed, with all that chance decides.
LONG = (
    "--model", "own_volumes:network", "--patch-size", "12", "--device", "cpu", "--updates", "40", "--batch-size", "2",
    "--accumulate", "2", "--augment", "strong", "--lr", "0.01", "--checkpoint-minutes", "1e-6", "--eval-every", "20",
)  # fmt: skip


def test_killed_and_resumed_with_other_workers_is_the_same_run(
    fit_volumes: Callable[..., Run], data: Path, own_folder: Path, tmp_path: Path
) -> None:
    (own_folder / "own_volumes.py").write_text(OWN_NETWORK)
    whole = fit_volumes(data, *LONG)
    killed = killed_run(data, LONG, tmp_path / "killed", own_folder)
    assert cli.main(["fit", "--resume", str(killed.path), "--workers", "0", "--cache", "0"]) == 0
    assert differing(whole.last, killed.last) == [] and differing(whole.best, killed.best) == []
    one, other = (run.result.final for run in (whole, killed))
    assert one == other


def test_the_recipe_repeats_the_run(run: Run, tmp_path: Path) -> None:
    words = ["fit", "--config", str(run.path / "recipe.yaml"), "--updates", "3", "--out"]
    for name in ("a", "b"):
        assert cli.main([*words, str(tmp_path / name)]) == 0
    assert differing(tmp_path / "a" / "last.safetensors", tmp_path / "b" / "last.safetensors") == []


def test_another_task_starts_from_it(run: Run, fit_volumes: Callable[..., Run], tmp_path: Path, capsys: Said) -> None:
    data = volume_data(tmp_path / "two", 4, 2, classes=2)
    other = fit_volumes(data, "--from", str(run.path), "--updates", "2", "--device", "cpu")
    assert "output layer new" in capsys.readouterr().out
    assert other.classes == ["background", "1", "2"] and other.recipe.patch_size == run.recipe.patch_size
    assert hone.load(other).model(torch.zeros(1, 1, 16, 16, 16)).shape[1] == 3


def test_modalities_and_voxels_that_count_nowhere(fit_volumes: Callable[..., Run], tmp_path: Path) -> None:
    for k in range(4):
        image, label = balls((14, 14, 14), k)
        label[:3] = 2
        for place in (0, 1):
            save(tmp_path / "imagesTr" / f"b{k}_{place:04}.nii.gz", image * (1 - 2 * place))
        save(tmp_path / "labelsTr" / f"b{k}.nii.gz", label)
    content = {"channel_names": {"0": "T1", "1": "T2"}, "labels": {"background": 0, "ball": 1, "ignore": 2}}
    (tmp_path / "dataset.json").write_text(json.dumps(content))
    run = fit_volumes(tmp_path, *TINY, "--updates", "2")
    assert run.recipe.ignore_index == 2 and run.classes == ["background", "ball"]
    assert [c.name for c in run.preprocessing.channels] == ["T1", "T2"]
    assert 0 <= run.result.final["mean_dice"] <= 1
    assert run.result.per_class is not None
    assert run.result.per_class[0].support == sum(
        int((np.asarray(nibabel.load(file).dataobj) == 1).sum()) for file in _validated(run, tmp_path)
    )


def _validated(run: Run, data: Path) -> list[Path]:
    """The label files of the part that the run held out: those whose images its cases name."""
    names = {Path(case.path).name[:2] for case in run.result.cases}
    return [data / "labelsTr" / f"{name}.nii.gz" for name in names]


def test_whole_volumes_are_classified(fit_volumes: Callable[..., Run], tmp_path: Path, capsys: Said) -> None:
    for k in range(12):
        image, _ = balls((12, 12, 12), k)
        name = "bright" if k % 2 else "dark"
        part = "val" if k >= 8 else "train"
        save(tmp_path / "data" / part / name / f"{k}.nii.gz", image if k % 2 else -image, OBLIQUE)
    words = ("--model", "monai:resnet10", "--model.widen_factor", "0.125", "--device", "cpu", "--lr", "0.003")
    run = fit_volumes(tmp_path / "data", *words, "--updates", "20")
    assert run.recipe.task == "classify-volume" and run.classes == ["bright", "dark"]
    assert run.result.best is not None and run.result.best.value == 1.0 and run.result.confusion == [[2, 0], [0, 2]]
    table = tmp_path / "p.csv"
    assert cli.main(["predict", str(run.path), str(tmp_path / "data" / "val"), "--csv", str(table)]) == 0
    lines = table.read_text().splitlines()
    assert lines[0] == "path,label,confidence,bright,dark" and len(lines) == 5
    assert all(line.split(",")[1] in line.split(",")[0] for line in lines[1:])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "monai:UNt"), "did you mean UNet"),
        (("--patch-size", "8x8"), "patch_size must be three numbers above 0"),
        (("--patch-size", "8.5"), "patch_size must be whole numbers"),
        (("--spacing", "1x0x1"), "spacing must be three numbers above 0"),
        (
            ("--patch-size", "16x9x16", *TINY[2:]),
            "patch_size must be multiples of 2x2x2 for this network, got '16x9x16'",
        ),
        (("--model.channel", "[4, 8]"), "does not take these options"),
        (("--metric", "accuracy"), "metric 'accuracy' is not known"),
        (("--hflip",), "hflip mirrors volumes with augment strong only, got augment light"),
    ],
)
def test_what_is_wrong_is_said_before_anything_is_written(
    data: Path, tmp_path: Path, capsys: Said, words: tuple[str, ...], message: str
) -> None:
    assert cli.main(["fit", str(data), "--updates", "2", "--out", str(tmp_path / "run"), *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_cache_that_is_too_small_is_said(data: Path, tmp_path: Path, capsys: Said) -> None:
    words = ["fit", str(data), *TINY, "--updates", "1", "--out", str(tmp_path / "run"), "--cache", "20kB"]
    assert cli.main(words) == 0
    assert "GB, of which 20kB are kept" in capsys.readouterr().out


def test_labels_without_images_are_all_named(tmp_path: Path, capsys: Said) -> None:
    volume_data(tmp_path / "data", 3, 1)
    for k in (0, 2):
        (tmp_path / "data" / "train" / "images" / f"case{k}.nii.gz").unlink()
    assert cli.main(["fit", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert "case0.nii.gz" in said and "case2.nii.gz" in said and not (tmp_path / "run").exists()


def test_without_nibabel_it_says_what_to_install(data: Path, capsys: Said, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nibabel", None)
    monkeypatch.setenv("HONE_CACHE", os.environ["HONE_CACHE"] + "/none")
    assert cli.main(["fit", str(data)]) == 2
    assert "pip install 'torch-hone[volumes]'" in capsys.readouterr().err


def test_an_interrupted_result_has_no_pictures(run: Run) -> None:
    """The record of a run can be read without its pictures, and the page says that they are gone."""
    text = run.result.to_json()
    assert Result.from_json(text) == run.result
