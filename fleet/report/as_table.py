"""The rows as a table for people, with the summary block below it.

Names come from strangers: they are cleaned, and never read as markup.
"""

from __future__ import annotations

import io
from collections import Counter
from collections.abc import Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

from fleet.core.duration import duration
from fleet.core.events import Outcome
from fleet.core.rows import Row
from fleet.core.text import clean
from fleet.report.as_text import LONGEST, summary_text
from fleet.report.summary import Report

UNBOUNDED = 10_000  # columns; lines are as long as they need to be when nobody says how wide the view is
FEW = 40  # rows that even a brief table shows whole
MOST_ROWS = 20  # of one outcome in a brief table

# What a person should look at, the most urgent first.
_TROUBLE = (
    *(Outcome.STRANDED, Outcome.UNKNOWN, Outcome.FAILED),
    *(Outcome.DRIFTED, Outcome.GONE, Outcome.NOT_STARTED),
)
_STYLES = {
    Outcome.CHANGED: "green",
    Outcome.FAILED: "red",
    Outcome.STRANDED: "bold red",
    Outcome.UNKNOWN: "bold red",
    Outcome.DRIFTED: "yellow",
    Outcome.GONE: "yellow",
}


def table_text(report: Report, *, width: int | None = None, color: bool = False, brief: bool = False) -> str:
    """The table and the summary. `width` is that of the terminal, None for none.

    `brief` shows of many rows only those that need a person, the first of each outcome, and says what it left
    out and how to see it.
    """
    rows = _worth_telling(report.rows) if brief else report.rows
    told = report.whole(_left_out(report, rows))
    return f"{_table(report, rows, width, color)}\n{told}{summary_text(report)}"


def _worth_telling(rows: Sequence[Row]) -> Sequence[Row]:
    if len(rows) <= FEW:
        return rows
    return [
        row for outcome in _TROUBLE for row in [one for one in rows if one.outcome is outcome][:MOST_ROWS]
    ]


def _left_out(report: Report, shown: Sequence[Row]) -> str:
    """What is not in the table, by outcome, and the command that shows it; empty when all is there."""
    left = Counter(row.outcome or "open" for row in report.rows)
    left.subtract(row.outcome or "open" for row in shown)
    named = ", ".join(f"{number} {word}" for word, number in left.items() if number)
    return f"and {left.total()} more, {named}: fleet report {report.run} --all\n" if named else ""


def _table(report: Report, rows: Sequence[Row], width: int | None, color: bool) -> str:
    table = Table(box=None, pad_edge=False, header_style="bold" if color else "")
    for title in ("scope", "name", "id", "wave", "outcome", "run state", "away", "reason"):
        right, whole = title in ("wave", "away"), title in ("id", "outcome")
        table.add_column(title, overflow="fold", justify="right" if right else "left", no_wrap=whole)
    for row in rows:
        table.add_row(*_cells(report, row))
    out = io.StringIO()
    console = Console(
        file=out,
        width=width or UNBOUNDED,
        force_terminal=color,
        color_system="standard" if color else None,
        markup=False,
        legacy_windows=False,
        _environ={},
    )
    console.print(table)
    return "".join(f"{line.rstrip()}\n" for line in out.getvalue().splitlines())


def _cells(report: Report, row: Row) -> tuple[Text, ...]:
    texts = (
        clean(row.scope),
        clean(row.name),
        row.id,
        "" if row.wave is None else str(row.wave),
        row.outcome or "open",
        _run_state(row),
        duration(row.away_s) if row.away_s else "",
        report.whole(clean(row.reason, LONGEST)),
    )
    cells = [Text(text) for text in texts]
    if row.outcome in _STYLES:
        cells[4].stylize(_STYLES[row.outcome])
    return tuple(cells)


def _run_state(row: Row) -> str:
    before, after = clean(row.run_state_before), clean(row.run_state_after)
    if row.debt and before == after:  # what was seen last, before our stop
        return f"{before} > ?"
    return before if before == after else f"{before} > {after}"
