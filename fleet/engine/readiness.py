"""The waiting room of a run: changes whose moment has not come, outside of the admission.

Here they hold no slot, no seat in a budget and no request. What is ready is released into the admission, and
judged once more when its turn comes. `core.scheduling.readiness` decides, `readiness_looks` finds out who
stands still or is idle, `readiness_notices` speaks with owners.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache, partial
from typing import Protocol

import anyio

from fleet.core.events import Held, RunEnd, Used, WaveStarted
from fleet.core.planning.plan import Change
from fleet.core.rollout import Rollout
from fleet.core.scheduling.readiness import (
    UNKNOWN,
    Drop,
    Facts,
    Go,
    Judge,
    Opening,
    Pace,
    Standing,
    Wait,
    Why,
    holds_back,
    is_careful,
    leave_of,
    moment,
    stops,
)
from fleet.core.scheduling.timing import Memory
from fleet.core.scheduling.waiting_words import Waiting, held_words
from fleet.core.usage import Use
from fleet.engine.control import Control
from fleet.engine.ports import Clock
from fleet.engine.tape import Tape

LONGEST_NAP = 60.0  # s: wall clocks are set now and then, and machines sleep
SHORTEST_NAP = 0.01  # s; a wait that rounding makes shorter than the clock's step would never end


Release = Callable[[Sequence[Change]], None]
Leaving = Callable[[Change, Drop], None]


class Watcher(Protocol):
    """Finds out facts about those who wait."""

    def came(self, change: Change) -> None:
        """This change waits from now on."""
        ...

    def left(self, change: Change) -> None:
        """This change waits no more."""
        ...


class WaitingRoom:
    """Who waits, and what is known of each. `trouble` is told of errors of our own.

    The window with which the run ends `closes` then (wall seconds), infinity if it goes on in others.
    """

    def __init__(
        self,
        rollout: Rollout,
        memory: Memory,
        tape: Tape,
        clock: Clock,
        control: Control,
        trouble: Callable[[Exception], None],
        ends: float | None,
        pace: Pace,
        closes: float = math.inf,
    ) -> None:
        self._rollout = rollout
        self._memory = memory
        self._tape = tape
        self._clock = clock
        self._control = control
        self._trouble = trouble
        self._pace = pace
        self._closes = closes
        self._learned = False  # how long changes take, since all were judged
        self._judge = Judge(rollout, ends, pace)
        self.facts: dict[int, Facts] = {}
        self.postponed: Mapping[str, float] | None = None  # nobody can tell
        self.present: dict[int, Change] = {}  # those who wait, and those whose turn has not come yet
        self._waiting: dict[int, Change] = {}
        self._too_long = math.inf  # s; for this much no window is long enough
        self._told: dict[Why, str] = {}
        self._news = anyio.Event()
        self.watchers: list[Watcher] = []

    @property
    def waiting(self) -> int:
        """How many wait for their moment."""
        return len(self._waiting)

    @property
    def opened(self) -> Collection[int]:
        """The waves that have begun, be it in an earlier process."""
        return self._memory.began

    @property
    def takes_back(self) -> bool:
        """Whether a change under way may come back to wait, as its notebook must not be stopped."""
        return holds_back(self._rollout)

    def counts_for(self, change: Change) -> int:
        """The wave for which a change counts that began in an earlier process."""
        return self._memory.counts_for(change.item, change.wave)

    def open_wave(self, started: WaveStarted, changes: Sequence[Change]) -> list[Change]:
        """Takes in those of a wave that begins who have to wait, and returns all others."""
        self._memory.see(started)
        free = list[Change]()
        for change in changes:
            if self._rollout.calendar or (is_careful(self._rollout) and stops(change)):
                self.enter(change, stops=stops(change))
            else:
                free.append(change)
        return free

    def enter(self, change: Change, *, stops: bool) -> None:
        """This change waits; again, if its notebook was not as thought or its moment was over."""
        facts = self.facts.get(change.item)
        if facts is None:
            since = self._memory.waits_since(change.item, change.wave)
            since = self._clock.wall() if since is None else since
            facts = self.facts[change.item] = Facts(since, stops)
        facts.stops, facts.stopped = stops, False
        facts.noticed = self._memory.noticed.get((change.wave, change.owner))
        self._waiting[change.item] = self.present[change.item] = change
        if stops and is_careful(self._rollout):
            for watcher in self.watchers:
                watcher.came(change)
        self.news()

    def take(self, change: Change) -> Go | None:
        """Whether the change, whose turn has come, may start still; if not it waits again."""
        if change.item not in self.present:
            return Go(leave_of(self._rollout, change))
        now = self._clock.wall()
        standing = self._standing(change, now, partial(self._opening, now))
        if isinstance(standing, Go):
            self._forget(change)
            return standing
        self._waiting[change.item] = change
        self.news()
        return None

    def still(self, change: Change, paused: bool) -> bool:
        """Whether the change, which was told to start and has sent nothing, may still do so.

        Nobody asked meanwhile whether its notebook is idle; what was told before a pause is old.
        """
        if change.item not in self.facts:
            return True
        if paused:
            self.facts[change.item].idle_at = None
        now = self._clock.wall()
        return isinstance(self._standing(change, now, partial(self._opening, now)), Go)

    def learn(self, uses: Mapping[int, Use]) -> None:
        """Takes in how notebooks of those who wait are used, by item, and tells what is new of each."""
        now, news = self._clock.wall(), dict[int, str]()
        for item, use in uses.items():
            facts = self.facts[item]
            if facts.use is None or facts.use.idle is not use.idle:
                ends = f"; its lease ends at {moment(facts.lease_ends)}" if facts.lease_ends else ""
                news[item] = f"{use.why}, as of {moment(now)}{ends}"
            facts.use, facts.idle_at = use, now if use.idle else None
        if news:
            self._tape.note(Used(now, news))
        self.news()

    def took(self, change: Change, seconds: float) -> None:
        """Takes in a change that came to a good end: what others need decides where they fit in."""
        self._pace.took(change, seconds)
        self._learned = True

    def put_off(self, change: Change) -> None:
        """This change waits again, as its moment was over before it sent anything."""
        self.enter(change, stops=self.facts[change.item].stops)

    def close(self) -> None:
        """Nobody is waited for any more."""
        self._tell({}, {}, self._clock.wall())

    def news(self) -> None:
        """Lets everybody who waits be judged again."""
        self._news.set()

    async def run(
        self, release: Callable[[Sequence[Change]], None], drop: Callable[[Change, Drop], None]
    ) -> None:
        """Hands out changes as their moment comes, until cancelled."""
        while True:
            self._news = anyio.Event()
            try:
                wake = self._sort_out(release, drop)
            except Exception as error:  # an error of our own must not leave the others stopped
                self._trouble(error)
                wake = self._clock.wall() + LONGEST_NAP
            await self._nap(wake)

    async def _nap(self, wake: float) -> None:
        """Until there is news, or the wall clock says `wake`; to look at it now and then judges nobody."""
        lain = self._clock.wall()
        while not self._news.is_set():
            left = max(SHORTEST_NAP, wake - self._clock.wall())
            with anyio.move_on_after(min(left, LONGEST_NAP) if self._waiting else None):
                await self._news.wait()
            if self._learned or not lain <= self._clock.wall() < wake:  # it may have been set back
                return

    def _sort_out(self, release: Release, drop: Leaving) -> float:
        """Judges all who wait; returns when the next of them may be ready."""
        now = self._clock.wall()
        opening = cache(partial(self._opening, now))
        self._learned = False
        ready: list[Change] = []
        waiting: defaultdict[Why, list[tuple[Change, Facts]]] = defaultdict(list)
        untils: defaultdict[Why, list[float]] = defaultdict(list)
        for item in sorted(self._waiting):
            change = self._waiting[item]
            match self._standing(change, now, opening):
                case Go():
                    ready.append(change)
                    del self._waiting[item]
                case Drop() as end:
                    del self._waiting[item]
                    self._forget(change)
                    drop(change, end)
                case Wait(why, until):
                    waiting[why].append((change, self.facts[item]))
                    untils[why].append(math.inf if until is None else until)
        if ready:
            release(ready)
            self._control.stir()
        opens = opening(0.0) or math.inf
        if opens == now and self._has_no_room(waiting.keys(), bool(ready)):
            reason = "the window has no room for the rest, and rollout.carry_over is false"
            self._control.drain(RunEnd.HALTED, reason)
            return math.inf
        self._tell(waiting, untils, now)
        return min([opens if opens > now else math.inf, *(min(ats) for ats in untils.values())])

    def _has_no_room(self, waiting: Collection[Why], ready: bool) -> bool:
        """Whether none of those who wait can start any more in the window, which is open, and no other comes.

        Who does not fit any more keeps nobody from starting who does.
        """
        others = ready or len(waiting) > 1 or len(self.present) > len(self._waiting)
        return self._closes < math.inf and Why.WINDOW in waiting and not others

    def _standing(self, change: Change, now: float, opening: Opening) -> Standing:
        postponed = UNKNOWN if self.postponed is None else self.postponed.get(change.owner)
        return self._judge.standing(change, self.facts[change.item], now, postponed, opening)

    def _opening(self, now: float, needs: float) -> float | None:
        """When a window is open for so long; to find that none ever is takes a look at all of a year."""
        if needs >= self._too_long:
            return None
        opens = self._rollout.calendar.next_opening(now, needs)
        if opens is None:
            self._too_long = needs
        return opens

    def _forget(self, change: Change) -> None:
        del self.present[change.item]
        for watcher in self.watchers:
            watcher.left(change)

    def _tell(
        self,
        waiting: Mapping[Why, Waiting],
        untils: Mapping[Why, Sequence[float]],
        now: float,
    ) -> None:
        """Says who waits for what, whenever that changes."""
        for why in Why:
            text, examples, latest, closes = "", "", math.inf, self._closes
            if why in waiting:
                latest = min(max(untils[why]), closes)
                otherwise = self._rollout.otherwise
                text, examples = held_words(why, waiting[why], untils[why], closes, now, otherwise)
            if text != self._told.get(why, ""):
                self._told[why] = text
                told = f"{text} ({examples}, as of {moment(now)})" if examples else text
                until = latest if latest < math.inf else None
                self._tape.note(Held(now, why.name.lower(), told, until))
