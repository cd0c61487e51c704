"""Going on to another end: what each choice makes of the schedule, killed and resumed in between, and refusals."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

import hone
from hone import cli
from hone.recipe import Run
from hone.training import Checkpoint, list_checkpoints, read_checkpoint, read_record, save_checkpoint

from .conftest import small_words
from .made import differing

Fit = Callable[..., Run]
LR = 0.01
#: Every update is a line of the record and a checkpoint.
EACH = ("--lr", str(LR), "--warmup", "0", "--eval-every", "1", "--head-multiplier", "1")


class Killed(BaseException):
    """The process is gone."""


@pytest.fixture(scope="module")
def short(fit: Fit, photos: Path) -> Run:
    """A run of 6 updates that came to its end."""
    return fit(photos, *EACH)


@pytest.fixture
def run(short: Run, tmp_path: Path) -> Run:
    """A copy of it, to go on with."""
    return Run(Path(shutil.copytree(short.path, tmp_path / "run")))


def resume(run: Run, *words: str) -> int:
    return cli.main(["fit", "--resume", str(run.path), *words])


def rates(run: Run) -> list[float]:
    """The head's rate at every update."""
    lines = [line for line in read_record(run.path) if line["kind"] == "train"]
    assert [line["update"] for line in lines] == list(range(1, len(lines) + 1))
    return [line["lr"]["head"] for line in lines]


def cosine(update: int, total: int) -> float:
    return LR * (1 + math.cos(math.pi * update / total)) / 2


def test_without_a_choice_all_are_shown(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()}
    assert resume(run, "--updates", "9") == 2
    error = capsys.readouterr().err
    assert "on_extend must be continue, stretch or restart" in error and error.count("\n") == 1
    stretch = ", ".join(f"{cosine(update, 9):.3g}" for update in (6, 7, 8))
    assert f"from update 6: continue 0, 0, 0; stretch {stretch}; restart 0.01, " in error
    assert {path: path.read_bytes() for path in run.path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("choice", "following"),
    [
        ("continue", [0.0] * 3),
        ("stretch", [cosine(update, 9) for update in (6, 7, 8)]),
        ("restart", [cosine(update, 3) for update in (0, 1, 2)]),
    ],
)
def test_each_choice(run: Run, choice: str, following: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(run, "--updates", "9", "--on-extend", choice) == 0
    assert rates(run) == pytest.approx([cosine(update, 6) for update in range(6)] + following, abs=1e-12)
    assert run.result.updates == 9 and not run.result.interrupted
    assert "over 6 updates" in (said := capsys.readouterr().out) and "to 9" in said
    assert run.recipe.updates == 6  # what was planned stays the plan


def test_killed_after_an_extension_and_resumed(run: Run, tmp_path: Path) -> None:
    """Once more longer, then killed: the ends are in the checkpoint, so plain --resume is enough."""
    assert resume(run, "--updates", "9", "--on-extend", "stretch") == 0
    assert resume(run, "--updates", "12", "--on-extend", "restart") == 0
    killed = Run(Path(shutil.copytree(run.path, tmp_path / "killed")))
    shutil.rmtree(list_checkpoints(killed.checkpoints)[-1])
    (killed.path / "result.json").unlink()
    assert resume(killed) == 0
    assert killed.result.updates == 12
    assert differing(killed.last, run.last) == []
    expected = [cosine(u, 6) for u in range(6)] + [cosine(u, 9) for u in (6, 7, 8)] + [cosine(u, 3) for u in range(3)]
    assert rates(killed) == pytest.approx(expected, abs=1e-12)


def test_a_result_that_is_no_more_is_not_believed(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed before the longer run's first checkpoint: the old end's result does not call the run finished."""

    def kill(*args: object, **options: object) -> None:
        raise Killed

    monkeypatch.setattr("hone.recipe.run.updates", kill)
    with pytest.raises(Killed):
        resume(run, "--updates", "9", "--on-extend", "stretch")
    assert not (run.path / "result.json").exists()
    monkeypatch.undo()
    assert resume(run, "--updates", "9", "--on-extend", "stretch") == 0
    assert run.result.updates == 9


def test_a_shorter_end(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def save_and_die(folder: Path, update: int, checkpoint: Checkpoint) -> None:
        save_checkpoint(folder, update, checkpoint)
        if update == 4:
            raise Killed

    monkeypatch.setattr("hone.recipe.run.save_checkpoint", save_and_die)
    run = Run(tmp_path / "run")
    with pytest.raises(Killed):
        cli.main(small_words(photos, run.path, *EACH, "--updates", "20"))
    monkeypatch.undo()
    assert resume(run, "--updates", "7", "--on-extend", "stretch") == 0
    assert rates(run) == pytest.approx([cosine(u, 20) for u in range(4)] + [cosine(u, 7) for u in (4, 5, 6)])
    assert run.result.updates == 7


@pytest.mark.parametrize(("choice", "after"), [("continue", 1 / 16), ("stretch", 1 / 16), ("restart", 1.0)])
def test_what_a_plateau_has_learned(fit: Fit, photos: Path, choice: str, after: float) -> None:
    """Never better by the threshold: every reading but the first halves the rate, and a restart forgets that."""
    plateau = ("--schedule", "ReduceLROnPlateau", "--schedule.factor", "0.5", "--schedule.patience", "0")
    words = (*plateau, "--schedule.threshold", "10", "--schedule.threshold_mode", "abs", "--metric", "loss")
    run = fit(photos, *EACH, *words, "--updates", "5")
    assert rates(run) == pytest.approx([LR * factor for factor in (1, 1, 1 / 2, 1 / 4, 1 / 8)])
    assert resume(run, "--updates", "6", "--on-extend", choice) == 0
    assert rates(run)[5] == pytest.approx(LR * after)
    state = read_checkpoint(list_checkpoints(run.checkpoints)[-1]).state
    assert state["extensions"] == [[choice, 5, 6]]


def test_from_python(run: Run) -> None:
    longer = hone.finetune(resume=run.path, updates=8, on_extend="stretch", quiet=True)
    assert longer.result.updates == 8
    with pytest.raises(ValueError, match="give resume, too"):
        hone.finetune("photos", updates=8, on_extend="stretch")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume", "RUN", "--updates", "6", "--lr", "1"], "lr is part of that"),
        (["--resume", "RUN", "--updates", "5"], "updates must be a whole number at least 7, got 5"),
        (["--resume", "RUN", "--updates", "9", "--on-extend", "strech"], "did you mean stretch"),
        (["photos", "--on-extend", "stretch"], "give --resume RUN, too"),
    ],
)
def test_bad_input_is_one_line(short: Run, words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fit", *[str(short.path) if word == "RUN" else word for word in words]]) == 2
    error = capsys.readouterr().err
    assert message in error and error.count("\n") == 1


def test_the_end_that_it_has_changes_nothing(run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    before = run.last.read_bytes()
    assert resume(run, "--updates", "6") == 0
    assert run.last.read_bytes() == before
    assert resume(run) == 0
    assert "--updates N goes on to another end" in capsys.readouterr().out
