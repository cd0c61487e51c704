"""Who decides: what hone chooses where nothing is stated, what it never changes, and what it never pays for twice."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from hone import cli
from hone.models import import_name
from hone.recipe import Run, length, strategy
from hone.recipe.averages import Averages
from hone.recipe.run import _Training
from hone.training import read_record, standard_error

from .made import class_folders, differing, flat_photos, write_table

Fit = Callable[..., Run]


@pytest.fixture(scope="module")
def source(own_folder: Path) -> str:
    """Weights of the user's own network, as if it had been trained elsewhere."""
    torch.manual_seed(3)
    build = import_name("own_parts:normed", what="model")
    torch.save(build().state_dict(), own_folder / "source.pth")
    return str(own_folder / "source.pth")


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """16 photos a class: enough to move the trunk."""
    root = tmp_path_factory.mktemp("many")
    class_folders(root / "train", (16, 16, 16))
    class_folders(root / "val", (5, 5, 5), seed=1)
    return root


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """6 photos a class."""
    root = tmp_path_factory.mktemp("few")
    class_folders(root / "train", (6, 6, 6))
    class_folders(root / "val", (3, 3, 3), seed=1)
    return root


@pytest.fixture(scope="module")
def words(source: str) -> list[str]:
    """A network with a source, small, on the CPU; nothing else is stated."""
    return [
        "--model",
        "own_parts:normed",
        "--weights",
        source,
        "--image-size",
        "32",
        "--batch-size",
        "8",
        "--device",
        "cpu",
    ]


@pytest.fixture(scope="module")
def run(words: list[str], tmp_path_factory: pytest.TempPathFactory) -> Fit:
    """run(DATA, "--option", ...): a run that succeeds."""

    def succeed(data: Path, *more: str) -> Run:
        out = tmp_path_factory.mktemp("runs") / "run"
        assert cli.main(["fit", str(data), *words, *more, "--out", str(out)]) == 0
        return Run(out)

    return succeed


