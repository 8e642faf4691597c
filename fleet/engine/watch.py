"""One list poll answers everyone who waits in a scope, so that waiting costs next to no calls of its own.

A poll lists those who are still on their way. Whoever is not among them is told to look for himself, and that
look is the proof: a row may be missing or old, a look is neither. Where lists fail, all who wait look for
themselves. When to poll is decided in `core.scheduling.waiting`.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import anyio

from fleet.core.errors import CallError, Meaning
from fleet.core.notebook import Status
from fleet.core.scheduling.waiting import PAGE, Wait, Waits, pages, worth
from fleet.engine.ports import Clock, Cloud

_STEP = 0.5  # s between two moments at which it is weighed whether to poll
_BROKEN = 2  # polls for one status that failed in a row: those who wait look for themselves


@dataclass(slots=True, eq=False)
class _Waiter:
    """Somebody who waits for the end of `status` since `since`, and for a look at it since `asked`."""

    status: Status
    since: float
    asked: float
    usual: float
    error: CallError | None = None
    woken: anyio.Event = field(default_factory=anyio.Event)
    listed: float | None = None  # when a poll began that still showed him so

    @property
    def wait(self) -> Wait:
        return Wait(self.since, self.asked if self.listed is None else self.listed, self.usual)


class Watch:
    """The shared poll of one scope: every `least` seconds while anybody waits, until the run knows better.

    `under_way` is how many changes of the scope are; who performs them counts here. `polled` is told of every
    poll, with its error if it failed; `trouble` of errors of our own.
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
        self._failed: Counter[Status] = Counter()  # polls in a row
        self.under_way = 0
        self._times = 1.0  # as many requests as pages: a scope of many workspaces has a list for each

    async def worth_a_look(
        self, notebook_id: str, status: Status, since: float, usual: float = 1.0
    ) -> float | None:
        """Returns when a look at the notebook may show that it left `status`, in which it is since `since`.

        It is expected to take `usual` seconds. Tells when the last list was asked for that still showed it so
        (monotonic s), None without one. Raises CallError when no call can succeed any more.
        """
        waiter = _Waiter(status, since, self._clock.monotonic(), usual)
        self._waiters[notebook_id] = waiter
        self._wanted.set()
        try:
            await waiter.woken.wait()
        finally:
            self._waiters.pop(notebook_id, None)
        if waiter.error is not None:
            raise waiter.error
        return waiter.listed

    def took(self, status: Status, seconds: float, usual: float = 1.0) -> None:
        """Takes in how long it took until a look showed that a notebook had left `status`."""
        self._waits.took(status, seconds, usual)

    async def run(self) -> None:
        """Polls until cancelled."""
        while True:
            await self._wanted.wait()
            try:
                await self._go_on()
            except Exception as error:  # an error of our own must not keep anybody waiting for ever
                self._trouble(error)
                self._wake(self._waiters.values())
                await anyio.sleep(self._least)

    async def _go_on(self) -> None:
        """Polls for every status for which that pays, or waits a little."""
        waiting = self._waiting()
        if not waiting:
            self._wanted = anyio.Event()
            return
        for status, waiters in waiting.items():
            now = self._clock.monotonic()
            few = self._times * pages(len(waiters)) >= len(waiters)  # each may as well look for himself
            pays = not few and self._list_pays(status, waiters, now)
            if few or self._failed[status] >= _BROKEN:
                looking = [one for one in waiters if self._waits.look_pays(status, one.wait, now)]
                self._wake(looking if few else sorted(looking, key=_asked)[:PAGE])
            if pays:
                await self._poll(status, len(waiters), now)
        await anyio.sleep(self._pause())

    def _list_pays(self, status: Status, waiters: Sequence[_Waiter], now: float) -> bool:
        """Owners are always worth it: only where a notebook is on its way back, spare slots can wait."""
        matters = worth(len(self._waiters), self.under_way) if status is Status.STARTING else 1.0
        waits = [one.wait for one in waiters]
        return self._waits.list_pays(status, waits, self._times * pages(len(waits)), now, matters)

    def _waiting(self) -> dict[Status, list[_Waiter]]:
        waiting: defaultdict[Status, list[_Waiter]] = defaultdict(list)
        for waiter in self._waiters.values():
            if not waiter.woken.is_set():
                waiting[waiter.status].append(waiter)
        return waiting

    def _pause(self) -> float:
        """Until a poll or a look may tell anything new; not long, as others may begin to wait meanwhile."""
        if self.failing:
            return self._least
        waiters = [one for some in self._waiting().values() for one in some]
        soonest = min((self._waits.soonest(one.status, one.wait) for one in waiters), default=0.0)
        return min(max(_STEP, soonest - self._clock.monotonic()), max(_STEP, self._least))

    async def _poll(self, status: Status, number: int, began: float) -> None:
        sent = self._cloud.calls.get("list", 0)
        try:
            passing = await self._cloud.poll([status])
        except CallError as error:
            self._polled(error)
            self.failing = error.text
            self._failed[status] += 1
            if error.meaning is Meaning.UNAUTHENTICATED:  # a look would fail alike
                self._wake(self._waiters.values(), error)
            return
        self._polled(None)
        self.failing = ""
        self._failed[status] = 0
        self._times = max(1.0, (self._cloud.calls.get("list", 0) - sent) / pages(number))
        for key in passing:
            if (still := self._waiters.get(key)) is not None:
                still.listed = began
        self._wake(
            one
            for key, one in self._waiters.items()
            if one.status is status and one.asked <= began and key not in passing
        )

    def _wake(self, waiters: Iterable[_Waiter], error: CallError | None = None) -> None:
        for waiter in waiters:
            if not waiter.woken.is_set():
                waiter.error = error
                waiter.woken.set()


def _asked(waiter: _Waiter) -> float:
    return waiter.asked
