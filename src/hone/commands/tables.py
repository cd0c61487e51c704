"""Tables at the terminal: plain columns, and whole lines where the output is piped."""

from __future__ import annotations

from collections.abc import Iterable

from rich.console import Console
from rich.table import Table
from rich.text import Text


def columns(*heads: str) -> Table:
    """A table without rules; a heading that begins with ``>`` stands over a column of numbers.

    Example:
        >>> [column.justify for column in columns("layer", ">parameters").columns]
        ['left', 'right']
    """
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 2, 0, 0))
    for head in heads:
        table.add_column(head.removeprefix(">"), justify="right" if head.startswith(">") else "left", overflow="fold")
    return table


def add_row(table: Table, cells: Iterable[object], style: str = "") -> None:
    """Add a row; a cell's text stands as it is: square brackets in names are not rich's markup."""
    table.add_row(*(Text(str(cell)) for cell in cells), style=style)


def show(table: Table) -> None:
    """Print a table: as wide as the terminal, or, without one, as wide as it needs."""
    console = Console(highlight=False)
    if console.is_terminal:
        console.print(table)
        return
    wide = Console(highlight=False, width=10_000, color_system=None)
    with wide.capture() as captured:
        wide.print(table)
    print("\n".join(line.rstrip() for line in captured.get().splitlines()))
