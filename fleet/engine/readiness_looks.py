"""Finds out which of those who wait stand still or are idle: one list poll a scope answers for all of them.

When to look is decided in `core.scheduling.readiness.Lookout`. So few may wait that a look at each costs
less than the list; such a look also tells when the countdown of a lease ends.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Sequence
from functools import partial

import anyio

from fleet.core.calls import Rank
from fleet.core.errors import FATAL, CallError, Meaning
from fleet.core.events import RunEnd
from fleet.core.notebook import Status
from fleet.core.planning.plan import Change
from fleet.core.scheduling.readiness import Lookout
from fleet.core.text import clean
from fleet.core.usage import Use
from fleet.engine.control import Control
from fleet.engine.ports import Activity, Clock, Cloud
from fleet.engine.readiness import LONGEST_NAP, SHORTEST_NAP, WaitingRoom

ASK_ACTIVITY = 300.0  # s between two questions who is idle


class Looker:
    """Looks after those who wait in one scope. `polled` is told of every call, with its error if it failed.

    `trouble` is told of errors of our own.
    """

    def __init__(
        self,
        scope: str,
        room: WaitingRoom,
        cloud: Cloud,
        clock: Clock,
        control: Control,
        soon: float,
        polled: Callable[[CallError | None], None],
        trouble: Callable[[Exception], None],
        activity: Activity | None = None,
    ) -> None:
        self._scope = scope
        self._room = room
        self._cloud = cloud
        self._clock = clock
        self._control = control
        self._polled = polled
        self._trouble = trouble
        self._activity = activity
        self._lookout = Lookout(soon)
        self._changes: dict[str, Change] = {}
        self._met: set[str] = set()
        self._came = anyio.Event()

    def came(self, change: Change) -> None:
        """From now on this one is looked after, if it is of this scope."""
        if change.scope == self._scope:
            self._changes[change.id] = change
            new = change.id not in self._met
            self._met.add(change.id)
            self._lookout.watch(change.id, change.lease, self._clock.wall(), at_once=new)
            self._room.facts[change.item].lease_ends = self._lookout.end_of(change.id)
            self._came.set()

    def left(self, change: Change) -> None:
        """This one is looked after no more."""
        if self._changes.pop(change.id, None) is not None:
            self._lookout.forget(change.id)

    async def run(self) -> None:
        """Looks until cancelled."""
        async with anyio.create_task_group() as group:
            group.start_soon(self._forever, self._look_around)
            if self._activity is not None:
                group.start_soon(self._forever, partial(self._ask, self._activity))

    async def _forever(self, once: Callable[[], Awaitable[None]]) -> None:
        """Goes on whatever happens: an error of our own must not keep anybody waiting for ever."""
        while True:
            try:
                await once()
            except CallError as error:
                self._heard(error)
                await anyio.sleep(LONGEST_NAP)
            except Exception as error:
                self._trouble(error)
                await anyio.sleep(LONGEST_NAP)

    async def _look_around(self) -> None:
        """Looks at whoever is due, or naps until somebody is."""
        now, next_at = self._clock.wall(), self._lookout.next
        if next_at is None or next_at > now:
            self._came = anyio.Event()
            nap = None if next_at is None else min(LONGEST_NAP, max(SHORTEST_NAP, next_at - now))
            with anyio.move_on_after(nap):
                await self._came.wait()
            return
        due = self._lookout.due(now)
        await (self._look_at_each(due) if len(due) <= self._lookout.pages else self._list(due))
        self._room.news()

    async def _list(self, due: Sequence[str]) -> None:
        sent = self._cloud.calls.get("list", 0)
        standing = await self._cloud.poll([Status.STOPPED], Rank.NEW)
        self._polled(None)
        self._lookout.pages = max(1, self._cloud.calls.get("list", 0) - sent)
        for notebook in self._lookout.watched:
            self._found(notebook, stopped=notebook in standing)
        for notebook in due:
            if notebook not in standing:
                self._lookout.saw(notebook, self._clock.wall())

    async def _look_at_each(self, due: Sequence[str]) -> None:
        for notebook in due:
            try:
                seen = (await self._cloud.look(notebook, Rank.NEW)).notebook
            except CallError as error:
                if error.meaning is not Meaning.GONE:
                    raise
                self._found(notebook, stopped=True)  # the look before the first write tells it for good
                continue
            self._polled(None)
            self._found(notebook, stopped=seen.status is Status.STOPPED)
            self._lookout.saw(notebook, self._clock.wall(), seen.status, seen.lease)
            if (change := self._changes.get(notebook)) is not None:
                self._room.facts[change.item].lease_ends = self._lookout.end_of(notebook)

    def _found(self, notebook: str, *, stopped: bool) -> None:
        change = self._changes.get(notebook)
        if change is not None:
            self._room.facts[change.item].stopped = stopped

    async def _ask(self, activity: Activity) -> None:
        """Asks now and then who is idle."""
        if self._changes:
            try:
                answers = await activity.use(tuple(self._changes))
            except CallError as error:
                self._room.learn(dict.fromkeys(self._not_idle(), Use(None, clean(error.text))))
                raise
            unknown = Use(None, "nothing is measured of it")
            self._room.learn(
                {change.item: answers.get(key, unknown) for key, change in self._changes.items()}
            )
        await anyio.sleep(ASK_ACTIVITY)

    def _not_idle(self) -> Iterator[int]:
        """Those who were not idle when somebody was last asked: a reading of idleness counts for a while."""
        for change in self._changes.values():
            if self._room.facts[change.item].idle_at is None:
                yield change.item

    def _heard(self, error: CallError) -> None:
        self._polled(error)
        if error.meaning in FATAL:
            self._control.drain(RunEnd.LOCKED_OUT, f"{error.meaning}: {error.text}", broken=True)
