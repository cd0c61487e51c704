"""Clips by the commands: fit, evaluate, predict, resume; and motion that no single frame shows is learned."""

from __future__ import annotations

import csv
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

import hone
from hone import cli
from hone.data.video.batches import EvalClips
from hone.data.video.preprocessing import ClipPreprocessing
from hone.data.video.reading import read_clips
from hone.models.clips import ClipModel
from hone.recipe import Run
from hone.training import list_checkpoints, read_record

from .conftest import small_words
from .killing import start, wait_for_checkpoint
from .made import differing
from .made_clips import MOTIONS, moving, moving_clips, pictures

pytest.importorskip("av")
Encode = Callable[..., Path]
Fit = Callable[..., Run]

#: A run of a second: an own image network, inflated, on four frames.
TINY = ("--model", "inflated:own_parts:normed", "--frames", "4", "--batch-size", "4", "--image-size", "32")


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory, encode: Encode) -> Path:
    """train/MOTION of 6 each, val/MOTION of 3 each."""
    root = tmp_path_factory.mktemp("clips")
    moving_clips(root / "train", pictures(6), encode)
    moving_clips(root / "val", pictures(3, seed=1), encode)
    return root


@pytest.fixture(scope="module")
def base(fit: Fit, clips: Path) -> Run:
    """A run with little stated."""
    return fit(clips, *TINY)


def test_the_layout_says_that_these_are_clips(base: Run) -> None:
    recipe, result = base.recipe, base.result
    assert recipe.task == "classify-video" and result.samples == {"train": 12, "val": 6}
    assert base.classes == list(MOTIONS) and result.metric == "accuracy"
    assert (recipe.frames, recipe.sampling, recipe.short, recipe.clips, recipe.crops) == (4, "random", "loop", 1, 1)
    preprocessing = base.preprocessing
    assert isinstance(preprocessing, ClipPreprocessing)
    assert preprocessing.seconds == pytest.approx(0.48) and preprocessing.shape == (3, 4, 32, 32)


def test_the_saved_weights_are_a_plain_clip_model(base: Run) -> None:
    loaded = hone.load(base)
    state = load_file(base.best)
    assert state["frames.network.0.weight"].shape == (8, 3, 3, 3, 3) and state["head.weight"].shape == (2, 64)
    clip = torch.randn(1, 3, 6, 32, 32)
    assert loaded.model(clip).shape == (1, 2) and not loaded.model.training


def test_the_report_shows_strips_of_the_worst_and_the_best(base: Run) -> None:
    cases = base.result.cases
    assert [case.rank for case in cases] == ["worst", "worst 2", "worst 3", "best", "best 2", "best 3"]
    assert [case.value for case in cases[:3]] == sorted(case.value for case in cases)[:3]
    for case in cases:
        assert case.scores[case.truth] == pytest.approx(case.value) and Path(case.path).parent.name == case.truth
        with Image.open(base.path / case.picture) as strip:
            assert strip.size == (8 * (132 + 6) + 6, 172)
    page = base.report.read_text()
    assert "The worst clips and the best" in page and page.count("frames of a clip of pan_") == 6
    wrong = sum(map(sum, base.result.confusion or [])) - round(6 * base.result.final["accuracy"])
    assert not wrong or "clip it was surest about" in page or "clips it was surest about" in page
    assert "could not be opened" not in page and "not here any more" not in page


def test_evaluation_repeats_the_result(base: Run, clips: Path, tmp_path: Path) -> None:
    assert cli.main(["evaluate", str(base.path), str(clips), "--json", str(tmp_path / "m.json")]) == 0
    metrics = json.loads((tmp_path / "m.json").read_text())
    assert metrics["accuracy"] == pytest.approx(base.result.final["accuracy"])
    assert metrics["loss"] == pytest.approx(base.result.final["loss"], rel=1e-4)


