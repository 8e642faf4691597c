"""How a run is steered while it goes on: told to end early, paused, given other limits.

Whoever steers only sets values here; the crew of the run and the changes under way look at them. Ending and
pausing mean the same for a change: none starts, those that have sent something come home.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import anyio

from fleet.core.errors import FATAL
from fleet.core.events import Answered, Blind, Event, RunEnd
from fleet.engine.approvals import Approvals

_TOLD = frozenset({Answered, Blind})  # with a meaning, if it did not succeed


class Budgets(Protocol):
    """What bounds how many changes are under way at once."""

    @property
    def binding(self) -> tuple[str, ...]: ...

    @property
    def ceilings(self) -> Mapping[str, int]: ...


class Control:
    """Shared by whoever may stop or steer a run: signals, budgets, deadlines, lost credentials, a person.

    The first reason to end stands, and is forgotten only by `all_done`. `concurrency` is None as long as the
    plan's own holds.
    """

    def __init__(self) -> None:
        self.end: tuple[RunEnd, str] | None = None
        self.paused = False
        self.concurrency: int | None = None
        self.draining = anyio.Event()
        self.approvals = Approvals()
        self.budgets: Budgets | None = None  # of the crew at work
        self._broken = False
        self._stirred = anyio.Event()

    def drain(self, end: RunEnd, reason: str, *, broken: bool = False) -> None:
        """Lets no further change start. `broken` says that the run can be told as finished no more."""
        self._broken |= broken
        if self.end is None:
            self.end = (end, reason)
            self.draining.set()
            self.stir()

    def all_done(self) -> None:
        """Every change came to its outcome: whoever wanted no further one to start kept none from it."""
        if not self._broken:
            self.end = None

    def pause(self) -> None:
        """Lets no further change start until `release`."""
        self.paused = True

    def release(self) -> None:
        """Ends a pause."""
        self.paused = False
        self.stir()

    def allow(self, concurrency: int) -> None:
        """From now on so many changes may be under way at once; those that are stay."""
        self.concurrency = concurrency
        self.stir()

    def stir(self) -> None:
        """Lets everybody who waits for something to change look again."""
        self._stirred.set()
        self._stirred = anyio.Event()

    async def stirred(self) -> None:
        """Returns when something has changed since the call."""
        await self._stirred.wait()

    async def released(self) -> None:
        """Returns when no pause keeps a change from starting, or the run is told to end."""
        while self.paused and self.end is None:
            await self.stirred()

    def observe(self, event: Event) -> None:
        """Ends the run at the first failure that every further call would share."""
        if type(event) not in _TOLD:  # as most are not: nothing is asked more often than this
            return
        if isinstance(event, Answered | Blind) and event.meaning in FATAL:
            self.drain(RunEnd.LOCKED_OUT, f"{event.meaning}: {event.text}", broken=True)
