"""``hone fit``, ``evaluate`` and ``predict`` on images with masks, as a user types them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from monai.inferers import sliding_window_inference
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import hone
from hone import cli
from hone.data.masks import read_masks
from hone.models.segmentation import build_smp
from hone.recipe import Run
from hone.recipe.kinds import mask_windows
from hone.recipe.kinds.mask_model import copy_source
from hone.training import read_record
from hone.transfer import read_weights

from ..data.made_masks import mask_data, save_pair, scene
from .killing import killed_run
from .made import differing

Said = pytest.CaptureFixture[str]
SIZES = ((40, 48), (33, 70), (64, 64))
#: A network of a few thousand numbers.
TINY = (
    "--model", "smp:Unet", "--model.encoder_name", "tu-test_efficientnet", "--model.decoder_channels", "[16, 8, 8, 8]",
    "--model.encoder_depth", "4", "--image-size", "32", "--batch-size", "4", "--device", "cpu",
)  # fmt: skip
FROM_NOTHING = ("--no-pretrained",)
#: Single pixels of small images tell bf16's roundings apart.
EXACT = ("--precision", "fp32")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return mask_data(tmp_path_factory.mktemp("masks"), sizes=SIZES)


@pytest.fixture(scope="module")
def fit_masks(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Run]:
    """fit_masks(DATA, "--option", "value", ...): a run that succeeds."""

    def fit(data: Path, *words: str) -> Run:
        out = tmp_path_factory.mktemp("runs") / "run"
        length = () if "--updates" in words or "--epochs" in words else ("--updates", "3")
        assert cli.main(["fit", str(data), "--out", str(out), *length, *words]) == 0
        return Run(out)

    return fit


@pytest.fixture(scope="module")
def run(fit_masks: Callable[..., Run], data: Path) -> Run:
    """A run that has learned what a disc and a square are."""
    return fit_masks(data, *TINY, *FROM_NOTHING, "--updates", "50", "--lr", "0.02", "--eval-every", "25", *EXACT)


# What a run leaves behind


def test_classes_named_after_sides_are_not_mirrored(fit_masks: Callable[..., Run], tmp_path: Path) -> None:
    data = mask_data(tmp_path / "data", sizes=SIZES)
    (data / "classes.txt").write_text("background\nleft ear\nright ear\n")
    words = [*TINY, *FROM_NOTHING, "--updates", "1"]
    found = fit_masks(data, *words)
    assert found.recipe.hflip is False
    assert any("no images: class names speak of sides  (--hflip to mirror them)" in text for text in found.result.notes)
    assert fit_masks(data, *words, "--hflip").recipe.hflip is True


def test_the_task_is_seen_and_everything_is_in_the_run_folder(run: Run) -> None:
    recipe, result = run.recipe, run.result
    assert recipe.task == result.task == "segment" and recipe.metric == "dice" and recipe.norm == "follow"
    assert recipe.model.options["encoder_name"] == "tu-test_efficientnet"
    assert run.classes == ["background", "class 1", "class 2"]
    assert run.preprocessing.image_size == 32 and not run.preprocessing.labels
    assert result.best is not None and result.best.value > 0.6
    assert set(result.final) == {"loss", "dice", "mean_dice", "iou"}
    assert result.samples == {"train": 6, "val": 3}
    assert [line["update"] for line in read_record(run.path) if line["kind"] == "eval"] == [25, 50]


def test_best_loads_strictly_into_the_plain_network(run: Run) -> None:
    import segmentation_models_pytorch as smp

    model = smp.Unet(
        "tu-test_efficientnet", encoder_depth=4, encoder_weights=None, decoder_channels=(16, 8, 8, 8), classes=3
    )
    model.load_state_dict(load_file(run.best), strict=True)
    inputs = torch.randn(2, 3, 32, 64)
    assert torch.equal(hone.load(run).model(inputs), model.eval()(inputs))


def test_the_report_shows_every_class_and_the_worst_and_the_best(run: Run) -> None:
    result = run.result
    assert result.per_class is not None
    assert [row.name for row in result.per_class] == ["class 1", "class 2"]
    assert result.final["dice"] == pytest.approx(sum(row.f1 for row in result.per_class) / 2)
    assert [case.rank for case in result.cases] == ["worst", "best"]
    assert result.cases[0].value <= result.cases[1].value
    assert np.array(Image.open(run.path / result.cases[0].picture)).shape[1] > 500
    page = run.report.read_text()
    assert "The worst cases and the best" in page and page.count("data:image/png") >= 2


# Evaluate and predict, from the run folder alone


def test_evaluate_says_what_the_result_says(run: Run, data: Path, tmp_path: Path, capsys: Said) -> None:
    assert cli.main(["evaluate", str(run.path), str(data), "--device", "cpu", "--json", str(tmp_path / "m.json")]) == 0
    assert "3 images" in capsys.readouterr().out
    assert json.loads((tmp_path / "m.json").read_text()) == pytest.approx(run.result.final, abs=1e-6)


def plain_labels(run: Run, image: np.ndarray) -> np.ndarray:
    """What the plain network says of an image, padded by hand."""
    loaded = hone.load(run)
    mean, std = (np.array(values) for values in (loaded.preprocessing.mean, loaded.preprocessing.std))
    height, width = image.shape[:2]
    whole = np.zeros((-(-height // 32) * 32, -(-width // 32) * 32, 3))
    whole[:] = np.round(255 * mean)
    whole[:height, :width] = image
    inputs = torch.from_numpy((whole / 255 - mean) / std).float().permute(2, 0, 1)[None]
    with torch.no_grad():
        return loaded.model(inputs)[0].argmax(0)[:height, :width].numpy()


def test_predictions_are_masks_of_the_images_sizes(run: Run, data: Path, tmp_path: Path) -> None:
    out = tmp_path / "masks"
    words = [
        "predict",
        str(run.path),
        str(data / "val" / "images"),
        "--out",
        str(out),
        "--csv",
        str(tmp_path / "p.csv"),
    ]
    assert cli.main([*words, "--device", "cpu"]) == 0
    for k in range(3):
        image, _ = scene(100 + k, SIZES[k])
        picture = Image.open(out / f"{k}.png")
        assert picture.mode == "P" and picture.getpalette()[:6] == [0, 0, 0, 255, 159, 28]  # type: ignore[index]
        assert (np.array(picture) != plain_labels(run, image)).mean() < 1e-3
    lines = (tmp_path / "p.csv").read_text().splitlines()
    assert lines[0] == "path,label,confidence,background,class 1,class 2"
    shares = [float(value) for value in lines[1].split(",")[3:]]
    assert sum(shares) == pytest.approx(1, abs=1e-5) and lines[1].split(",")[1] == str(out / "0.png")


def test_predicted_masks_are_read_as_data(run: Run, data: Path, tmp_path: Path) -> None:
    shutil.copytree(data / "val" / "images", tmp_path / "images")
    assert cli.main(["predict", str(run.path), str(tmp_path / "images"), "--out", str(tmp_path / "masks")]) == 0
    assert read_masks(tmp_path, classes=run.classes).classes == run.classes


def test_large_images_are_seen_through_overlapping_windows(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mask_windows, "_WINDOW", 64)
    image, _ = scene(7, (150, 60))
    Image.fromarray(image).save(tmp_path / "large.png")
    assert cli.main(["predict", str(run.path), str(tmp_path / "large.png"), "--out", str(tmp_path)]) == 0
    found = np.array(Image.open(tmp_path / "large.png"))
    loaded = hone.load(run)
    mean, std = (
        torch.tensor(values).view(1, 3, 1, 1) for values in (loaded.preprocessing.mean, loaded.preprocessing.std)
    )
    whole = (255 * mean).round().expand(1, 3, 150, 64).clone()
    whole[..., :60] = torch.from_numpy(image).permute(2, 0, 1)
    with torch.no_grad():
        logits = sliding_window_inference((whole / 255 - mean) / std, (64, 64), 4, loaded.model, 0.25, "gaussian")
    assert found.shape == (150, 60)
    assert (found != logits[0].argmax(0)[:, :60].numpy()).mean() < 1e-3


def test_mirrored_images_are_predicted_too(run: Run, tmp_path: Path) -> None:
    image, _ = scene(8, (64, 96))
    for name, pixels in (("image", image), ("mirror", image[:, ::-1])):
        Image.fromarray(pixels).save(tmp_path / f"{name}.png")
    files = [str(tmp_path / f"{name}.png") for name in ("image", "mirror")]
    assert cli.main(["predict", str(run.path), *files, "--out", str(tmp_path / "out"), "--flips"]) == 0
    plain, mirror = (np.array(Image.open(tmp_path / "out" / f"{name}.png")) for name in ("image", "mirror"))
    assert (plain != mirror[:, ::-1]).mean() < 1e-3
    assert (plain != plain_labels(run, image)).any()


def test_an_evaluation_with_flips_measures_what_predict_with_flips_writes(run: Run, data: Path, tmp_path: Path) -> None:
    measured = {}
    for name, words in (("once", ()), ("flips", ("--flips",))):
        out = tmp_path / name
        assert cli.main(["predict", str(run.path), str(data / "val" / "images"), "--out", str(out), *words]) == 0
        assert cli.main(["evaluate", str(run.path), str(data), "--json", str(tmp_path / "m.json"), *words]) == 0
        measured[name] = json.loads((tmp_path / "m.json").read_text())["dice"]
        shared = np.zeros((2, 2))
        for file in (data / "val" / "masks").iterdir():
            truth, found = np.array(Image.open(file)), np.array(Image.open(out / file.name))
            for row, label in enumerate((1, 2)):
                both = ((truth == label) & (found == label)).sum()
                shared[row] += 2 * both, (truth == label).sum() + (found == label).sum()
        assert measured[name] == pytest.approx((shared[:, 0] / shared[:, 1]).mean(), abs=1e-3)
    assert measured["once"] != measured["flips"]


def test_masks_of_one_name_are_refused(run: Run, data: Path, tmp_path: Path, capsys: Said) -> None:
    folders = [str(data / part / "images") for part in ("train", "val")]
    assert cli.main(["predict", str(run.path), *folders, "--out", str(tmp_path)]) == 2
    assert "predict would write several masks named 0.png" in capsys.readouterr().err
    assert cli.main(["predict", str(run.path), folders[0]]) == 2
    assert "give --out FOLDER" in capsys.readouterr().err


# Where weights come from


def test_a_classifier_becomes_the_encoder(fit_masks: Callable[..., Run], data: Path, tmp_path: Path) -> None:
    import timm

    classifier = timm.create_model("test_efficientnet", num_classes=7)
    torch.save(classifier.state_dict(), tmp_path / "classifier.pth")
    run = fit_masks(data, *TINY, "--weights", str(tmp_path / "classifier.pth"), "--train", "head", "--updates", "1")
    transfer = json.loads((run.path / "transfer.json").read_text())
    status = {row["name"]: row["status"] for row in transfer["tensors"]}
    saved, source = load_file(run.best), classifier.state_dict()
    inside = [name for name in saved if name.startswith("encoder.")]
    assert transfer["share"] == 1.0 and all(status[name] == "copied" for name in inside)
    assert all(status[name] == "new" for name in saved if name not in inside)
    for name in inside:
        if "running" not in name and "num_batches" not in name:
            assert torch.equal(saved[name], source[name.removeprefix("encoder.model.")])


def test_the_shared_classifier_fits_its_encoder_completely(shared_data: Path) -> None:
    model = build_smp("Unet", {"encoder_name": "mobilenet_v2", "classes": 2}, pretrained=False)
    state = read_weights(shared_data / "weights" / "mobilenet_v2_imagenet.pth")
    audit = copy_source(model, state)
    tensors = model.state_dict()
    copied = [row for row in audit.rows if row.status == "copied"]
    assert audit.share == 1.0 and len(copied) == 312 == sum(name.startswith("encoder.") for name in tensors)
    assert all(torch.equal(tensors[row.name], state[str(row.source)]) for row in copied)


def test_transfer_says_what_training_would_copy(shared_data: Path, tmp_path: Path, capsys: Said) -> None:
    weights = str(shared_data / "weights" / "mobilenet_v2_imagenet.pth")
    words = ["transfer", "smp:Unet", weights, "--model.encoder_name"]
    assert cli.main([*words, "mobilenet_v2", "--outputs", "3"]) == 0
    assert "312 of 374 tensors copied" in capsys.readouterr().out
    assert cli.main([*words, "resnet18"]) == 2
    assert "fit, and hone fit asks for 80%" in capsys.readouterr().out


def test_another_task_starts_from_a_run(run: Run, fit_masks: Callable[..., Run], tmp_path: Path, capsys: Said) -> None:
    for k in range(4):
        image, mask = scene(k)
        save_pair(tmp_path, f"{k}", image, (mask > 0).astype(np.uint8) * 255)
    other = fit_masks(tmp_path, "--from", str(run.path), "--updates", "1", "--device", "cpu", "--image-size", "32")
    said = capsys.readouterr().out
    assert "0 and 255 in the masks are understood as background and class 1" in said
    assert "output layer new" in said and other.recipe.model == run.recipe.model
    assert hone.load(other).model(torch.zeros(1, 3, 32, 32)).shape[1] == 2


def test_weights_are_never_random_in_silence(data: Path, tmp_path: Path, capsys: Said) -> None:
    torch.save(nn.Linear(3, 3).state_dict(), tmp_path / "other.pth")
    words = ["fit", str(data), *TINY, "--updates", "1", "--out", str(tmp_path / "run")]
    assert cli.main([*words, "--weights", str(tmp_path / "other.pth")]) == 2
    assert "is this another architecture?" in capsys.readouterr().err


# Other masks, networks and losses


def test_several_labels_a_pixel(fit_masks: Callable[..., Run], tmp_path: Path) -> None:
    for k in range(6):
        image, mask = scene(k)
        save_pair(tmp_path / "d", f"{k}", image, mask)
        for value, name in ((1, "disc"), (2, "square")):
            (tmp_path / "d" / "masks" / name).mkdir(exist_ok=True)
            Image.fromarray(((mask == value) * 255).astype(np.uint8)).save(tmp_path / "d" / "masks" / name / f"{k}.png")
        (tmp_path / "d" / "masks" / f"{k}.png").unlink()
    run = fit_masks(tmp_path / "d", *TINY, *FROM_NOTHING, "--updates", "40", "--lr", "0.02")
    assert run.classes == ["disc", "square"] and run.preprocessing.labels
    assert run.result.per_class is not None and [row.name for row in run.result.per_class] == ["disc", "square"]
    assert run.result.best is not None and run.result.best.value > 0.4
    assert cli.main(["predict", str(run.path), str(tmp_path / "d" / "images"), "--out", str(tmp_path / "m")]) == 0
    for name in ("disc", "square"):
        assert set(np.unique(np.array(Image.open(tmp_path / "m" / name / "0.png")))) <= {0, 255}
    assert cli.main(["evaluate", str(run.path), str(tmp_path / "d")]) == 0


def test_pixels_that_count_nowhere_change_nothing(fit_masks: Callable[..., Run], tmp_path: Path) -> None:
    """Two data sets that differ in ignored pixels' colour class only by their marker train the same network."""
    last = []
    for marker in (255, 9):
        folder = mask_data(tmp_path / str(marker))
        for file in folder.glob("*/masks/*.png"):
            mask = np.array(Image.open(file))
            mask[:12] = marker
            Image.fromarray(mask).save(file)
        last.append(fit_masks(folder, *TINY, *FROM_NOTHING, "--ignore-index", str(marker)))
    assert differing(last[0].last, last[1].last) == []
    assert last[0].result.final == last[1].result.final


