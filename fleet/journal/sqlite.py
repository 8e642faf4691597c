"""The journal's file: its only connection that writes, and what it does when the disk does not take it.

SQLite up to 3.51.2 can damage a WAL database when two connections write or checkpoint at the same time.
Therefore one connection does both, in one thread at a time, and readers open the file read-only. The owner
holds the run's lock as long as the file is open.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
from collections.abc import Callable, Iterable, Iterator, Sequence
from importlib.resources import files
from pathlib import Path
from typing import Self

from fleet.core.errors import FleetError
from fleet.core.events import Event, RunResumed
from fleet.core.fold import RunState
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan
from fleet.journal.balance import EVERY, Gauge, balance_record, next_balance
from fleet.journal.errors import JournalError, JournalWriteError
from fleet.journal.lock import RunLock
from fleet.journal.reader import JournalReader
from fleet.journal.rows import ADD_EVENT, FORMAT, event_record, item_records, meta_record
from fleet.journal.tally import Tally

BALLAST_BYTES = 1 << 20

_SCHEMA = files(__package__).joinpath("schema.sql").read_text("utf-8")


class JournalFile:
    """An open journal. Not for use by two threads at once.

    `tally` is the run as far as it is on disk, and so is the `gauge`; a balance holds both. `failure` says
    why an event could not be written, and stays; `unsaved` holds the events that are nowhere but here.
    """

    def __init__(
        self, path: Path, connection: sqlite3.Connection, lock: RunLock, run: str, tally: Tally
    ) -> None:
        self.path = path
        self.tally = tally
        self.gauge: Gauge | None = None
        self._due = EVERY
        self._run = run
        self.failure = ""
        self.unsaved: list[Event] = []
        self._connection = connection
        self._lock = lock

    @classmethod
    def create(cls, path: Path, plan: Plan, run: str) -> Self:
        """A new journal in an existing folder. Raises JournalError when it cannot be made."""
        lock = RunLock(path.parent)
        try:
            os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600))
            connection = _connect(path)
            with _closed_on_error(connection):
                _fill(connection, plan, run)
                _put_ballast(_ballast(path))
        except FileExistsError:
            lock.release()
            raise JournalError(f"{path}: is there already; continue it with: fleet resume {run}") from None
        except (OSError, sqlite3.Error) as error:
            lock.release()
            raise JournalError(f"{path}: cannot be created: {error}; nothing was changed") from None
        return cls(path, connection, lock, run, Tally.of(plan))

    @classmethod
    def reopen(
        cls,
        path: Path,
        accept: Callable[[RunState], None] = lambda state: None,
        measure: Callable[[Plan], Gauge] | None = None,
    ) -> Self:
        """The journal of a run that is to go on. `accept` sees how the run stands and may refuse by raising;
        until then nothing is written. `measure` makes the gauge.

        Raises JournalBusy when another process writes to it, JournalError when it is damaged.
        """
        lock = RunLock(path.parent)
        try:
            with JournalReader(path) as reader:
                tally = Tally.of(reader.plan)
                gauge = measure(reader.plan) if measure is not None else None
                state = reader.fold(tally.take, *([gauge.apply] if gauge is not None else []))
            if reader.damage:
                raise JournalError(
                    f"{path}: damaged ({reader.damage[0]}); it is left as it is, "
                    f"see what the run left with: fleet recover {state.run}"
                )
            accept(state)
            connection = _connect(path)
            with _closed_on_error(connection):
                connection.executescript(_SCHEMA)  # an older journal has no table for balances
                connection.execute("DELETE FROM meta WHERE key = 'final'")
                _put_ballast(_ballast(path))
        except (OSError, sqlite3.Error) as error:
            lock.release()
            raise JournalError(f"{path}: cannot be opened: {error}") from None
        except FleetError:
            lock.release()
            raise
        file = cls(path, connection, lock, state.run, tally)
        file.gauge = gauge
        return file

    def save(self, events: Sequence[Event]) -> None:
        """Returns when the events are on disk, in this order.

        Raises JournalWriteError when they are not, and ever after the first time. Even then each event
        is tried once more, in the room that the ballast leaves, so that results are not lost.
        """
        if not self.failure:
            try:
                self.insert(events)
            except Exception as error:  # whatever it is, nobody may wait for ever
                self.failure = f"the journal cannot be written: {error}"
                self._drop_ballast()
            else:
                return
        self.checkpoint()  # what the WAL holds takes less room in the file, and the WAL begins anew
        for event in events:
            try:
                self.insert([event])
            except Exception:
                self.unsaved.append(event)
        raise self.write_error()

    def give_up(self, error: BaseException, events: Iterable[Event]) -> JournalWriteError:
        """For whoever writes here and cannot go on: nothing is written any more, `events` are not saved."""
        self.failure = self.failure or f"the journal cannot be written: {error}"
        self.unsaved += events
        return self.write_error()

    def write_error(self) -> JournalWriteError:
        return JournalWriteError(
            f"{self.failure}; no further change is made: free some space for {self.path.parent.absolute()}, "
            f"then: fleet resume {self._run}"
        )

    def insert(self, events: Sequence[Event]) -> None:
        """All the events in one transaction, synced; or none, and an error of SQLite."""
        records = [
            event_record(self.tally.seq + number, event) for number, event in enumerate(events, start=1)
        ]
        with _transaction(self._connection):
            self._connection.executemany(ADD_EVENT, records)
        for event in events:
            try:
                self.tally.take(event)
            except Exception:  # its number is counted; the rest is only for those who look
                self.tally.certain = False
            if isinstance(event, RunResumed):
                self._due = 0
        if self.gauge is not None:
            try:
                for event in events:
                    self.gauge.apply(event)
            except Exception:  # who only wants to look must not keep a notebook from coming home
                self.gauge = None

    def keep_balance(self, *, now: bool = False) -> None:
        """Keeps a balance if one is due, so that how the run stands can be told without all the events."""
        due = now or self.tally.seq >= self._due
        if self.gauge is None or self.failure or not self.tally.certain or not due:
            return
        try:
            record = balance_record(self.tally, self.gauge)
            with _transaction(self._connection):
                self._connection.execute("DELETE FROM balance")
                self._connection.execute("INSERT INTO balance VALUES (?, ?, ?)", record)
            self._due = next_balance(*record[:2])
        except Exception:  # without it nothing is lost but time
            self.gauge = None

    def checkpoint(self) -> None:
        """Moves what the WAL holds into the file, as far as no reader is in the way."""
        # If the disk refuses, nothing is lost: the WAL stays as it is.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        """Stores the final counts and a balance, folds the WAL into the file and gives the run free."""
        self.keep_balance(now=True)
        summary = self.tally.summary()
        if summary is not None:
            final = meta_record("final", json.dumps({"events": self.tally.seq, **summary}).encode())
            with contextlib.suppress(sqlite3.Error), _transaction(self._connection):
                self._connection.execute("INSERT INTO meta VALUES (?, ?, ?)", final)
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        self._drop_ballast()
        self._lock.release()

    def _drop_ballast(self) -> None:
        with contextlib.suppress(OSError):  # such as of a file system that has become read-only
            _ballast(self.path).unlink(missing_ok=True)


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    for setting in ("journal_mode=WAL", "synchronous=FULL", "wal_autocheckpoint=0"):
        connection.execute(f"PRAGMA {setting}")
    return connection


@contextlib.contextmanager
def _closed_on_error(connection: sqlite3.Connection) -> Iterator[None]:
    try:
        yield
    except BaseException:
        connection.close()
        raise


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # SQLite may have rolled back by itself; the first error is the one to tell.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _fill(connection: sqlite3.Connection, plan: Plan, run: str) -> None:
    meta = {"format": str(FORMAT), "run": run, "job": plan.job, "digest": plan.digest}
    records = [meta_record(key, value.encode()) for key, value in meta.items()]
    connection.executescript(_SCHEMA)
    with _transaction(connection):
        connection.executemany(
            "INSERT INTO meta VALUES (?, ?, ?)", [*records, meta_record("plan", dump_plan(plan))]
        )
        connection.executemany(
            "INSERT INTO item VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", item_records(plan)
        )


def _ballast(path: Path) -> Path:
    return path.with_suffix(".ballast")


def _put_ballast(path: Path) -> None:
    """Room to give back when the disk is full. Real bytes, not a hole."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600)
    with open(descriptor, "wb") as file:
        file.write(bytes(BALLAST_BYTES))
