"""The direction of imports: cli -> commands -> recipe -> the workshops -> the four pillars -> checks -> torch."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[1] / "src" / "hone"
PILLARS = {"losses", "schedules", "transfer", "precision"}
LEVEL = {"checks": 0, **dict.fromkeys(PILLARS, 1)}
LEVEL |= dict.fromkeys(("training", "data", "models", "report", "export", "testing"), 2)
LEVEL |= {"recipe": 3, "commands": 4, "cli": 5, "__main__": 6, "__init__": 6}


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_rooms(path: Path) -> set[str]:
    """The rooms of hone that a file imports, relative imports resolved."""
    package = ("hone", *path.relative_to(SOURCE).parts[:-1])
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = list(package[: len(package) - node.level + 1]) if node.level else []
            stem = ".".join([*base, *([node.module] if node.module else [])])
            names = [f"{stem}.{alias.name}" for alias in node.names]
        else:
            continue
        found |= {name.split(".")[1] for name in names if name.startswith("hone.")}
    return {room for room in found if room in LEVEL}


def violations(path: Path) -> list[str]:
    here = room_of(path)
    return [
        f"{path.relative_to(SOURCE)}: {here} imports {there}"
        for there in sorted(imported_rooms(path) - {here})
        if LEVEL[there] > LEVEL[here] or (here in PILLARS and there in PILLARS)
    ]


def test_imports_go_down_only() -> None:
    files = sorted(SOURCE.rglob("*.py"))
    assert len(files) > 10
    assert [line for path in files for line in violations(path)] == []


@pytest.mark.parametrize("line", ["from ..training import updates", "import hone.schedules", "from hone import cli"])
def test_an_import_against_the_direction_is_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    monkeypatch.setattr(sys.modules[__name__], "SOURCE", tmp_path)
    (tmp_path / "losses").mkdir()
    bad = tmp_path / "losses" / "bad.py"
    bad.write_text(line + "\n")
    assert violations(bad)


def test_import_hone_loads_no_torch() -> None:
    code = "import sys, hone; sys.exit('torch' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