@pytest.mark.parametrize(
    "words",
    [
        ("--model", "torchvision:lraspp_mobilenet_v3_large"),
        ("--model", "FPN", "--model.encoder_name", "tu-test_resnet", "--loss", "torch.nn:CrossEntropyLoss"),
        ("--model", "smp:Linknet", "--model.encoder_name", "tu-test_resnet", "--class-weights", "auto"),
    ],
    ids=lambda words: words[1],
)
def test_other_networks_and_losses(fit_masks: Callable[..., Run], data: Path, words: tuple[str, ...]) -> None:
    run = fit_masks(data, *words, *FROM_NOTHING, "--image-size", "32", "--batch-size", "2", "--updates", "1")
    assert 0 <= run.result.final["dice"] <= 1
    assert hone.load(run).model(torch.zeros(1, 3, 64, 64)).shape == (1, 3, 64, 64)


# Resume


#: A network of the user's own, with dropout and batch norm.
OWN_NETWORK = """
from torch import nn


def network():
    body = [nn.Conv2d(3, 6, 3, padding=1, bias=False), nn.BatchNorm2d(6), nn.ReLU(), nn.Dropout2d(0.2)]
    return nn.Sequential(*body, nn.Conv2d(6, 2, 1))
"""
#: A run that takes long enough to be killed, with all that chance decides.
LONG = (
    "--model", "own_masks:network", "--image-size", "32", "--device", "cpu", "--updates", "30", "--batch-size", "2",
    "--accumulate", "2", "--augment", "strong", "--lr", "0.01", "--checkpoint-minutes", "1e-6", "--eval-every", "15",
)  # fmt: skip