def test_several_views_are_averaged(fit: Fit, clips: Path) -> None:
    run = fit(clips, *TINY, "--sampling", "dense", "--rate", "12.5", "--clips", "2", "--crops", "3", "--updates", "3")
    loaded, val = hone.load(run), read_clips(clips).val
    assert loaded.preprocessing.views == 6
    with torch.no_grad():
        views = torch.cat([loaded.model(inputs) for inputs, _, _ in EvalClips(val, loaded.preprocessing, cache=0)])
    probs = views.softmax(1).view(-1, 6, 2).mean(1)
    loss = torch.nn.functional.nll_loss(probs.log(), val.targets)
    assert run.result.final["loss"] == pytest.approx(float(loss), rel=1e-4)
    accuracy = float((probs.argmax(1) == val.targets).float().mean())
    assert run.result.final["accuracy"] == pytest.approx(accuracy)


def test_a_long_video_is_predicted_window_by_window(base: Run, encode: Encode, tmp_path: Path) -> None:
    picture = pictures(1, seed=5)[0]
    long = [frame for _ in range(5) for frame in moving(picture, "pan_right")]
    encode(tmp_path / "long.mp4", long)
    encode(tmp_path / "more" / "long.mp4", moving(picture, "pan_left"))
    words = ["predict", str(base.path), str(tmp_path), "--csv", str(tmp_path / "all.csv"), "--out", str(tmp_path / "w")]
    assert cli.main(words) == 0
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [Path(row["path"]).name for row in rows] == ["long.mp4", "long.mp4"]
    with (tmp_path / "w" / "long.csv").open() as file:
        moments = list(csv.DictReader(file))
    assert list(moments[0]) == ["start", "end", "label", "confidence", *MOTIONS]
    assert float(moments[0]["start"]) == 0 and float(moments[-1]["end"]) == pytest.approx(2.4)
    assert len(moments) == 9 and (tmp_path / "w" / "long-2.csv").exists()
    mean = sum(float(moment["pan_left"]) for moment in moments) / 9
    assert float(rows[0]["pan_left"]) == pytest.approx(mean, abs=1e-5)


def test_a_window_is_predicted_as_the_clip_that_it_is(base: Run, clips: Path, tmp_path: Path) -> None:
    """The predictions of val, one by one, are those of the evaluation."""
    assert cli.main(["predict", str(base.path), str(clips / "val"), "--csv", str(tmp_path / "p.csv")]) == 0
    with (tmp_path / "p.csv").open() as file:
        rows = list(csv.DictReader(file))
    right = sum(row["label"] == Path(row["path"]).parent.name for row in rows)
    assert len(rows) == 6 and right / 6 == pytest.approx(base.result.final["accuracy"])


def test_the_head_alone_trains(fit: Fit, clips: Path, base: Run) -> None:
    run = fit(clips, "--from", str(base.path), "--train", "head", "--lr", "0.1", "--batch-size", "4")
    assert differing(base.best, run.last) == ["head.bias", "head.weight"]
    assert run.recipe.frames == 4


