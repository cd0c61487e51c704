"""``hone --help`` at once, the version, the help of every verb, and verbs that are none."""

from __future__ import annotations

import subprocess
import sys

import pytest

import hone
from hone import cli

HEAVY = ("torch", "numpy", "rich", "yaml", "PIL", "docstring_parser")


@pytest.mark.parametrize("words", [["--help"], ["--version"], []])
def test_help_and_version_load_nothing_heavy(words: list[str]) -> None:
    code = f"import sys; from hone import cli; assert cli.main({words}) == 0; print(*sys.modules, file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(HEAVY) & set(done.stderr.split())
    assert done.stdout.startswith("hone")


def test_every_verb_is_in_the_help_and_answers_for_itself(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--help"]) == 0
    said = capsys.readouterr().out
    for verb in cli.VERBS:
        assert f"\n  {verb} " in said
        with pytest.raises(SystemExit) as end:
            cli.main([verb, "--help"])
        assert end.value.code == 0
        assert f"usage: hone {verb}" in capsys.readouterr().out


def test_the_help_of_fit_names_every_option_and_its_default(capsys: pytest.CaptureFixture[str]) -> None:
    from hone.recipe.schema import option_names

    with pytest.raises(SystemExit):
        cli.main(["fit", "--help"])
    said = " ".join(capsys.readouterr().out.split())
    for name in option_names():
        option = {"data": "DATA", "source": "--from"}.get(name, f"--{name.replace('_', '-')}")
        assert option in said
    assert "(mobilenet_v2)" in said and "(AdamW)" in said and "--no-pretrained" in said and "--resume RUN" in said


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capsys.readouterr().out == f"hone {hone.__version__}\n"


def test_an_unknown_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["fti"]) == 2
    line = capsys.readouterr().err
    assert "'fti'" in line and "fit" in line and line.count("\n") == 1


def test_a_traceback_on_request(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HONE_TRACEBACK", "1")
    with pytest.raises(ValueError, match="not known"):
        cli.main(["fti"])


def test_a_module_that_is_missing_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "hone.commands.fit", None)  # what Python does for a module that can't be found
    assert cli.main(["fit"]) == 2
    assert "pip install" in capsys.readouterr().err
