"""One list poll answers everyone who waits in a scope, so that waiting costs next to no calls of its own.

A poll lists those who are still on their way. Whoever is not among them is told to look for himself, and that
look is the proof: a row may be missing or old, a look is neither. When to poll is decided in
`core.scheduling.waiting`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

import anyio

from fleet.core.errors import FATAL, CallError
from fleet.core.notebook import Status
from fleet.core.scheduling.waiting import Waits, lists
from fleet.engine.ports import Clock, Cloud

_SHORTEST_SLEEP = 0.001  # s; a wait that rounding makes shorter than the clock's step would never end


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits for the end of `status` since `since`, and for a look at it since `asked`."""

    status: Status
    since: float
    asked: float
    error: CallError | None = None
    woken: anyio.Event = field(default_factory=anyio.Event)


class Watch:
    """The shared poll of one scope, at most every `least` seconds while anybody waits.

    `polled` is told of every poll, with its error if it failed; `trouble` of errors of our own.
    """

    def __init__(
        self,
        cloud: Cloud,
        clock: Clock,
        least: float,
        polled: Callable[[CallError | None], None] = lambda _: None,
        trouble: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        self._cloud = cloud
        self._clock = clock
        self._least = least
        self._polled = polled
        self._trouble = trouble
        self._waits = Waits(least)
        self._waiters: dict[str, _Waiter] = {}
        self._wanted = anyio.Event()
        self.failing = ""  # why the last poll failed
        self._last = -least
        self._times = 1.0  # as many requests as pages: a scope of many workspaces has a list for each

    async def worth_a_look(self, notebook_id: str, status: Status, since: float) -> None:
        """Returns when a look at the notebook may show that it left `status`, in which it is since `since`.

        Raises CallError when no call can succeed any more.
        """
        waiter = _Waiter(status, since, self._clock.monotonic())
        self._waiters[notebook_id] = waiter
        self._wanted.set()
        try:
            await waiter.woken.wait()
        finally:
            self._waiters.pop(notebook_id, None)
        if waiter.error is not None:
            raise waiter.error

    def took(self, status: Status, seconds: float) -> None:
        """Takes in how long it took until a look showed that a notebook had left `status`."""
        self._waits.took(status, seconds)

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._go_on()
            except Exception as error:  # an error of our own must not keep anybody waiting for ever
                self._trouble(error)
                self._wake(self._waiting())
                await anyio.sleep(self._least)

    async def _go_on(self) -> None:
        """Waits until a poll pays, or polls."""
        wait = self._due() - self._clock.monotonic()
        if wait > 0:
            await anyio.sleep(max(wait, _SHORTEST_SLEEP))
            return
        now = self._last = self._clock.monotonic()
        statuses = Counter(waiter.status for waiter in self._waiting())
        if self._times * lists(statuses) < sum(statuses.values()):
            await self._poll(statuses, now)
        else:  # so few wait that each of them may as well look for himself
            self._wake(one for one in self._waiting() if one.since + self._waits.soonest(one.status) <= now)
        if not self._waiting():
            self._wanted = anyio.Event()

    def _waiting(self) -> list[_Waiter]:
        return [waiter for waiter in self._waiters.values() if not waiter.woken.is_set()]

    def _due(self) -> float:
        """When the next poll is worth its requests; at once when nobody waits any more."""
        waiting = self._waiting()
        if not waiting:
            return self._last
        statuses = Counter(waiter.status for waiter in waiting)
        soonest = {status: self._waits.soonest(status) for status in statuses}
        first = min(waiter.since + soonest[waiter.status] for waiter in waiting)
        requests = min(self._times * lists(statuses), len(waiting))
        return max(first, self._last + self._waits.pause(statuses, requests))

    async def _poll(self, statuses: Counter[Status], began: float) -> None:
        sent = self._cloud.calls.get("list", 0)
        try:
            passing = await self._cloud.poll(statuses.keys())
        except CallError as error:
            self._polled(error)
            self.failing = error.text
            if error.meaning in FATAL:
                self._wake(self._waiters.values(), error)
            return
        self._polled(None)
        self.failing = ""
        self._times = max(1.0, (self._cloud.calls.get("list", 0) - sent) / lists(statuses))
        self._wake(
            waiter for key, waiter in self._waiters.items() if key not in passing and waiter.asked <= began
        )

    def _wake(self, waiters: Iterable[_Waiter], error: CallError | None = None) -> None:
        for waiter in waiters:
            waiter.error = error
            waiter.woken.set()