def test_a_frozen_network_sees_each_clip_once(
    fit: Fit, clips: Path, base: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ("--from", str(base.path), "--train", "head", "--augment", "none", "--sampling", "uniform", "--lr", "0.1")
    stored = fit(clips, *words, "--batch-size", "4")
    assert "frozen part runs once: 18 x 64 numbers" in capsys.readouterr().out
    seen = fit(clips, *words, "--batch-size", "4", "--cache", "0")
    assert "runs once" not in capsys.readouterr().out
    for name, tensor in load_file(seen.last).items():
        torch.testing.assert_close(load_file(stored.last)[name], tensor)


def test_a_network_that_is_handed_over_keeps_its_weights(clips: Path, tmp_path: Path) -> None:
    import own_parts  # type: ignore[import-not-found]

    model = ClipModel(own_parts.normed(), time_kernel=3)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    options = {"train": "head", "frames": 4, "image_size": 32, "updates": 2, "batch_size": 4, "device": "cpu"}
    run = hone.finetune(clips, model=model, out=str(tmp_path / "run"), quiet=True, **options)
    after = load_file(run.last)
    assert all(torch.equal(before[name], after[name]) for name in before if name.startswith("frames."))


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_frames_one_by_one(fit: Fit, clips: Path, pooling: str) -> None:
    words = ("--model", "frames:own_parts:normed", "--model.pooling", pooling, "--augment", "strong")
    run = fit(clips, *TINY[2:], *words, "--updates", "3")
    state = load_file(run.best)
    assert state["frames.network.0.weight"].ndim == 4 and ("pool.position.weight" in state) == (pooling == "attention")
    assert hone.load(run).model(torch.zeros(1, 3, 3, 32, 32)).shape == (1, 2)


def test_after_sigkill_another_number_of_workers_gives_the_same_bits(
    fit: Fit, clips: Path, own_folder: Path, tmp_path: Path
) -> None:
    words = (*TINY, "--augment", "strong", "--updates", "16", "--checkpoint-minutes", "1e-6", "--norm", "follow")
    whole = fit(clips, *words)
    killed = Run(tmp_path / "run")
    process = start(own_folder, small_words(clips, killed.path, *words))
    wait_for_checkpoint(killed, process, 4)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    update = int(list_checkpoints(killed.checkpoints)[-1].name.rpartition("-")[2])
    assert 4 <= update < 16
    assert cli.main(["fit", "--resume", str(killed.path), "--workers", "2", "--cache", "0"]) == 0
    assert killed.last.read_bytes() == whole.last.read_bytes()
    assert killed.result.final == whole.result.final


def test_a_bad_clip_is_one_line(clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = shutil.copytree(clips, tmp_path / "data")
    (data / "train" / "pan_left" / "zero.mp4").touch()
    assert cli.main(small_words(data, tmp_path / "run", *TINY)) == 2
    error = capfd.readouterr().err
    assert "zero.mp4 can't be read as a clip: the file is empty" in error and error.count("\n") == 1
    assert not (tmp_path / "run").exists()
    assert cli.main(small_words(data, tmp_path / "run", *TINY, "--skip-unreadable", "--updates", "1")) == 0
    assert "1 unreadable left out" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("words", "line"),
    [
        (("--sampling", "random", "--rate", "5"), "rate is of dense sampling, and sampling is random"),
        (("--crops", "2"), "crops must be 1 or 3, got 2"),
        (("--frames", "0"), "frames must be a whole number at least 1, got 0"),
        (("--model", "own_parts:normed"), "can't take clips of 4 frames of 32 px"),
        (("--model", "inflated:own_parts:linear"), "convolutions larger than 1x1 to inflate"),
    ],
)
def test_what_cannot_be_meant(
    clips: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str], words: tuple[str, ...], line: str
) -> None:
    assert cli.main(small_words(clips, tmp_path / "run", *TINY, *words)) == 2
    error = capfd.readouterr().err
    assert line in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_motion_is_learned_that_no_single_frame_shows(
    fit: Fit, encode: Encode, shared_data: Path, tmp_path: Path
) -> None:
    """Each photo is panned to one side and back; the weights are those of an image network, inflated."""
    import own_parts  # type: ignore[import-not-found]

    photos = [
        Image.open(file).convert("RGB")
        for name in ("daisy", "roses", "tulips")
        for file in sorted((shared_data / "flowers5" / "train" / name).iterdir())[:20]
    ]
    moving_clips(tmp_path / "data" / "train", photos[10:], encode)
    moving_clips(tmp_path / "data" / "val", photos[:10], encode)
    torch.manual_seed(0)
    image = own_parts.tiny()
    save_file(image.state_dict(), tmp_path / "image.safetensors")
    common = (
        "--weights", str(tmp_path / "image.safetensors"), "--frames", "6", "--sampling", "uniform", "--lr", "0.01",
        "--norm", "follow", "--batch-size", "16", "--head-multiplier", "1", "--head", "random", "--strategy", "none",
    )  # fmt: skip
    deep = fit(tmp_path / "data", "--model", "inflated:own_parts:tiny", *common, "--updates", "90")
    flat = fit(tmp_path / "data", "--model", "frames:own_parts:tiny", *common, "--updates", "12")
    assert read_record(deep.path)[-1]["update"] == 90
    assert deep.result.best is not None and deep.result.best.value >= 0.95
    assert flat.result.best is not None and flat.result.best.value <= 0.6
    assert "inflated to 3D" in (deep.path / "transfer.json").read_text()
