"""The rows as a table for people, with the summary block below it.

Names come from strangers: they are cleaned, and never read as markup.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from fleet.core.duration import duration
from fleet.core.events import Outcome
from fleet.core.rows import Row
from fleet.core.text import clean
from fleet.report.aligned import aligned
from fleet.report.as_text import LONGEST, summary_text
from fleet.report.summary import Report

FEW = 40  # rows that even a brief table shows whole
MOST_ROWS = 20  # of one outcome in a brief table

# What a person should look at, the most urgent first.
_TROUBLE = (
    *(Outcome.STRANDED, Outcome.UNKNOWN, Outcome.FAILED),
    *(Outcome.DRIFTED, Outcome.GONE, Outcome.NOT_STARTED),
)
_COLUMNS = ("scope", "name", "id", "wave", "outcome", "run state", "away", "reason")
_GREEN, _YELLOW, _RED, _BOLD_RED, _PLAIN = "\x1b[32m", "\x1b[33m", "\x1b[31m", "\x1b[1;31m", "\x1b[0m"
_COLORS: Mapping[str, str] = {
    Outcome.CHANGED: _GREEN,
    Outcome.FAILED: _RED,
    Outcome.STRANDED: _BOLD_RED,
    Outcome.UNKNOWN: _BOLD_RED,
    Outcome.DRIFTED: _YELLOW,
    Outcome.GONE: _YELLOW,
}


def table_text(report: Report, *, color: bool = False, brief: bool = False) -> str:
    """The table and the summary.

    `brief` shows of many rows only those that need a person, the first of each outcome, and says what it left
    out and how to see it.
    """
    rows = _worth_telling(report) if brief else report.rows
    told = report.whole(_left_out(report, rows))
    return f"{_table(report, rows, color)}\n{told}{summary_text(report)}"


def _worth_telling(report: Report) -> Sequence[Row]:
    rows = report.rows
    if len(rows) <= FEW:
        return rows
    trouble = _TROUBLE if report.live else (None, *_TROUBLE)  # nobody works on what is open
    return [row for outcome in trouble for row in [one for one in rows if one.outcome is outcome][:MOST_ROWS]]


def _left_out(report: Report, shown: Sequence[Row]) -> str:
    """What is not in the table, by outcome, and the command that shows it; empty when all is there."""
    left = Counter(row.outcome or "open" for row in report.rows)
    left.subtract(row.outcome or "open" for row in shown)
    named = ", ".join(f"{number} {word}" for word, number in left.items() if number)
    return f"and {left.total()} more, {named}: fleet report {report.run} --all\n" if named else ""


def _table(report: Report, rows: Sequence[Row], color: bool) -> str:
    paint = {"outcome": _colored} if color else None
    lines = aligned(_COLUMNS, (_cells(report, row) for row in rows), right=("wave", "away"), paint=paint)
    return "".join(f"{line}\n" for line in lines)


def _colored(outcome: str) -> str:
    return f"{_COLORS[outcome]}{outcome}{_PLAIN}" if outcome in _COLORS else outcome


def _cells(report: Report, row: Row) -> tuple[str, ...]:
    return (
        row.scope,
        row.name,
        row.id,
        "" if row.wave is None else str(row.wave),
        row.outcome or "open",
        _run_state(row),
        duration(row.away_s) if row.away_s else "",
        report.whole(clean(row.reason, LONGEST)),
    )


def _run_state(row: Row) -> str:
    before, after = clean(row.run_state_before), clean(row.run_state_after)
    if not after:  # the run has not looked, or not since its stop
        return f"{before} > ?" if row.debt else f"{before} (planned)"
    return before if before == after else f"{before} > {after}"
