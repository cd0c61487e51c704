"""What a user can get wrong: one line on stderr that names it, exit code 2, and nothing written."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image

import hone
from hone import cli
from hone.recipe import Run
from hone.training import list_checkpoints, read_record

from .conftest import small_words
from .made import class_folders

Fails = Callable[..., str]


@pytest.fixture
def fails(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Fails:
    """fails(DATA, "--option", ...): the one line that a run ends with, which must leave no trace."""

    def run(data: Path | str, *words: str) -> str:
        out = tmp_path / "out"
        capfd.readouterr()
        assert cli.main(small_words(data, out, *words)) == 2
        said = capfd.readouterr()
        assert not out.exists()
        assert said.err.startswith("hone: ") and said.err.count("\n") == 1, said.err
        assert "Traceback" not in said.out + said.err
        return said.err

    return run


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Class folders to spoil."""
    return class_folders(tmp_path / "data", (3, 3, 3))


# Data


def test_no_images(fails: Fails, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    assert str(tmp_path / "empty") in fails(tmp_path / "empty")
    assert "nowhere" in fails(tmp_path / "nowhere")


def test_one_class_only(fails: Fails, tmp_path: Path) -> None:
    line = fails(class_folders(tmp_path / "data", (4,), classes=("ant",)))
    assert "ant" in line and "2 classes" in line


def test_a_class_in_val_that_train_lacks(fails: Fails, tmp_path: Path) -> None:
    class_folders(tmp_path / "data" / "train", (3, 3), classes=("ant", "bee"))
    class_folders(tmp_path / "data" / "val", (3, 3), classes=("ant", "wasp"))
    assert "wasp" in fails(tmp_path / "data")


@pytest.mark.parametrize("damage", ["truncated", "text"])
def test_a_photo_that_cannot_be_read(fails: Fails, folders: Path, damage: str, fit: Callable[..., Run]) -> None:
    bad = folders / "ant" / "bad.jpg"
    if damage == "text":
        bad.write_text("this is no photo")
    else:
        Image.effect_noise((64, 64), 90).convert("RGB").save(bad)
        bad.write_bytes(bad.read_bytes()[:-400])
    assert str(bad) in fails(folders)
    run = fit(folders, "--skip-unreadable", "--val-fraction", "0.34")
    assert run.result.samples == {"train": 6, "val": 3}
    assert any("1 unreadable left out" in note for note in run.result.notes)


def test_odd_images_work(fit: Callable[..., Run], folders: Path) -> None:
    grey = Image.effect_noise((40, 30), 60)
    grey.convert("I;16").save(folders / "ant" / "sixteen.png")
    grey.convert("RGBA").save(folders / "ant" / "alpha.png")
    grey.convert("CMYK").save(folders / "ant" / "print.jpg")
    grey.convert("P").save(folders / "ant" / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    grey.convert("RGB").save(folders / "ant" / "turned.jpg", exif=exif)
    assert sum(fit(folders).result.samples.values()) == 14


@pytest.mark.parametrize(
    ("rows", "words", "expected"),
    [
        ("path,label\na.png,x\n", (), "a.png"),
        ("path,label\nant/00.png,high\nbee/00.png,low\n", ("--task", "regress"), "high"),
        ("path,label\n", (), "header"),
    ],
)
def test_tables(fails: Fails, folders: Path, rows: str, words: tuple[str, ...], expected: str) -> None:
    table = folders / "table.csv"
    table.write_text(rows)
    assert expected in fails(table, *words)


# Weights


def test_weights_that_fit_no_layer(fails: Fails, photos: Path, tmp_path: Path) -> None:
    torch.save({"other.weight": torch.zeros(7, 7), "more.weight": torch.zeros(3)}, tmp_path / "other.pth")
    line = fails(photos, "--weights", str(tmp_path / "other.pth"))
    assert "0 %" in line


class Harmful:
    """A pickle of it would run code when read."""

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return (Path.touch, (Path("harm"),))  # type: ignore[return-value]


def test_a_checkpoint_with_code_in_it(
    fails: Fails, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    torch.save({"state_dict": {"0.weight": torch.zeros(1)}, "extra": Harmful()}, "code.pth")
    line = fails(photos, "--weights", "code.pth")
    assert "code.pth" in line and not Path("harm").exists()


def test_weights_that_are_not_there(fails: Fails, photos: Path) -> None:
    assert "gone.pth" in fails(photos, "--weights", "gone.pth")
    assert "not a run" in fails(photos, "--from", "nowhere")


def test_pretrained_weights_that_cannot_be_had(fails: Fails, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Never random weights in silence: the line names the three ways on."""

    def no_route(*_: object, **__: object) -> None:
        raise OSError("no route to the server")

    monkeypatch.setattr("torch.hub.load_state_dict_from_url", no_route)
    monkeypatch.setattr("torchvision._internally_replaced_utils.load_state_dict_from_url", no_route)
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", no_route)
    line = fails(photos, "--model", "mobilenet_v2")
    assert all(way in line for way in ("mobilenet_v2", "no route", "--weights", "--from", "--no-pretrained"))


def test_pretrained_weights_without_the_hub(fails: Fails, photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setenv("HF_HUB_CACHE", "nowhere")
    line = fails(photos, "--model", "timm:test_vit")
    assert all(way in line for way in ("timm:test_vit", "--weights", "--from", "--no-pretrained"))


# Names and values


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("--model", "mobilnet_v2"), "mobilenet_v2"),
        (("--model", "own_parts:plane"), "plain"),
        (("--model", "no_such_module:net"), "no_such_module"),
        (("--model", "own_parts:no_module"), "torch.nn.Module"),
        (("--model", "own_parts:normed", "--model.widht", "3"), "widht"),
        (("--loss", "CrossEntropyLos"), "CrossEntropyLoss"),
        (("--loss.label_smooting", "0.1"), "label_smoothing"),
        (("--schedule", "CosineLR"), "CosineAnnealingLR"),
        (("--schedule", "StepLR"), "step_size"),
        (("--schedule", "StepLR", "--schedule.step_size", "[1"), "--schedule.step_size"),
        (("--optimizer", "AdmW"), "AdamW"),
        (("--optimizer", "LBFGS"), "several times"),
        (("--optimizer", "SparseAdam"), "sparse"),
        (("--optimizer", "Muon"), "matrices"),
        (("--optimizer", "torch.optim:LBFGS"), "several times"),
        (("--optimizer.beta", "0.9"), "betas"),
        (("--sheduler.gamma", "2"), "schedule"),
        (("--optimiser", "SGD"), "--optimizer"),
        (("--metric", "acuracy"), "accuracy"),
        (("--precision", "fp61"), "precision"),
        (("--device", "gpu"), "device"),
        (("--device", "cuda:77"), "cuda"),
        (("--schedule", "OneCycleLR", "--schedule.max_lr", "1e-2", "--schedule.total_steps", "4"), "total_steps"),
        (("--train", "decoder.*"), "decoder.*"),
        (("--train", "last:99"), "99"),
        (("--lr", "-0.1"), "lr"),
        (("--lr", "nan"), "lr"),
        (("--lr", "fast"), "--lr"),
        (("--batch-size", "0"), "batch_size"),
        (("--epochs", "2", "--updates", "9"), "updates"),
        (("--class-weights", "auto", "--loss", "own_parts:ScaledLoss"), "class_weights"),
        (("--loss", "own_parts:margin_loss", "--augment", "strong"), "margin_loss"),
        (("--loss", "CTCLoss"), "CTCLoss"),
        (("--loss", "MSELoss"), "MSELoss"),
        (("--model", "own_parts:linear", "--image-size", "64"), "64 px"),
        (("--val-fraction", "1.5"), "val_fraction"),
        (("--schedule", "ReduceLROnPlateau", "--warmup", "9"), "9"),
        (("--cache", "lots"), "cache"),
        (("stray",), "stray"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_options(fails: Fails, photos: Path, words: tuple[str, ...], expected: str) -> None:
    assert expected in fails(photos, *words)


def test_a_plateau_without_validation(fails: Fails, folders: Path) -> None:
    assert "ReduceLROnPlateau" in fails(folders, "--schedule", "ReduceLROnPlateau", "--val-fraction", "0")


def test_unknown_keys_of_a_recipe(fails: Fails, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "recipe.yaml").write_text("bach_size: 3\n")
    assert "batch_size" in fails(photos, "--config", str(tmp_path / "recipe.yaml"))
    (tmp_path / "recipe.yaml").write_text("- no\n- mapping\n")
    assert "recipe.yaml" in fails(photos, "--config", str(tmp_path / "recipe.yaml"))
    assert "gone.yaml" in fails(photos, "--config", "gone.yaml")


def test_an_output_folder_that_holds_a_run(
    fit: Callable[..., Run], photos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    run = fit(photos, "--updates", "1")
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert cli.main(small_words(photos, run.path)) == 2
    line = capfd.readouterr().err
    assert str(run.path) in line and "--resume" in line
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize("words", [[], ["--help"], ["-h"]])
def test_no_verb_is_no_error(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(words) == 0 and "hone VERB" in capsys.readouterr().out


# The loss


def test_a_loss_that_is_not_finite_at_the_first_update_leaves_nothing(fails: Fails, photos: Path) -> None:
    line = fails(photos, "--loss", "own_parts:BreakingLoss", "--loss.after", "0")
    assert "update 1" in line and "lower lr" in line


def test_a_loss_that_breaks_later_keeps_the_best(
    photos: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    words = small_words(
        photos, tmp_path / "run", "--loss", "own_parts:BreakingLoss", "--loss.after", "4", "--eval-every", "2"
    )
    assert cli.main(words) == 2
    line = capfd.readouterr().err
    assert "update 5" in line and "lower lr" in line and line.count("\n") == 1
    run = Run(tmp_path / "run")
    assert [each["update"] for each in read_record(run.path) if each["kind"] == "eval"] == [2, 4]
    assert list_checkpoints(run.checkpoints)[-1].name.endswith("4")
    state = hone.load(run).model.state_dict()
    assert all(bool(torch.isfinite(x).all()) for x in state.values() if x.is_floating_point())
