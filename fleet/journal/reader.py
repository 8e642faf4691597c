"""Reads a journal, also while a run is writing to it, and says which part of it cannot be trusted.

Nothing is ever repaired: what has its right checksum is given back, the rest is listed.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from fleet.core.errors import FleetError
from fleet.core.events import Event
from fleet.core.fold import RunState
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import load_plan
from fleet.journal.balance import Brief, read_brief
from fleet.journal.errors import JournalDamage, JournalError, OtherFormat
from fleet.journal.lost import lost, unreadable
from fleet.journal.rows import EVENT, FORMAT, Record, event_of, intact, meta_intact

_SMALLEST_ROW = 40  # bytes


@dataclass(frozen=True, slots=True)
class JournalContents:
    """All that a journal holds. `meta` has the run id, the job's name, the plan's digest, and when the
    journal was closed properly, the `final` counts.
    """

    meta: dict[str, Any]
    plan: Plan
    events: tuple[Event, ...]
    damage: tuple[JournalDamage, ...]


def read_journal(path: Path) -> JournalContents:
    """Everything in the journal at `path`. Raises JournalError when not even its plan can be trusted."""
    with JournalReader(path) as reader:
        events = tuple(reader.events())
        return JournalContents(reader.meta, reader.plan, events, tuple(reader.damage))


class JournalReader:
    """One consistent view of a journal. `damage` is complete once `events` or `fold` has come to its end.

    Raises JournalError when there is no journal, or its plan cannot be trusted.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.damage: list[JournalDamage] = []
        if not path.is_file():
            raise lost(path, "there is no journal")
        try:
            self._connection = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode=ro", uri=True, isolation_level=None
            )
        except sqlite3.Error as error:
            raise JournalError(f"{path}: cannot be read: {error}") from None
        # Broken UTF-8 is a damaged row, not the end of reading.
        self._connection.text_factory = lambda raw: raw.decode("utf-8", "surrogateescape")
        try:
            self._connection.execute("PRAGMA cell_size_check=ON")
            self._connection.execute("BEGIN")
            self.meta = self._read_meta()
        except sqlite3.Error as error:
            self._connection.close()
            raise unreadable(path, "is damaged, or no journal", error) from None
        except JournalError:
            self._connection.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    @cached_property
    def plan(self) -> Plan:
        """The plan that the run performs. Raises JournalError when it is not the one that was sealed."""
        try:
            row = self._connection.execute("SELECT key, value, crc FROM meta WHERE key = 'plan'").fetchone()
            if row is None or not meta_intact(row):
                raise lost(self.path, "the plan in it is damaged")
            plan = load_plan(row[1], str(self.path))
        except JournalError:
            raise
        except sqlite3.Error as error:
            raise unreadable(self.path, "the plan in it cannot be read", error) from None
        except FleetError as error:
            raise JournalError(str(error)) from None
        if plan.digest != self.meta["digest"]:
            raise lost(self.path, "the plan in it is not the one that the run began with")
        return plan

    def brief(self) -> Brief | None:
        """How the run stands, from its balance on: quick, whatever its size. None when there is no balance
        that can be used; then `fold`. Damage in the events of changes that are over is not noticed.
        """
        return read_brief(self._connection, self.meta)

    def fold(self, *observers: Callable[[Event], None]) -> RunState:
        """The state of the run as far as it can be read; `observers` see the events that made it."""
        state = RunState(self.plan, run=self.meta["run"])
        for event in self.events():
            state.apply(event)
            for observe in observers:
                observe(event)
        state.damaged = bool(self.damage)
        state.gaps = any(damage.table == "event" for damage in self.damage)
        return state

    def events(self) -> Iterator[Event]:
        """The events in the order in which they were recorded, those that are whole."""
        self._check_items()
        due, bad = 1, 0
        for record in self._scan_events():
            seq = int(record[0]) if isinstance(record[0], int) else 0
            event = event_of(record)
            if event is None:
                bad = max(bad, due, seq)
            elif seq >= due:
                if seq > due:
                    self._lost("event", due, seq - 1, bool(bad))
                yield event
                due, bad = seq + 1, 0
        last = max(bad, int(self.meta.get("final", {}).get("events", 0)))
        if last >= due:
            self._lost("event", due, last, bool(bad))

    def since(self, seq: int) -> Iterator[tuple[int, Event]]:
        """The whole events after number `seq`, each with its own number. Damage is passed over in silence."""
        for record in self._connection.execute(f"{EVENT} WHERE seq > ? ORDER BY seq", (seq,)):
            event = event_of(record)
            if event is not None:
                yield int(record[0]), event

    def _read_meta(self) -> dict[str, Any]:
        meta: dict[str, Any] = {}
        for row in self._connection.execute("SELECT key, value, crc FROM meta WHERE key != 'plan'"):
            if meta_intact(row):
                meta[row[0]] = json.loads(row[1]) if row[0] == "final" else row[1].decode()
            else:
                self.damage.append(JournalDamage("meta", str(row[0]), str(row[0]), "wrong checksum"))
        found = meta.get("format", str(FORMAT))
        if found != str(FORMAT):
            raise OtherFormat(self.path, found[:9], FORMAT)
        if not {"format", "run", "job", "digest"} <= meta.keys():
            raise lost(self.path, "is no journal, or damaged at its beginning")
        return meta

    def _check_items(self) -> None:
        wanted = {row.item for row in self.plan.changes} | {row.item for row in self.plan.settled}
        with suppress(sqlite3.Error):
            wanted -= {row[0] for row in self._connection.execute("SELECT * FROM item") if intact(row)}
        for _, run in groupby(enumerate(sorted(wanted)), lambda pair: pair[1] - pair[0]):
            rows = [item for _, item in run]
            self._lost("item", rows[0], rows[-1], True)

    def _scan_events(self) -> Iterator[Record]:
        """The rows of the event table; where the table itself is broken, those that can still be found."""
        last = 0
        try:
            for record in self._connection.execute(f"{EVENT} ORDER BY seq"):
                last = record[0]
                yield record
        except sqlite3.Error:
            for seq in range(last + 1, self._highest() + 1):
                with suppress(sqlite3.Error):
                    yield from self._connection.execute(f"{EVENT} WHERE seq = ?", (seq,))

    def _highest(self) -> int:
        """The largest seq there may be, no more than the file has room for."""
        room = sum(file.stat().st_size for file in self.path.parent.glob(f"{self.path.name}*"))
        highest = room // _SMALLEST_ROW
        with suppress(sqlite3.Error):
            found = self._connection.execute("SELECT max(seq) FROM event").fetchone()[0]
            highest = min(highest, found or 0)
        return highest

    def _lost(self, table: str, first: int, last: int, seen: bool) -> None:
        self.damage.append(JournalDamage(table, first, last, "wrong checksum" if seen else "missing"))
