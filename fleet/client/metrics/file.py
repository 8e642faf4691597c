"""A source that is a file: a sample a line, as CSV with a header or as JSON objects.

    notebook,time,resource,value
    f9937afa-4451-42db-a76b-72d624749f66,2026-11-30T08:00:00Z,cpu,12.5

The columns may stand in any order, and others beside them; `time` is RFC 3339 or Unix seconds. The file is
read line by line, so it may be larger than the memory.
"""

from __future__ import annotations

import csv
import os
import stat
from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, TextIO

import anyio
from pydantic_core import from_json

from fleet.core.errors import UsageError
from fleet.core.metrics import FileMetrics
from fleet.core.text import clean
from fleet.core.usage import Book, Resource

COLUMNS = ("notebook", "time", "resource", "value")
LARGEST = 4 << 30  # bytes
LONGEST = 4096  # characters in a line


class SampleFile:
    """The samples in one file."""

    at_once = None

    def __init__(self, metrics: FileMetrics) -> None:
        self.name = metrics.path
        self.step = metrics.step
        self._path = Path(metrics.path)

    async def read(self, resources: Collection[Resource], book: Book) -> None:
        """See `Source.read`. The file is read in a thread. Raises UsageError with the line."""
        await anyio.to_thread.run_sync(self._read, frozenset(resources), book)

    def _read(self, resources: Collection[Resource], book: Book) -> None:
        known = False
        for line, row in _rows(self._path):
            try:
                notebook, time, name, value = (row[column] for column in COLUMNS)
                if name not in list(Resource):
                    continue
                known = True
                if name in resources and value not in ("", None):
                    book.take(str(notebook), Resource(name), _seconds(time), float(value))
            except KeyError as missing:
                raise UsageError(f"{self._path}:{line}: {missing.args[0]} is missing") from None
            except (TypeError, ValueError, OverflowError) as problem:
                raise UsageError(f"{self._path}:{line}: {clean(str(problem))}") from None
        if not known:
            raise UsageError(
                f"{self._path}: holds no sample of a known resource; there are {', '.join(Resource)}"
            )


def _rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """The rows of the file, each with its line."""
    try:
        with open(path, encoding="utf-8-sig", newline="", opener=_opener) as file:
            facts = os.fstat(file.fileno())
            if not stat.S_ISREG(facts.st_mode):
                raise UsageError(f"{path}: not a regular file")
            if facts.st_size > LARGEST:
                raise UsageError(f"{path}: larger than {LARGEST >> 30} GiB")
            lines = _lines(file, path)
            first = next(lines, "")
            if first.lstrip().startswith("{"):
                yield from _objects([first], 1, path)
                yield from _objects(lines, 2, path)
            else:
                yield from _table(first, lines, path)
    except OSError as error:
        raise UsageError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from None
    except UnicodeDecodeError:
        raise UsageError(f"{path}: not UTF-8 text") from None


def _opener(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)  # a FIFO is not waited for


def _lines(file: TextIO, path: Path) -> Iterator[str]:
    number = 0
    while text := file.readline(LONGEST + 1):
        number += 1
        if len(text) > LONGEST:
            raise UsageError(f"{path}:{number}: longer than {LONGEST} characters")
        yield text


def _table(head: str, lines: Iterable[str], path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    names = [name.strip() for name in next(csv.reader([head]), [])]
    missing = [name for name in COLUMNS if name not in names]
    if missing:
        raise UsageError(f"{path}:1: no column {missing[0]}; the first line names {','.join(COLUMNS)}")
    rows = csv.reader(lines)
    for cells in rows:
        if cells:
            yield rows.line_num + 1, dict(zip(names, (cell.strip() for cell in cells), strict=False))


def _objects(lines: Iterable[str], first: int, path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, text in enumerate(lines, first):
        if not text.strip():
            continue
        try:
            row = from_json(text)
        except ValueError:
            row = None
        if not isinstance(row, dict):
            raise UsageError(f"{path}:{number}: not a JSON object")
        yield number, row


def _seconds(time: Any) -> float:
    """Wall seconds. Raises ValueError for a time without a zone, and for none at all."""
    if isinstance(time, int | float) and not isinstance(time, bool):
        return float(time)
    text = str(time)
    try:
        return float(text)
    except ValueError:
        pass
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{clean(text, 40)!r} is not a time such as 2026-11-30T08:00:00Z") from None
    if moment.tzinfo is None:
        raise ValueError(f"{clean(text, 40)} has no time zone; write it with Z or +08:00")
    return moment.timestamp()
