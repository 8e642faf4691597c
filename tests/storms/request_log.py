"""What the cloud's request log tells, be it read from its file or not: it is believed before any report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from fleet.simulator.audit import is_read, is_write
from fleet.simulator.records import Record

LISTS = frozenset({"ListNotebooks", "ListAllNotebooks"})


def read_log(path: Path) -> list[Record]:
    """Every request that the cloud has taken in so far."""
    lines = path.read_text().splitlines(keepends=True)
    return [Record(**json.loads(line)) for line in lines if line.endswith("\n")]


def writes(log: Sequence[Record]) -> list[Record]:
    """Those that were to change something, whatever became of them."""
    return [record for record in log if is_write(record)]


def shows(record: Record, notebook: str, project: str) -> bool:
    """Whether the caller got to see the notebook: by a look at it, or in a list of its project.

    A list of one status shows nothing of those who are not in it.
    """
    if not (is_read(record) and record.answered and record.status == 200):
        return False
    if record.operation in LISTS:
        return record.project == project and "status" not in record.query
    return record.notebook == notebook


def by_notebook(log: Sequence[Record]) -> dict[str, list[Record]]:
    """For each notebook, what was written to it and the looks that showed it, in their order."""
    projects = {record.notebook: record.project for record in log if record.notebook}
    return {
        notebook: [
            record
            for record in log
            if shows(record, notebook, project) or (record.notebook == notebook and is_write(record))
        ]
        for notebook, project in projects.items()
    }


def repeats(log: Sequence[Record]) -> Iterator[str]:
    """Writes that were sent again: before a look although they may have been applied, or after one that
    had shown a PUT's values."""
    for notebook, records in by_notebook(log).items():
        yield from (f"{notebook}: {what}" for what in (*_unlooked(records), *_shown(records)))


def _unlooked(records: Sequence[Record]) -> Iterator[str]:
    sent: Record | None = None
    for record in records:
        if not is_write(record):
            sent = None
            continue
        if sent is not None and sent.operation == record.operation:
            yield f"{record.operation} at {record.at:.1f} repeats that of {sent.at:.1f} without a look"
        sent = None if record.answered and 400 <= record.status < 500 else record


def _shown(records: Sequence[Record]) -> Iterator[str]:
    applied: list[Any] = []
    shown: list[Any] = []
    for record in records:
        if not is_write(record):
            shown = list(applied)
        elif record.operation == "UpdateNotebook":
            if record.body in shown:
                yield f"PUT {record.body} at {record.at:.1f} again, although a look had shown it"
            if record.applied:
                applied.append(record.body)
