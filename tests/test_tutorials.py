"""The tutorials run, in both languages, and say the same code."""

from __future__ import annotations

import doctest
from pathlib import Path

import pytest

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "tutorials"
PAGES = sorted(FOLDER.glob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_line_runs(page: Path) -> None:
    found = doctest.testfile(str(page), module_relative=False, optionflags=doctest.ELLIPSIS)
    assert found.attempted > 5 and found.failed == 0


def code(page: Path) -> list[str]:
    """The examples of a page, less their comments, which are in its language."""
    examples = doctest.DocTestParser().get_examples(page.read_text(encoding="utf-8"))
    return ["\n".join(line.partition("  # ")[0] for line in example.source.splitlines()) for example in examples]


@pytest.mark.parametrize("page", sorted(FOLDER.glob("*.zh-CN.md")), ids=lambda page: page.name)
def test_both_languages_run_the_same_code(page: Path) -> None:
    assert code(page) == code(page.with_name(page.name.replace(".zh-CN", "")))


def test_every_page_is_there_in_both_languages() -> None:
    names = {page.name for page in PAGES}
    assert names and all(name.replace(".zh-CN.md", ".md") in names for name in names)
    assert all(name.replace(".md", ".zh-CN.md") in names for name in names if ".zh-CN" not in name)
