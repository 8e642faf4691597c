"""What holds new changes back while a run goes on: breakers and closed groups, fed with its events.

What an event means is decided in `core.pacing.breaker` and `core.planning.closing`. Here one breaker a
throttle key is kept, news are recorded, and a run that has become hopeless is told to end.
"""

from __future__ import annotations

from collections import defaultdict
from typing import cast

from fleet.core.errors import TRANSIENT, CallError, Meaning
from fleet.core.events import Answered, Blind, Ended, Event, Held, Intended, Late, RunEnd, Saw
from fleet.core.pacing.breaker import Breaker, calls_of, cause_of, untroubled
from fleet.core.planning.by_item import changes_by_item
from fleet.core.planning.closing import Group, closed_by, groups_of
from fleet.core.planning.plan import Change, Plan
from fleet.engine.control import Control
from fleet.engine.ports import Clock
from fleet.engine.tape import Tape

_TOLD = frozenset({Saw, Answered, Blind, Late})
SHORTEST_WAIT = 0.01  # s; a wait that rounding makes shorter than the clock's step would never end


class Brakes:
    """The brakes of one run of `plan`. Sees every event."""

    def __init__(self, plan: Plan, tape: Tape, clock: Clock, control: Control) -> None:
        self._tape = tape
        self._clock = clock
        self._control = control
        self._changes = changes_by_item(plan.changes)
        self._keys = {scope.name: scope.throttle for scope in plan.scopes}
        self._breakers: defaultdict[str, Breaker] = defaultdict(lambda: Breaker(plan.rollout.concurrency))
        self._causes: dict[int, str] = {}
        self._closed: dict[Group, str] = {}
        self._under_way: set[int] = set()
        self._sent: set[int] = set()

    def admits(self, scope: str) -> bool:
        """Whether a change may start in `scope` at this moment."""
        return self._breaker(scope).admits(self._clock.monotonic())

    def barred(self, change: Change) -> str | None:
        """Why a change that has sent nothing may never start in this run, or None."""
        if not self._closed:
            return None
        return next((self._closed[group] for group in groups_of(change) if group in self._closed), None)

    def wait(self) -> float | None:
        """Seconds until time alone may make a scope admit a change; None when only news can."""
        now = self._clock.monotonic()
        waits = [breaker.wait(now) for breaker in self._breakers.values()]
        return min((max(wait, SHORTEST_WAIT) for wait in waits if wait is not None), default=None)

    @property
    def reasons(self) -> str:
        """Why groups were closed, in words."""
        return "; ".join(self._closed.values())

    def began(self, change: Change) -> None:
        """A change was told to start."""
        self._under_way.add(change.item)
        self._breaker(change.scope).began()

    def polled(self, scope: str, error: CallError | None) -> None:
        """Takes in a list poll, which stands for the looks of all who wait."""
        failed = max(1, error.sends) if error is not None and error.meaning in TRANSIENT else 0
        self._called(scope, max(1, failed), failed)

    def __call__(self, event: Event) -> None:
        """Takes in an event, also one of a look that will be repeated and is not recorded."""
        if type(event) in _TOLD:  # most are, and to ask by the type costs least
            told = cast(Saw | Answered | Blind | Late, event)
            if (change := self._changes.get(told.item)) is not None:
                self._told(change, told)
        elif isinstance(event, Intended):
            self._sent.add(event.item)
        elif isinstance(event, Ended) and event.item in self._under_way:
            self._ended(self._changes[event.item], event)

    def _ended(self, change: Change, event: Ended) -> None:
        self._under_way.remove(change.item)
        self._sent.discard(change.item)
        breaker, cause = self._breaker(change.scope), self._causes.pop(change.item, "")
        self._heard(breaker, change.scope, breaker.ended(event.outcome, cause, self._clock.monotonic()))

    def _told(self, change: Change, event: Saw | Answered | Blind | Late) -> None:
        """Takes in what a call, or the want of one, showed."""
        if untroubled(event):
            self._called(change.scope, 1, 0)
            return
        if (cause := cause_of(event)) is not None:
            self._causes[change.item] = cause
        if (closed := closed_by(event, change, sent=change.item in self._sent)) is not None:
            self._close(*closed)
        if (calls := calls_of(event)) is not None:
            self._called(change.scope, *calls)

    def _called(self, scope: str, calls: int, failed: int) -> None:
        breaker = self._breaker(scope)
        news = breaker.called(calls, failed, self._clock.monotonic())
        if news or not breaker.calm:
            self._heard(breaker, scope, news)

    def _heard(self, breaker: Breaker, scope: str, news: str) -> None:
        """Records what a breaker made of an event, and lets the crew look again."""
        if news:
            self._held(self._key(scope), "" if breaker.closed else news)
        if breaker.hopeless is not None:
            self._control.drain(RunEnd.HALTED, f"{self._key(scope)}: {breaker.hopeless}")
        if news or not breaker.closed:
            self._control.stir()

    def _close(self, group: Group, meaning: Meaning) -> None:
        if group not in self._closed:
            self._closed[group] = f"{group} takes no more changes: {meaning}"
            self._held(str(group), f"takes no more changes: {meaning}")

    def _held(self, where: str, text: str) -> None:
        self._tape.note(Held(self._clock.wall(), where, text))

    def _breaker(self, scope: str) -> Breaker:
        return self._breakers[self._keys.get(scope, scope)]

    def _key(self, scope: str) -> str:
        return self._keys.get(scope, scope)
