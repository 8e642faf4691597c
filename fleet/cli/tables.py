"""Tables and text on stdout: foreign text cleaned, colour only on terminals."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.core.text import clean

PIPED_WIDTH = 200


def console() -> Console:
    """Standard output, as wide as the terminal; wide when it is no terminal, so that nothing is folded."""
    out = Console(markup=False, highlight=False, emoji=False)
    if not out.is_terminal:
        out.width = PIPED_WIDTH
    return out


def show_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Prints a table; every cell is taken as foreign."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in columns:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(clean(cell)) for cell in row))
    console().print(table)


def show_lines(lines: Iterable[str]) -> None:
    """Prints lines, each cleaned."""
    out = console()
    for line in lines:
        out.print(Text(clean(line, 1000)), soft_wrap=True)
