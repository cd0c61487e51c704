"""Going on: after SIGKILL at any moment, SIGTERM, Ctrl-C, a full disk or damage, and with another number of workers."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

import hone
from hone import cli
from hone.recipe import Run
from hone.training import Step, list_checkpoints, read_record

from .conftest import small_words
from .killing import start, wait_for_checkpoint
from .made import differing

#: A run that takes long enough to be killed: two photos an update, a checkpoint after every one, nothing left to chance
#: but what hashes decide: strong augmentation with mixing, dropout, warm-up, accumulation.
LONG = (
    "--augment", "strong", "--batch-size", "2", "--accumulate", "2", "--updates", "40", "--checkpoint-minutes", "1e-6",
    "--lr", "0.01", "--norm", "follow",
)  # fmt: skip


def resume(run: Run, *words: str) -> int:
    return cli.main(["fit", "--resume", str(run.path), *words])


@pytest.fixture(scope="module")
def whole(fit: Callable[..., Run], photos: Path) -> Run:
    """The run that nobody interrupts."""
    return fit(photos, *LONG)


@pytest.fixture(scope="module")
def base(fit: Callable[..., Run], photos: Path) -> Run:
    """A small run to its end."""
    return fit(photos)


@pytest.fixture(scope="module")
def killed(own_folder: Path, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same run, killed with SIGKILL somewhere after update 7: in the middle of an epoch of 6."""
    run = Run(tmp_path_factory.mktemp("killed") / "run")
    process = start(own_folder, small_words(photos, run.path, *LONG))
    wait_for_checkpoint(run, process, 7)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    return run


def test_after_sigkill_another_number_of_workers_gives_the_same_bits(whole: Run, killed: Run) -> None:
    update = int(list_checkpoints(killed.checkpoints)[-1].name.rpartition("-")[2])
    assert 7 <= update < 40 and not killed.last.exists()
    (killed.checkpoints / ".update-00000099.4711.draft").mkdir()  # as a writer leaves it that was killed
    assert resume(killed, "--workers", "2") == 0
    assert killed.last.read_bytes() == whole.last.read_bytes()
    assert killed.best.read_bytes() == whole.best.read_bytes()
    assert killed.result.best == whole.result.best and killed.result.final == whole.result.final
    evals = [[line["metrics"] for line in read_record(run.path) if line["kind"] == "eval"] for run in (killed, whole)]
    assert evals[0] == evals[1]
    assert not [path.name for path in killed.checkpoints.iterdir() if path.name.endswith(".draft")]


def test_another_seed_gives_other_bits(whole: Run, fit: Callable[..., Run], photos: Path) -> None:
    """The comparison can fail."""
    assert differing(fit(photos, *LONG, "--seed", "1").last, whole.last) != []


