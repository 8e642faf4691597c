"""The rows as CSV (RFC 4180) for spreadsheets, where a cell that looks like a formula would be one.

Foreign text is made visible and, when a spreadsheet could take it for a formula, led by an apostrophe.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from fleet.core.text import clean
from fleet.report.as_json import row_object
from fleet.report.summary import Report

LONGEST = 32_000  # characters that a spreadsheet's cell holds, nearly

# What may start a formula, also after blanks; ASCII and full-width.
_FORMULA = re.compile(r"[\s\0]*[=+\-@\t\r\n\0＝＋－＠]")

_FIRST = ("run", "scope", "id", "name", "owner", "wave", "outcome", "reason")
_LAST = (
    *("run_state.before", "run_state.after"),
    *(f"lease.{side}.{name}" for side in ("before", "after") for name in ("enable", "type", "left_s")),
    *("started_at", "finished_at", "away_s"),
    *(f"calls.{kind}" for kind in ("put", "stop", "start", "get", "lease", "save")),
    *("request_ids", "debt", "fix", "stages_done"),
)


def csv_text(report: Report) -> str:
    """A header and one line for every selected notebook; nested values have dotted column names."""
    fields = sorted({name for row in report.rows for name in (*row.before, *row.after)})
    values = [f"{side}.{name}" for side in ("before", "after") for name in fields]
    columns = (*_FIRST, *values, *_LAST)
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\r\n")
    writer.writerow(columns)
    for row in report.rows:
        cells = dict(_flat(row_object(report, row)))
        writer.writerow([_cell(cells.get(column)) for column in columns])
    return out.getvalue()


def _flat(row: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    for key, value in row.items():
        if key == "lease":
            for side, lease in value.items():
                yield from ((f"lease.{side}.{name}", part) for name, part in (lease or {}).items())
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{name}", part) for name, part in value.items())
        elif key == "request_ids":
            yield key, " ".join(value)
        else:
            yield key, value


def _cell(value: Any) -> str | int | float:
    """Numbers stay numbers; text is made safe."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return value
    return safe_text(value if isinstance(value, str) else json.dumps(value))


def safe_text(text: str) -> str:
    """The text as a cell that no spreadsheet takes for a formula."""
    shown = clean(text, LONGEST)
    return f"'{shown}" if _FORMULA.match(text) else shown