def test_killed_and_resumed_with_other_workers_is_the_same_run(
    fit_masks: Callable[..., Run], data: Path, own_folder: Path, tmp_path: Path
) -> None:
    (own_folder / "own_masks.py").write_text(OWN_NETWORK)
    whole = fit_masks(data, *LONG)
    killed = killed_run(data, LONG, tmp_path / "killed", own_folder)
    assert cli.main(["fit", "--resume", str(killed.path), "--workers", "0", "--cache", "0"]) == 0
    assert differing(whole.last, killed.last) == [] and differing(whole.best, killed.best) == []
    assert whole.result.final == killed.result.final


def test_the_recipe_repeats_the_run(run: Run, tmp_path: Path) -> None:
    words = ["fit", "--config", str(run.path / "recipe.yaml"), "--updates", "3", "--out"]
    for name in ("a", "b"):
        assert cli.main([*words, str(tmp_path / name)]) == 0
    assert differing(tmp_path / "a" / "last.safetensors", tmp_path / "b" / "last.safetensors") == []


# What is wrong is said before anything is written


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--model", "smp:Unett"), "did you mean Unet"),
        (("--model.encoder_name", "mobilnet"), "model smp:Unet: Wrong encoder name `mobilnet`"),
        (("--model.decoder_chanels", "[4, 8]"), "does not take these options"),
        (("--image-size", "40"), "image_size must be a multiple of 32 for this model, got 40"),
        (("--metric", "accuracy"), "metric 'accuracy' is not known"),
        (("--sampler", "balanced"), "sampler must be shuffle for task segment"),
        (("--loss.ignore_index", "255"), "--ignore-index N says which value"),
        (("--loss", "MSELoss"), "loss MSELoss does not fit this task and model"),
        (("--ignore-index", "1"), "write their names into classes.txt"),
    ],
    ids=lambda words: words[-1] if isinstance(words, tuple) else "",
)
def test_bad_options(data: Path, tmp_path: Path, capsys: Said, words: tuple[str, ...], message: str) -> None:
    out = tmp_path / "run"
    assert cli.main(["fit", str(data), *TINY, *FROM_NOTHING, "--updates", "2", "--out", str(out), *words]) == 2
    said = capsys.readouterr().err
    assert message in said and said.count("\n") == 1 and not out.exists()


