"""The journals that the engine records to: `Journal` for runs, `InlineJournal` where time is virtual.

Both keep the same promise. `commit` returns when the event and all before it are on disk; `note` leaves an
event for the next batch. What is handed over is written in the order of the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self

from fleet.core.events import Event
from fleet.core.fold import RunState
from fleet.core.planning.plan import Plan
from fleet.journal.balance import Gauge
from fleet.journal.errors import JournalError, JournalWriteError
from fleet.journal.sqlite import JournalFile

NOTE_DELAY = 0.2  # s that a noted event waits at most while nothing is committed
COMPANY = 0.05  # s between two transactions, unless there are
FULL = 256
QUIET = 1.0  # s without events after which the WAL is folded into the file
MOST_BATCHES = 1000  # without a quiet moment

_Waiter = asyncio.Future[None]
_Entry = tuple[Event, _Waiter | None]


class _OnFile:
    """What both journals have in common."""

    def __init__(self, file: JournalFile) -> None:
        self._file = file
        self._closed = False

    @classmethod
    def create(cls, path: Path, plan: Plan, run: str) -> Self:
        """A new journal. Raises JournalError when it cannot be made."""
        return cls(JournalFile.create(path, plan, run))

    @classmethod
    def open_for_append(
        cls,
        path: Path,
        accept: Callable[[RunState], None] = lambda state: None,
        measure: Callable[[Plan], Gauge] | None = None,
    ) -> Self:
        """The journal of a run that goes on; `accept` sees how it stands and may refuse it by raising.
        `measure` makes the gauge for its balances.

        Raises JournalError when it is damaged or in use.
        """
        return cls(JournalFile.reopen(path, accept, measure))

    def balance_by(self, gauge: Gauge) -> None:
        """Keeps balances of a new journal from now on, before its first event."""
        self._file.gauge = gauge

    @property
    def unsaved(self) -> tuple[Event, ...]:
        """Events that the disk did not take; complete after `close`."""
        return tuple(self._file.unsaved)

    def _check_open(self) -> None:
        if self._closed:
            raise JournalError(f"{self._file.path}: the journal is closed")


class InlineJournal(_OnFile):
    """Writes in the caller's thread: a noted event waits for the next commit, a commit blocks.

    For virtual time, which would jump while another thread works, and for breaking off at a chosen write.
    """

    def __init__(self, file: JournalFile) -> None:
        super().__init__(file)
        self._noted: list[Event] = []

    async def commit(self, event: Event) -> None:
        """Returns when the event is on disk. Raises JournalWriteError when it cannot get there."""
        self.note(event)
        self._flush()

    def note(self, event: Event) -> None:
        """Keeps the event for the next commit."""
        self._check_open()
        self._noted.append(event)

    def close(self) -> None:
        """Writes what was noted, and the final counts. Look at `unsaved` afterwards."""
        if self._closed:
            return
        self._closed = True
        with contextlib.suppress(JournalWriteError):  # told by `unsaved`
            self._flush()
        self._file.close()

    def _flush(self) -> None:
        noted, self._noted = self._noted, []
        if noted:
            self._file.save(noted)
            self._file.keep_balance()


class Journal(_OnFile):
    """Writes in a thread of its own, everything that has come together in one transaction.

    To be used from one event loop. A `commit` that is cancelled while it waits is written all the same.
    A sync and a switch of threads cost far more than a row. So noted events wake nobody, and commits wait for
    company: one transaction in COMPANY seconds, or FULL events, whichever comes first.
    """

    def __init__(self, file: JournalFile) -> None:
        super().__init__(file)
        self._entries: deque[_Entry] = deque()
        self._at_hand: list[_Entry] = []  # taken from there, and nobody told yet
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    async def commit(self, event: Event) -> None:
        """Returns when the event is on disk. Raises JournalWriteError when it cannot get there."""
        if self._file.failure:
            self.note(event)
            raise self._file.write_error()
        waiter: _Waiter = asyncio.get_running_loop().create_future()
        self._hand_over((event, waiter))
        await waiter

    def note(self, event: Event) -> None:
        """Leaves the event for the next batch, which is written within moments."""
        self._hand_over((event, None))

    def close(self) -> None:
        """Writes what is still queued, and the final counts. Blocks for it; look at `unsaved` afterwards."""
        if not self._closed:
            self._closed = True
            self._bell.put(None)
            self._thread.join()

    def _hand_over(self, entry: _Entry) -> None:
        if self._closed:
            self._check_open()
        self._entries.append(entry)
        if (entry[1] is not None and not self._rung) or len(self._entries) == FULL:
            self._rung = True
            self._bell.put(None)

    def _work(self) -> None:
        """The writer thread: the only one that touches the file."""
        try:
            self._record()
        except BaseException as error:  # whatever it is, nobody may wait for ever
            self._refuse(error)
        self._file.close()

    def _record(self) -> None:
        """Writes what comes, until the journal is closed."""
        batches, written_at = 0, -COMPANY
        while self._entries or not self._closed:
            if not self._hears(NOTE_DELAY) and not self._entries:
                if batches and time.monotonic() - written_at > QUIET:
                    self._file.checkpoint()
                    batches = 0
                continue
            self._gather(written_at + COMPANY)
            self._rung = False  # before the batch is taken: who comes later rings again
            self._take()
            if self._at_hand:
                self._write()
                self._file.keep_balance()
            written_at = time.monotonic()
            batches += 1
            if batches >= MOST_BATCHES:
                self._file.checkpoint()
                batches = 0

    def _refuse(self, error: BaseException) -> None:
        """Nothing can be written any more: tells everybody who waits, until the end."""
        while self._at_hand or self._entries or not self._closed:
            self._rung = False
            self._take()
            problem = self._file.give_up(error, [event for event, _ in self._at_hand])
            self._answer(problem)
            self._hears(NOTE_DELAY)

    def _take(self) -> None:
        """Takes in hand what is queued."""
        self._at_hand += [self._entries.popleft() for _ in range(len(self._entries))]

    def _gather(self, until: float) -> None:
        """Lets events come together until then, or until there are enough."""
        while (left := until - time.monotonic()) > 0 and len(self._entries) < FULL and not self._closed:
            self._hears(left)

    def _hears(self, seconds: float) -> bool:
        try:
            self._bell.get(timeout=seconds)
        except Empty:
            return False
        return True

    def _write(self) -> None:
        problem: JournalWriteError | None = None
        try:
            self._file.save([event for event, _ in self._at_hand])
        except JournalWriteError as error:
            problem = error
        self._answer(problem)

    def _answer(self, problem: JournalWriteError | None) -> None:
        """Tells who waits for what is at hand."""
        waiters = [waiter for _, waiter in self._at_hand if waiter is not None]
        self._at_hand = []
        if waiters:
            _wake(waiters, problem)


def _wake(waiters: Sequence[_Waiter], problem: Exception | None) -> None:
    with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
        waiters[0].get_loop().call_soon_threadsafe(_resolve, waiters, problem)


def _resolve(waiters: Sequence[_Waiter], problem: Exception | None) -> None:
    for waiter in waiters:
        if waiter.done():
            continue
        if problem is None:
            waiter.set_result(None)
        else:
            waiter.set_exception(problem)
