"""What a run writes down, what a crash does to it, and how a stop is asked for."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path

import pytest

from hone.training import Record, StopSignal, read_record
from hone.training.folders import remove_drafts, written_beside


def line(update: int, kind: str = "train") -> dict[str, object]:
    return {"kind": kind, "update": update, "loss": 0.5, "lr": {"head": 0.1}, "metrics": {"loss": 1.0}}


def test_lines_after_the_checkpoint_are_taken_out(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        for update in (1, 2, 3):
            record.write(line(update))
    with Record(tmp_path, update=2) as record:
        record.write(line(3))
        record.write(line(4))
    assert [each["update"] for each in read_record(tmp_path)] == [1, 2, 3, 4]


def test_a_line_that_was_cut_off_is_left_out(tmp_path: Path) -> None:
    with Record(tmp_path) as record:
        record.write(line(1))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write('{"kind": "train", "upd')
    assert [each["update"] for each in read_record(tmp_path)] == [1]
    with Record(tmp_path, update=1) as record:
        record.write(line(2))
    assert [each["update"] for each in read_record(tmp_path)] == [1, 2]


def test_damage_in_the_middle_is_named(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"update": 1}\nnonsense\n{"update": 2}\n')
    with pytest.raises(ValueError, match="line 2"):
        read_record(tmp_path)


def test_other_processes_write_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Record(None) as record:
        record.write(line(1))
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old(tmp_path: Path) -> None:
    target = tmp_path / "notes.txt"
    target.write_text("old")
    with pytest.raises(OSError, match="full"), written_beside(target) as draft:
        draft.write_text("half of the n")
        raise OSError("the disk is full")
    assert target.read_text() == "old" and list(tmp_path.iterdir()) == [target]


def test_a_folder_takes_the_place_of_a_folder(tmp_path: Path) -> None:
    for text in ("old", "new"):
        with written_beside(tmp_path / "folder") as draft:
            draft.mkdir()
            (draft / "file").write_text(text)
    assert (tmp_path / "folder" / "file").read_text() == "new"
    (tmp_path / ".folder.7.draft").mkdir()
    remove_drafts(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_is_noted_and_the_handler_put_back(number: signal.Signals) -> None:
    before = signal.getsignal(number)
    with StopSignal() as stop:
        assert stop.name is None
        os.kill(os.getpid(), number)
        assert stop.name == number.name
    assert signal.getsignal(number) is before


def test_a_second_ctrl_c_is_obeyed() -> None:
    with StopSignal() as stop:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
    assert stop.name == "SIGTERM"


def test_outside_the_main_thread_nothing_is_noted() -> None:
    found: list[str | None] = []

    def work() -> None:
        with StopSignal() as stop:
            found.append(stop.name)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert found == [None]