def unpaired(folder: Path) -> None:
    (folder / "train" / "masks" / "1.png").unlink()
    (folder / "val" / "images" / "0.png").unlink()


def another_size(folder: Path) -> None:
    Image.fromarray(scene(0, (8, 9))[1]).save(folder / "train" / "masks" / "2.png")


def beyond(folder: Path) -> None:
    (folder / "classes.txt").write_text("background\ndisc\n")


def fractions(folder: Path) -> None:
    (folder / "train" / "masks" / "2.png").unlink()
    Image.fromarray(scene(2, SIZES[2])[1].astype(np.float32) / 2).save(folder / "train" / "masks" / "2.tiff")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (unpaired, "images without mask: {0}/train/images/1.png; masks without image: {0}/val/masks/0.png"),
        (another_size, "{0}/train/masks/2.png (9x8; its image: 64x64)"),
        (beyond, "masks must be 0 to 1 for the 2 classes, got {0}/train/masks/0.png (2)"),
        (fractions, "mask {0}/train/masks/2.tiff must hold whole numbers, got 0.5"),
    ],
)
def test_bad_data(data: Path, tmp_path: Path, capsys: Said, spoil: Callable[[Path], None], message: str) -> None:
    shutil.copytree(data, tmp_path / "data")
    spoil(tmp_path / "data")
    assert cli.main(["fit", str(tmp_path / "data"), "--out", str(tmp_path / "run")]) == 2
    said = capsys.readouterr().err
    assert message.format(tmp_path / "data") in said and said.count("\n") == 1 and not (tmp_path / "run").exists()


def test_evaluation_on_other_classes(run: Run, tmp_path: Path, capsys: Said) -> None:
    folder = mask_data(tmp_path)
    (folder / "classes.txt").write_text("a\nb\nc\n")
    assert cli.main(["evaluate", str(run.path), str(folder)]) == 2
    assert "DATA names other classes than the run: a, b, c" in capsys.readouterr().err