@pytest.fixture
def fails(words: list[str], tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """fails(DATA, "--option", ...): the one line that a run ends with, nothing written."""

    def fail(data: Path, *more: str) -> str:
        capfd.readouterr()
        assert cli.main(["fit", str(data), *words, *more, "--out", str(tmp_path / "out")]) == 2
        said = capfd.readouterr().err
        assert said.startswith("hone: ") and said.count("\n") == 1 and not (tmp_path / "out").exists()
        return said

    return fail


def note(run: Run, subject: str) -> str:
    """What the result says about a subject; empty where it says nothing."""
    return next((text.partition(": ")[2] for text in run.result.notes if text.startswith(f"{subject}: ")), "")


def trunk(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    return {name: tensor for name, tensor in state.items() if not name.startswith("9.")}


def test_few_photos_get_a_probe(run: Fit, few: Path, source: str) -> None:
    found = run(few)
    assert found.recipe.strategy == "probe" and found.result.updates == 0
    assert note(found, "strategy").startswith("probe: the output layer in closed form, 3 classes x 6 photos")
    before, after = torch.load(source, weights_only=True), load_file(found.best)
    assert all(torch.equal(before[name], tensor) for name, tensor in trunk(after).items())
    assert differing(found.best, found.last) == []
    assert found.result.best is not None and found.result.best.value == found.result.baselines["linear probe"]
    assert found.report.exists()


def test_a_probe_of_few_photos_sees_them_in_several_views(run: Fit, few: Path) -> None:
    found = run(few)
    assert found.recipe.probe_views == 8  # of 18 photos the most
    plain = run(few, "--strategy", "probe", "--probe-views", "0")
    assert plain.recipe.probe_views == 0
    assert differing(found.best, plain.best) == ["9.bias", "9.weight"]
    same = run(few, "--cache", "0")  # without a cache the views are made again
    assert all(
        torch.allclose(a, b, atol=1e-4)
        for a, b in zip(load_file(found.best).values(), load_file(same.best).values(), strict=True)
    )


def test_a_probe_repeats_from_its_recipe(run: Fit, few: Path, tmp_path: Path) -> None:
    found = run(few)
    assert cli.main(["fit", "--config", str(found.path / "recipe.yaml"), "--out", str(tmp_path / "again")]) == 0
    assert differing(found.best, tmp_path / "again" / "best.safetensors") == []


def test_more_photos_get_fine_tuning_never_worse_than_the_probe(run: Fit, many: Path) -> None:
    found = run(many)
    recipe, result = found.recipe, found.result
    assert (recipe.strategy, recipe.head, recipe.train, recipe.augment) == ("finetune", "probe", "all", "light")
    assert recipe.updates == 8 * 6  # 8 passes over 48 photos
    assert "3 classes x 16 photos" in note(found, "strategy")
    assert result.best is not None and result.best.value >= result.baselines["linear probe"]
    tried = [line for line in read_record(found.path) if line["kind"] == "average"]
    assert [line["weights"].partition(" ")[0] for line in tried] == [
        "50%",
        "50%",
        "75%",
        "75%",
        "25%",
        "25%",
        "mean",
        "linear",
    ]
    judged = [line for line in read_record(found.path) if line["kind"] in ("eval", "average")]
    kept, values = [line for line in judged if line["best"]][-1], [line["metrics"][result.metric] for line in judged]
    assert result.best.value == kept["metrics"][result.metric]
    doubt = standard_error(result.metric, max(values), 15)
    assert result.best.value >= max(values) - (doubt if kept["kind"] == "average" else 0)
    assert note(found, "averages").count("of the way from the probe") == 6


SHORT = ("--image-size", "96", "--updates", "1")
STATED = ("--batch-size", "16", "--max-norm", "2", "--train-size", "32")


@pytest.mark.parametrize(
    ("more", "batch_size", "max_norm", "train_size"),
    [
        ((), 8, 0.0, 64),
        (STATED, 16, 2.0, 32),
        (("--batch-size", "16"), 16, 1.0, 64),  # larger batches are clipped
        (("--accumulate", "2"), 32, 1.0, 64),
        (("--norm", "follow"), 32, 1.0, None),  # moving statistics need large batches, and one size
        (("--optimizer", "SGD"), 32, 1.0, 64),  # its steps are as large as the gradients
        (("--head", "random"), 32, 1.0, None),
        (("--train", "last:2"), 32, 1.0, None),
        (("--augment", "none"), 8, 0.0, None),
        (("--strategy", "none"), 32, 1.0, None),
    ],
)
def test_small_batches_and_crops_train_a_whole_network_from_its_probe(
    many: Path,
    words: list[str],
    tmp_path: Path,
    more: tuple[str, ...],
    batch_size: int,
    max_norm: float,
    train_size: int | None,
) -> None:
    network = words[: words.index("--image-size")]
    assert cli.main(["fit", str(many), *network, "--device", "cpu", *SHORT, *more, "--out", str(tmp_path / "run")]) == 0
    run = Run(tmp_path / "run")
    recipe = run.recipe
    assert (recipe.batch_size, recipe.max_norm, recipe.train_size) == (batch_size, max_norm, train_size)
    assert recipe.image_size == 96
    assert all(line["grad_norm"] > 0 for line in read_record(run.path) if line["kind"] == "train")


def test_random_weights_have_no_probe_to_train_from(many: Path, tmp_path: Path) -> None:
    words = ["--model", "own_parts:normed", "--strategy", "finetune", "--updates", "1", "--device", "cpu"]
    assert cli.main(["fit", str(many), *words, "--image-size", "28", "--out", str(tmp_path / "run")]) == 0
    recipe = Run(tmp_path / "run").recipe
    assert (recipe.head, recipe.averages, recipe.norm) == ("random", "ema", "follow")
    assert (recipe.batch_size, recipe.max_norm, recipe.train_size) == (32, 1.0, None)


@pytest.mark.parametrize(
    ("native", "more", "epochs"), [(False, (), 3), (True, (), 5), (True, ("--precision", "fp32"), 3)]
)
def test_a_run_is_longer_where_bf16_is_native(
    run: Fit, many: Path, monkeypatch: pytest.MonkeyPatch, native: bool, more: tuple[str, ...], epochs: int
) -> None:
    monkeypatch.setattr("hone.precision.device.native_bf16", lambda device: native)
    monkeypatch.setattr(strategy, "_CPU_IMAGES", {"fp32": 3 * 48, "bf16": 5 * 48})
    assert run(many, *more).recipe.updates == epochs * 6


def test_a_run_is_longer_where_a_probe_explains_little(run: Fit, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(length, "_EPOCHS", (10, 10))
    usual = run(many)  # its photos are told apart by their colour
    assert usual.recipe.updates == 8 * 6 and not note(usual, "length")
    monkeypatch.setattr(length, "_LITTLE", 1.0)
    longer = run(many)
    assert longer.recipe.updates == longer.result.updates == 10 * 6
    assert note(longer, "length").startswith("10 epochs: a probe explains ")
    assert note(run(many, "--epochs", "2"), "length") == ""
    monkeypatch.setattr(length, "_EPOCHS", (8, 8))
    same = run(many)  # which passed over the features to no end, and is the usual run
    assert differing(usual.last, same.last) == []


def test_what_is_stated_is_never_changed(run: Fit, few: Path) -> None:
    stated = {"epochs": "2", "lr": "0.003", "layer_decay": "0.9", "augment": "strong", "head": "random", "warmup": "3"}
    more = [part for name, value in stated.items() for part in (f"--{name.replace('_', '-')}", value)]
    recipe = run(few, *more).recipe
    assert (recipe.strategy, recipe.updates, recipe.lr, recipe.layer_decay) == ("finetune", 4, 0.003, 0.9)
    assert (recipe.augment, recipe.head, recipe.warmup, recipe.train) == ("strong", "random", 3, "all")


def test_none_is_exactly_what_is_stated(run: Fit, few: Path) -> None:
    found = run(few, "--strategy", "none")
    recipe = found.recipe
    assert (recipe.strategy, recipe.updates, recipe.layer_decay, recipe.augment) == ("none", 3 * 2, 1.0, "light")
    assert {line["kind"] for line in read_record(found.path)} == {"train", "eval"}
    assert not note(found, "strategy")


def test_random_weights_are_trained_plainly(many: Path, tmp_path: Path) -> None:
    words = ["--model", "own_parts:normed", "--image-size", "32", "--updates", "2", "--device", "cpu"]
    assert cli.main(["fit", str(many), *words, "--out", str(tmp_path / "run")]) == 0
    found = Run(tmp_path / "run")
    assert found.recipe.strategy == "none" and "random weights" in note(found, "strategy")


# Never pay twice


@pytest.mark.parametrize("train", ["head", "4,head", "head; 5: 3,4,head"])
def test_cached_training_is_training(run: Fit, many: Path, train: str) -> None:
    common = ("--train", train, "--augment", "none", "--strategy", "none", "--head", "random", "--epochs", "2")
    cached, plain = run(many, *common), run(many, *common, "--cache", "0")
    assert "frozen part runs once: 63 x " in note(cached, "features") and not note(plain, "features")
    assert differing(cached.last, plain.last) == []
    assert differing(cached.best, plain.best) == []


def test_a_head_that_trains_alone_sees_the_centre_crop(run: Fit, many: Path) -> None:
    found = run(many, "--train", "head", "--epochs", "3")
    assert found.recipe.augment == "none" and "frozen part runs once" in note(found, "features")
    assert "photos are augmented anew" in note(
        run(many, "--train", "head", "--augment", "light", "--epochs", "1"), "features"
    )


def test_views_are_kept_and_drawn(run: Fit, many: Path) -> None:
    words = ("--train", "head", "--views", "3", "--epochs", "2", "--head", "random")
    found = run(many, *words)
    assert f"{3 * 48 + 15} x 64 numbers computed" in note(found, "features")
    assert f"{3 * 48 + 15} x 64 numbers found" in note(again := run(many, *words), "features")
    assert differing(found.last, again.last) == []
    assert differing(found.last, run(many, *words[:3], "2", *words[4:]).last) != []


def test_a_changed_photo_is_another_cache(run: Fit, few: Path, tmp_path: Path) -> None:
    data = class_folders(tmp_path / "data", (6, 6, 6))
    words = ("--train", "head", "--augment", "none", "--epochs", "1", "--val-fraction", "0")
    assert "computed" in note(run(data, *words), "features")
    assert "found" in note(run(data, *words), "features")
    file = next((data / "ant").iterdir())
    content = bytearray(file.read_bytes())
    from PIL import Image

    pixels = np.array(Image.open(file))
    pixels[3, 3, 0] ^= 1
    Image.fromarray(pixels).save(file)
    assert content != file.read_bytes()
    assert "computed" in note(run(data, *words), "features")


def test_a_damaged_cache_is_made_anew_and_said(
    run: Fit, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HONE_CACHE", str(tmp_path))
    words = ("--train", "head", "--augment", "none", "--epochs", "1")
    first = run(many, *words)
    for file in (tmp_path / "features").glob("*.bin"):
        content = bytearray(file.read_bytes())
        content[5] ^= 1
        file.write_bytes(content)
    again = run(many, *words)
    assert "computed anew: " in note(again, "features") and "is damaged" in note(again, "features")
    assert differing(first.last, again.last) == []


def test_no_room_is_said_and_costs_time_only(
    run: Fit, many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HONE_CACHE", str(tmp_path))
    words = ("--train", "head", "--augment", "none", "--epochs", "1")
    found = run(many, *words, "--cache", "1kB")
    assert "run in every epoch: frozen features need" in note(found, "features")
    assert "--cache allows 1.0 kB" in note(found, "features")
    assert differing(found.last, run(many, *words).last) == []


# Averages


@pytest.mark.parametrize("stated", [(), ("--averages", "swa, soup, line")], ids=["usual", "others"])
def test_a_run_that_goes_on_averages_as_one_that_was_never_stopped(
    run: Fit, many: Path, monkeypatch: pytest.MonkeyPatch, stated: tuple[str, ...]
) -> None:
    whole = run(many, "--epochs", "2", *stated)
    with monkeypatch.context() as patch:
        patch.setattr(_Training, "is_asked_to_stop", lambda self, step: step.update == 7)
        stopped = run(many, "--epochs", "2", *stated)
    assert stopped.result.interrupted and (stopped.checkpoints / "start.safetensors").exists()
    assert cli.main(["fit", "--resume", str(stopped.path)]) == 0
    lines = [
        [line["metrics"] for line in read_record(each.path) if line["kind"] == "average"] for each in (whole, stopped)
    ]
    assert lines[0] == lines[1] and len(lines[0]) >= 2
    assert differing(whole.best, stopped.best) == [] and differing(whole.last, stopped.last) == []
    kept = [sorted(path.name for path in each.checkpoints.glob("*.safetensors")) for each in (whole, stopped)]
    assert kept[0] == kept[1] and "start.safetensors" in kept[0]  # what another end needs


def test_averages_are_those_of_the_weights(run: Fit, many: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The mean, the line and the soup, against weights noted before the first update and after each."""
    noted: list[dict[str, Tensor]] = []
    tried: dict[str, dict[str, Tensor]] = {}
    take, evaluate = Averages.take, _Training.evaluate

    def note_weights(self: Averages, step: Any) -> None:
        noted.append({name: x.detach().double().clone() for name, x in self._job.model.state_dict().items()})
        if step is not None:
            take(self, step)

    def note_tried(self: _Training, batches: Any = None) -> dict[str, float]:
        if self.state.loop.update == self.job.total_updates:
            tried[str(len(tried))] = {
                name: x.detach().double().clone() for name, x in self.job.model.state_dict().items()
            }
        return evaluate(self, batches)

    def note_start(self: Averages) -> None:
        note_weights(self, None)
        begin(self)

    begin = Averages.begin
    monkeypatch.setattr(Averages, "begin", note_start)
    monkeypatch.setattr(Averages, "take", note_weights)
    monkeypatch.setattr(_Training, "evaluate", note_tried)
    run(many, "--epochs", "4", "--averages", "swa, line, soup", "--eval-every", "6")
    total = len(noted) - 1
    _, middle_of_mean, middle, mean, *soups = tried.values()  # the first is the last evaluation of the loop

    def holds(found: dict[str, Tensor], parts: Sequence[dict[str, Tensor]]) -> bool:
        means = {name: sum(part[name] for part in parts) / len(parts) for name in found}
        return all(torch.allclose(found[name], value, rtol=1e-4, atol=1e-6) for name, value in means.items())

    half = noted[math.ceil(0.5 * total) :]
    assert holds(mean, half) and not holds(mean, half[1:])
    assert holds(middle, [noted[0], noted[total]]) and holds(middle_of_mean, [noted[0], mean])
    assert soups and any(holds(soups[0], pair) for pair in itertools.combinations(noted[6::6], 2))


def test_what_is_kept_is_what_was_judged_and_the_last_weights_are_the_last(run: Fit, many: Path) -> None:
    found = run(many, "--averages", "ema, swa, line, soup")
    kept = [line for line in read_record(found.path) if line.get("best")][-1]
    assert found.result.best is not None and found.result.final["accuracy"] == kept["metrics"]["accuracy"]
    assert found.result.final["loss"] == pytest.approx(kept["metrics"]["loss"], rel=1e-5)
    plain = run(many, "--averages", "none")
    assert differing(found.last, plain.last) == []
    assert kept["kind"] == "eval" or differing(found.best, found.last)


def averages(run: Run) -> list[str]:
    """The names of what was tried at the end, of the last one."""
    return [line["weights"] for line in read_record(run.path) if line["kind"] == "average"]


def says_what_it_keeps(run: Run, data: Path, tmp_path: Path) -> bool:
    """Whether the weights of ``best.safetensors`` are those that the result is of."""
    assert run.result.best is not None and run.result.best.value == run.result.final[run.result.metric]
    measured = tmp_path / "measured.json"
    assert cli.main(["evaluate", str(run.path), str(data / "val"), "--json", str(measured)]) == 0
    found = json.loads(measured.read_text())
    return bool(found["loss"] == pytest.approx(run.result.final["loss"], rel=1e-4))


def test_a_mean_of_no_weights_is_not_tried(run: Fit, many: Path) -> None:
    """Out of patience before the second half: what the averages started from was the untrained head."""
    found = run(many, "--updates", "400", "--eval-every", "3", "--patience", "1", "--averages", "ema, swa, line")
    assert found.result.updates < 200
    assert averages(found) and not [name for name in averages(found) if "mean" in name]
    average = next(line for line in read_record(found.path) if line.get("weights") == "average of the last updates")
    probe = next(line for line in read_record(found.path) if line.get("weights") == "linear probe")
    assert average["metrics"]["loss"] < 1.05 * probe["metrics"]["loss"]


@pytest.mark.parametrize("stated", [(), ("--averages", "ema, swa, line, soup")], ids=["usual", "all"])
@pytest.mark.parametrize("longer", [12, 40])
def test_a_finished_run_goes_on_to_another_end(
    run: Fit, many: Path, tmp_path: Path, stated: tuple[str, ...], longer: int
) -> None:
    found = run(many, "--updates", "10", "--eval-every", "3", *stated)
    for updates, choice in ((longer, "continue"), (longer + 9, "stretch")):
        before = len(averages(found))
        more = ["--updates", str(updates), "--on-extend", choice]
        assert cli.main(["fit", "--resume", str(found.path), *more]) == 0
        assert found.result.updates == updates and len(averages(found)) >= before + 4
        assert says_what_it_keeps(found, many, tmp_path)


def test_a_run_out_of_patience_goes_on_to_another_end(run: Fit, many: Path, tmp_path: Path) -> None:
    found = run(many, "--updates", "40", "--eval-every", "2", "--patience", "1")
    assert (reached := found.result.updates) < 40
    assert cli.main(["fit", "--resume", str(found.path), "--updates", "60", "--on-extend", "continue"]) == 0
    assert found.result.updates > reached and says_what_it_keeps(found, many, tmp_path)


def test_killed_while_averages_are_tried(
    run: Fit, many: Path, words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopped, length = tmp_path / "run", ["--updates", "40", "--eval-every", "2", "--patience", "1"]
    whole = run(many, *length)
    with monkeypatch.context() as patch:
        patch.setattr(_Training, "keep_the_best", lambda self, record: (_ for _ in ()).throw(KeyboardInterrupt))
        assert cli.main(["fit", str(many), *words, *length, "--out", str(stopped)]) == 130
    assert cli.main(["fit", "--resume", str(stopped)]) == 0
    assert averages(Run(stopped)) == averages(whole) and differing(Run(stopped).best, whole.best) == []


def test_norms_that_move_are_written_as_they_were_judged(
    many: Path, source: str, own_folder: Path, tmp_path: Path
) -> None:
    """Dropout before a norm: the statistics of averaged weights are found by chance, the same each time."""
    (own_folder / "dropping_parts.py").write_text(
        "from torch import nn\n\n\ndef dropping():\n    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), "
        "nn.Dropout(0.5), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), "
        "nn.Linear(8, 3))\n"
    )
    words = ["--model", "dropping_parts:dropping", "--image-size", "32", "--device", "cpu"]
    out = ["--averages", "swa", "--updates", "6", "--norm", "follow", "--out", str(tmp_path / "run")]
    assert cli.main(["fit", str(many), *words, *out]) == 0
    found = Run(tmp_path / "run")
    [average] = [line for line in read_record(found.path) if line["kind"] == "average"]
    assert average["best"] and found.result.final["loss"] == pytest.approx(average["metrics"]["loss"], rel=1e-6)


def test_averages_nobody_has_are_an_error(fails: Callable[..., str], many: Path) -> None:
    assert "averages 'mean' is not known" in fails(many, "--averages", "ema, mean")
    assert "averages are of plain weights, got averages ema with lora 2" in fails(
        many, "--averages", "ema", "--lora", "2"
    )
    assert "averages line begins at a probe, got line with head random" in fails(
        many, "--averages", "line", "--head", "random"
    )
    assert "kept where validation says so, got soup without validation data" in fails(
        many / "train", "--averages", "soup", "--val-fraction", "0"
    )
    assert "makes no updates that averages ema could be of" in fails(many, "--averages", "ema", "--strategy", "probe")


# Budget and folds


def test_a_budget_decides_the_length(run: Fit, many: Path) -> None:
    found = run(many, "--budget", "1")
    assert found.recipe.strategy == "finetune" and 30 * 6 >= int(found.recipe.updates or 0) >= 6
    assert found.result.seconds < 60
    assert "1 min allow" in note(found, "budget")


def test_a_budget_too_small_for_an_epoch_is_a_probe(run: Fit, many: Path) -> None:
    found = run(many, "--budget", "0.001")
    assert found.recipe.strategy == "probe" and "too short for one epoch" in note(found, "budget")
    assert found.result.updates == 0


def test_folds_measure_every_photo(run: Fit, few: Path) -> None:
    found = run(few, "--folds", "3")
    assert found.recipe.strategy == "probe" and "3 folds of 3 classes x 9 photos" in note(found, "strategy")
    assert sum(map(sum, found.result.confusion or [])) == 27


@pytest.mark.parametrize("task", ["multilabel", "regress"])
def test_labels_and_numbers_have_probes(run: Fit, tmp_path: Path, task: str) -> None:
    names = flat_photos(tmp_path / "photos", 30)
    label = {"multilabel": lambda k: ("ant", "bee", "ant;cat")[k % 3], "regress": lambda k: 10 * (k % 3) + 5}[task]
    table = write_table(
        tmp_path / "data.csv", [("path", "label"), *((f"photos/{n}", label(k)) for k, n in enumerate(names))]
    )
    found = run(table, "--strategy", "probe", "--task", task)
    assert found.recipe.strategy == "probe" and found.result.best is not None
    if task == "regress":
        assert found.result.final["r2"] > 0.8
    else:
        assert found.result.best.value > 0.8


# What a user can get wrong


def test_contradictions_are_one_line(fails: Callable[..., str], few: Path) -> None:
    assert "strategy probe makes no updates" in fails(few, "--strategy", "probe", "--epochs", "3")
    assert "folds measures a probe, and strategy is finetune" in fails(few, "--strategy", "finetune", "--folds", "3")
    assert "budget decides the length of the run, and epochs 3 states it" in fails(
        few, "--budget", "2", "--epochs", "3"
    )
    assert "views must be 1 where augment is none" in fails(few, "--train", "head", "--augment", "none", "--views", "2")
    assert "views needs a frozen part that runs once: everything trains" in fails(few, "--views", "2", "--epochs", "1")
    assert "augment strong mixes" in fails(few, "--train", "head", "--augment", "strong", "--views", "2")
    assert "budget must be a finite number above 0, got -1" in fails(few, "--budget", "-1")
    assert "folds must be at most" in fails(few, "--folds", "100")


def test_a_probe_needs_a_source_and_a_linear_head(few: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = ["--model", "own_parts:normed", "--strategy", "probe", "--out", str(tmp_path / "out"), "--device", "cpu"]
    assert cli.main(["fit", str(few), *words]) == 2
    assert "needs the weights of a source" in capfd.readouterr().err


def test_rates_are_drawn_of_training(few: Path, words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["lr", str(few), *words]) == 0
    assert "lr 0.0001" in capsys.readouterr().out
    assert cli.main(["lr", str(few), *words, "--strategy", "probe"]) == 2
    assert "there are no rates to draw" in capsys.readouterr().err
