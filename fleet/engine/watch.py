"""One paged list poll answers everyone who waits in a scope, so that waiting costs no calls of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import anyio

from fleet.core.errors import FATAL, CallError
from fleet.core.notebook import Notebook, Status
from fleet.engine.ports import Clock, Cloud

MISSES = 2  # polls without the row, before the one who waits is told to look for himself


@dataclass(slots=True, eq=False)
class _Waiter:
    passing: frozenset[Status]
    since: float
    misses: int = 0
    row: Notebook | None = None
    error: CallError | None = None
    woken: anyio.Event = field(default_factory=anyio.Event)


class Watch:
    """The shared poll of one scope. `run` polls every `interval` seconds while anybody waits.

    `polled` is told of every poll, with its error if it failed.
    """

    def __init__(
        self,
        cloud: Cloud,
        clock: Clock,
        interval: float,
        polled: Callable[[CallError | None], None] = lambda _: None,
    ) -> None:
        self._cloud = cloud
        self._clock = clock
        self._interval = interval
        self._polled = polled
        self._waiters: dict[str, _Waiter] = {}
        self._wanted = anyio.Event()

    async def settled(self, notebook_id: str, passing: frozenset[Status]) -> Notebook | None:
        """The notebook's row once its status is outside `passing`; None when the list does not hold it.

        Only polls that began after this call count. Raises CallError when no call can succeed any more.
        """
        waiter = _Waiter(passing, self._clock.monotonic())
        self._waiters[notebook_id] = waiter
        self._wanted.set()
        try:
            await waiter.woken.wait()
        finally:
            self._waiters.pop(notebook_id, None)
        if waiter.error is not None:
            raise waiter.error
        return waiter.row

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            await self._wanted.wait()
            await anyio.sleep(self._interval)
            began = self._clock.monotonic()
            try:
                rows = await self._cloud.poll()
            except CallError as error:
                self._polled(error)
                if error.meaning in FATAL:
                    self._fail(error)
            else:
                self._polled(None)
                self._answer(rows, began)
            if all(waiter.woken.is_set() for waiter in self._waiters.values()):
                self._wanted = anyio.Event()

    def _answer(self, rows: Iterable[Notebook], began: float) -> None:
        by_id = {row.id: row for row in rows}
        for key, waiter in self._waiters.items():
            if waiter.since > began:
                continue
            row = by_id.get(key)
            if row is None:
                waiter.misses += 1
            if (row is not None and row.status not in waiter.passing) or waiter.misses >= MISSES:
                waiter.row = row
                waiter.woken.set()

    def _fail(self, error: CallError) -> None:
        for waiter in self._waiters.values():
            waiter.error = error
            waiter.woken.set()
