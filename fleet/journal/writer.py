"""The journals that the engine records to: `Journal` for runs, `InlineJournal` where time is virtual.

Both keep the same promise. `commit` returns when the event and all before it are on disk; `note` leaves an
event for the next batch. What is handed over is written in the order of the calls.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable, Sequence
from math import inf
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Self, TypeVar

from fleet.core.events import Event
from fleet.core.fold import RunState
from fleet.core.planning.plan import Plan
from fleet.journal.balance import Gauge
from fleet.journal.errors import JournalError, JournalWriteError
from fleet.journal.sqlite import JournalFile

NOTE_DELAY = 0.2  # s that a noted event waits at most while nothing is committed
COMPANY = 0.05  # s that commits wait after a transaction for the next one, unless there are
ENOUGH = 16
FULL = 1024  # events that are written though nobody waits for them
QUIET = 1.0  # s without events after which the WAL is folded into the file
MOST_BATCHES = 1000  # without a quiet moment

T = TypeVar("T")

_Waiter = asyncio.Future[None]


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
    company: one transaction in COMPANY seconds, or as soon as ENOUGH of them wait. When, is decided in the
    loop, so that the thread wakes once for a transaction.
    """

    def __init__(self, file: JournalFile) -> None:
        super().__init__(file)
        self._events: list[Event] = []
        self._waiters: list[_Waiter] = []  # each comes after its event
        self._at_hand: list[Event] = []  # taken from there, and nobody told yet
        self._to_tell: list[_Waiter] = []
        self._bell: SimpleQueue[None] = SimpleQueue()
        self._rung = False  # for a commit, and not answered yet
        self._timer: asyncio.TimerHandle | None = None
        self._answered_at = -inf  # loop time
        self._thread = threading.Thread(target=self._work, name="journal", daemon=True)
        self._thread.start()

    async def commit(self, event: Event) -> None:
        """Returns when the event is on disk. Raises JournalWriteError when it cannot get there."""
        self.note(event)
        if self._file.failure:
            raise self._file.write_error()
        loop = asyncio.get_running_loop()
        waiter: _Waiter = loop.create_future()
        self._waiters.append(waiter)
        if not self._rung:
            self._arrange(loop)
        await waiter

    def note(self, event: Event) -> None:
        """Leaves the event for the next batch, which is written within moments."""
        if self._closed:
            self._check_open()
        self._events.append(event)
        if len(self._events) == FULL:
            self._bell.put(None)

    def close(self) -> None:
        """Writes what is still queued, and the final counts. Blocks for it; look at `unsaved` afterwards."""
        if not self._closed:
            self._closed = True
            self._bell.put(None)
            self._thread.join()

    def _arrange(self, loop: asyncio.AbstractEventLoop) -> None:
        """Sees to it that the commits that wait are written: now, or when they have had company."""
        left = self._answered_at + COMPANY - loop.time()
        if left <= 0 or len(self._waiters) >= ENOUGH:
            self._ring()
        elif self._timer is None:
            self._timer = loop.call_later(left, self._ring)

    def _ring(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._waiters and not self._rung:
            self._rung = True
            self._bell.put(None)

    def _answered(self, waiters: Sequence[_Waiter], problem: JournalWriteError | None) -> None:
        """In the loop: these commits are on disk, or cannot get there."""
        for waiter in waiters:
            if waiter.done():
                continue
            if problem is None:
                waiter.set_result(None)
            else:  # each his own: one object raised in a thousand tasks would chain them all
                waiter.set_exception(JournalWriteError(*problem.args))
        loop = waiters[0].get_loop()
        self._rung, self._answered_at = False, loop.time()
        if self._waiters:
            self._arrange(loop)

    def _work(self) -> None:
        """The writer thread: the only one that touches the file."""
        try:
            self._record()
        except BaseException as error:  # whatever it is, nobody may wait for ever
            self._refuse(error)
        self._file.close()

    def _record(self) -> None:
        """Writes what comes, until the journal is closed."""
        batches, written_at = 0, 0.0
        while self._goes_on():
            heard = self._hears(NOTE_DELAY)
            if not self._take():
                if batches and not heard and time.monotonic() - written_at > QUIET:
                    self._file.checkpoint()
                    batches = 0
                continue
            self._write()
            self._file.keep_balance()
            written_at = time.monotonic()
            batches += 1
            if batches >= MOST_BATCHES:
                self._file.checkpoint()
                batches = 0

    def _refuse(self, error: BaseException) -> None:
        """Nothing can be written any more: tells everybody who waits, until the end."""
        while self._at_hand or self._to_tell or self._goes_on():
            self._take()
            self._answer(self._file.give_up(error, self._at_hand))
            self._hears(NOTE_DELAY)

    def _goes_on(self) -> bool:
        # In this order: once it is closed nothing comes any more.
        return not self._closed or bool(self._events or self._waiters)

    def _take(self) -> bool:
        """Takes in hand what is queued; False when that is nothing."""
        # In this order: the event of everybody who is told is then at hand or was before.
        self._to_tell += _drained(self._waiters)
        self._at_hand += _drained(self._events)
        return bool(self._at_hand or self._to_tell)

    def _hears(self, seconds: float) -> bool:
        try:
            self._bell.get(timeout=seconds)
        except Empty:
            return False
        return True

    def _write(self) -> None:
        problem: JournalWriteError | None = None
        try:
            self._file.save(self._at_hand)
        except JournalWriteError as error:
            problem = error
        self._answer(problem)

    def _answer(self, problem: JournalWriteError | None) -> None:
        """Tells who waits for what is at hand."""
        waiters, self._to_tell, self._at_hand = self._to_tell, [], []
        if waiters:
            with contextlib.suppress(RuntimeError):  # the loop is closed: nobody waits any more
                waiters[0].get_loop().call_soon_threadsafe(self._answered, waiters, problem)


def _drained(queue: list[T]) -> list[T]:
    """What was in it; the other thread may append to it meanwhile."""
    taken = queue[:]
    del queue[: len(taken)]
    return taken
