"""What the cloud's request log tells, read from its lines of JSON: it is believed before any report."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

WRITES = frozenset({"StopNotebook", "UpdateNotebook", "StartNotebook", "RenewLease"})
LISTS = frozenset({"ListNotebooks", "ListAllNotebooks"})

Request = dict[str, Any]


def read_log(path: Path) -> list[Request]:
    """Every request that the cloud has taken in so far."""
    return [json.loads(line) for line in path.read_text().splitlines(keepends=True) if line.endswith("\n")]


def writes(log: Sequence[Request]) -> list[Request]:
    """Those that were to change something, whatever became of them."""
    return [row for row in log if row["operation"] in WRITES]


def repeated_puts(log: Sequence[Request]) -> Iterator[str]:
    """PUTs that were sent again although an answered read had shown their values since."""
    shown: dict[str, list[Any]] = {}
    applied: dict[str, Any] = {}
    for row in log:
        notebook = row["notebook"]
        if row["operation"] == "UpdateNotebook":
            if row["body"] in shown.get(notebook, ()):
                yield f"{notebook}: PUT {row['body']} again, although a read had shown it"
            if row["applied"]:
                applied[notebook] = row["body"]
        elif row["method"] == "GET" and row["answered"] and row["status"] == 200:
            for seen in applied if row["operation"] in LISTS else applied.keys() & {notebook}:
                shown.setdefault(seen, []).append(applied[seen])