def test_a_finished_run_says_so(whole: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = whole.last.stat().st_mtime_ns
    assert resume(whole) == 0
    assert "finished" in capsys.readouterr().out and whole.last.stat().st_mtime_ns == before


def raise_after(patch: pytest.MonkeyPatch, attempt: int, *numbers: signal.Signals) -> None:
    """Send this process signals while the loop holds what it did at an attempt."""
    from hone.recipe import run

    meter_add = run.Meter.add

    def add(self: run.Meter, step: Step) -> None:
        meter_add(self, step)
        if step.attempt == attempt:
            for number in numbers:
                os.kill(os.getpid(), number)

    patch.setattr(run.Meter, "add", add)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_update_and_tells_how_to_go_on(
    number: signal.Signals,
    base: Run,
    photos: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    run, handler = Run(tmp_path / "run"), signal.getsignal(number)
    with monkeypatch.context() as patch:
        raise_after(patch, 4, number)
        assert cli.main(small_words(photos, run.path)) == 128 + number
    said = capfd.readouterr()
    assert f"hone fit --resume {run.path}" in said.out and f"by {number.name} at update 4/6" in said.out
    assert said.err == "" and run.result.interrupted and signal.getsignal(number) is handler
    assert resume(run) == 0
    assert differing(run.last, base.last) == [] and not run.result.interrupted


def test_a_second_ctrl_c_is_obeyed_at_once(
    base: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        raise_after(patch, 4, signal.SIGINT, signal.SIGINT)
        assert cli.main(small_words(photos, run.path)) == 130
    assert [path.name[-1] for path in list_checkpoints(run.checkpoints)] == ["3"]
    assert resume(run) == 0
    assert differing(run.last, base.last) == []


@pytest.fixture
def stopped(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run that was asked to stop after update 4 of 6."""
    run = Run(tmp_path / "run")
    with monkeypatch.context() as patch:
        raise_after(patch, 4, signal.SIGTERM)
        assert cli.main(small_words(photos, run.path)) == 143
    return run


def test_what_may_be_said_anew(stopped: Run, capfd: pytest.CaptureFixture[str]) -> None:
    assert resume(stopped, "--lr", "1") == 2 and "lr" in capfd.readouterr().err
    assert resume(stopped, "--loss.label_smoothing", "1") == 2 and "loss" in capfd.readouterr().err
    assert resume(stopped, "--workers", "1", "--cache", "0") == 0
    assert cli.main(["fit", "--resume", "nowhere"]) == 2


@pytest.mark.parametrize("file", ["model.safetensors", "state.json", "checksums.json"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_goes_on(
    stopped: Run, base: Run, file: str, capfd: pytest.CaptureFixture[str]
) -> None:
    *_, newest = list_checkpoints(stopped.checkpoints)
    (newest / file).write_bytes((newest / file).read_bytes()[:-7])
    assert resume(stopped) == 2
    line = capfd.readouterr().err
    assert str(newest) in line and file in line and "delete" in line and line.count("\n") == 1
    for path in sorted(newest.iterdir()):
        path.unlink()
    newest.rmdir()
    assert resume(stopped) == 0
    assert differing(stopped.last, base.last) == []


def test_patience_that_ran_out_is_remembered(fit: Callable[..., Run], photos: Path) -> None:
    """Killed between the last checkpoint and the result, a run that was out of patience does not train on."""
    run = fit(photos, "--lr", "1e-12", "--norm", "frozen", "--updates", "30", "--eval-every", "2", "--patience", "1")
    assert run.result.updates == 4
    whole = run.result.final
    last = run.last.read_bytes()
    for path in (run.last, run.path / "result.json"):
        path.unlink()
    assert resume(run) == 0
    assert run.result.updates == 4 and run.result.final == whole and run.last.read_bytes() == last


def test_a_full_disk_leaves_the_last_good_checkpoint(
    whole: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    run = Run(tmp_path / "run")
    written: list[Path] = []

    def save_file(tensors: object, path: Path, metadata: object) -> None:
        from safetensors import SafetensorError
        from safetensors.torch import save_file as real

        written.append(path)
        if len(written) > 12:
            Path(path).write_bytes(b"half")
            raise SafetensorError("Error while serializing: I/O error: No space left on device (os error 28)")
        real(tensors, path, metadata)  # type: ignore[arg-type]

    with monkeypatch.context() as patch:
        patch.setattr("hone.training.checkpoint.save_file", save_file)
        assert cli.main(small_words(photos, run.path, *LONG)) == 2
    line = capfd.readouterr().err
    assert "disk is full" in line and line.count("\n") == 1
    assert 1 <= len(list_checkpoints(run.checkpoints)) <= 2
    assert not list(run.path.rglob("*.draft"))
    assert resume(run) == 0
    assert differing(run.last, whole.last) == []


def test_python_goes_on_too(stopped: Run, base: Run) -> None:
    run = hone.finetune(resume=stopped.path, workers=0, quiet=True)
    assert run.path == stopped.path and differing(run.last, base.last) == []
    with pytest.raises(ValueError, match="lr is part of that"):
        hone.finetune(resume=stopped.path, lr=1.0)
