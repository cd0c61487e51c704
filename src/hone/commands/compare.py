"""``hone compare RUN...``: several runs side by side, the best first."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from pathlib import Path

from hone.commands.arguments import Parser
from hone.commands.console import say
from hone.commands.tables import show
from hone.recipe.folder import as_json
from hone.report import RunRow, compare_runs, comparison_table, write_comparison


def main(words: Sequence[str]) -> int:
    """Run ``hone compare WORDS``."""
    parser = Parser("compare", "Show runs side by side: what they reached, at what price, and where they differ.")
    parser.add_argument("runs", metavar="RUN", nargs="+", help="run folders")
    parser.add_argument("--out", metavar="FILE.html", help="write a page with their curves")
    parser.add_argument("--json", metavar="FILE", help="write the rows here")
    found = parser.parse_args(words)
    rows = compare_runs(found.runs)
    show(comparison_table(rows))
    if found.json:
        Path(found.json).write_text(as_json([_plain(row) for row in rows]))
    if found.out:
        say("page", str(write_comparison(found.out, rows)))
    return 0


def _plain(row: RunRow) -> dict[str, object]:
    """A row as JSON holds it: NaN, which JSON has no word for, is null."""
    values = {**dataclasses.asdict(row), "path": str(row.path)}
    return {key: None if isinstance(value, float) and math.isnan(value) else value for key, value in values.items()}
