"""Holds new changes back while most of what is tried fails, and lets them come again slowly.

One breaker a throttle scope. It hears of every call and of every end of a change there; `engine.brakes`
brings them. Changes under way are none of its business: they go on.

Two things open it. Too many calls that failed in passing, or had to be repeated: then the calls of whoever is
under way show when it is over, or those of one new change that is let through as a probe. Too many changes in
a row that failed alike: then only a change that succeeds does. `now` is monotonic time in seconds everywhere.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from fleet.core.errors import TRANSIENT, Meaning
from fleet.core.events import Answered, Blind, ChangeEvent, Fate, Late, Outcome, Saw
from fleet.core.rollout import FAILURES

WINDOW = 120.0  # s over which calls are counted
MOMENT = 0.1  # s within which they are counted together
LEAST_CALLS = 20  # fewer in the window prove nothing
TROUBLED = 0.1  # the share of failed or repeated calls above which it opens
ALIKE = 5  # changes in a row that failed alike open it
HOPELESS = 20  # so many of them, and trying on makes no sense
PROBE_WAIT = 5.0  # s to the first probe; each one that fails doubles it
LONGEST_WAIT = 60.0
STEP = 5.0  # s between two doublings of the slow start


@dataclass(slots=True)
class _Moment:
    """Calls that were over at about the same time, and how many of them failed."""

    at: float
    calls: int
    failed: int


class Breaker:
    """The breaker of one throttle scope. `most` is where the slow start ends: the run's concurrency."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._limit: int | None = None  # changes under way at once; 0 is open, None closed
        self._alike = False  # opened by changes that failed alike
        self._wait = PROBE_WAIT
        self._probe_at = 0.0
        self._probing = False
        self._stepped_at = 0.0
        self._under_way = 0
        self._recent: deque[_Moment] = deque()
        self._calls = 0
        self._failed = 0
        self._cause = ""
        self._in_a_row = 0

    def admits(self, now: float) -> bool:
        """Whether a new change may start."""
        if self._limit == 0:
            return now >= self._probe_at and not self._is_probed
        return self._limit is None or self._under_way < self._limit

    def wait(self, now: float) -> float | None:
        """Seconds until time alone makes it admit a change; None when it does already, or only news can."""
        if self._limit == 0 and not self._is_probed and now < self._probe_at:
            return self._probe_at - now
        return None

    @property
    def open(self) -> bool:
        """Whether no new change starts but probes."""
        return self._limit == 0

    @property
    def closed(self) -> bool:
        """Whether changes start as ever."""
        return self._limit is None

    @property
    def calm(self) -> bool:
        """Whether changes start as ever and nothing speaks against going on, as nearly always."""
        return self._limit is None and self._in_a_row < HOPELESS

    @property
    def hopeless(self) -> str | None:
        """Why the run should end, or None."""
        if self._in_a_row < HOPELESS:
            return None
        return f"{self._in_a_row} changes in a row failed alike: {self._cause}"

    @property
    def _is_probed(self) -> bool:
        """Whether somebody will bring news: of calls anybody who is under way, of changes the probe."""
        return self._probing if self._alike else self._under_way > 0

    def began(self) -> None:
        """A change started; while the breaker is open it is the probe."""
        self._under_way += 1
        self._probing = self._limit == 0

    def called(self, calls: int, failed: int, now: float) -> str:
        """Takes in calls that are over, `failed` of them in passing; says what changed, "" for nothing."""
        self._count(calls, failed, now)
        if self._limit is None:
            troubled = self._failed and self._calls >= LEAST_CALLS and self._troubled()
            return self._open(self._rate(), now) if troubled else ""
        if self._limit == 0:
            return self._probed(failed, now)
        if self._troubled():
            return self._open(self._rate(), now)
        return "" if failed else self._step(now)

    def ended(self, outcome: Outcome, cause: str, now: float) -> str:
        """Takes in the end of a change and the cause of its failure; says what changed, "" for nothing."""
        self._under_way -= 1
        self._probing = False
        if outcome is Outcome.CHANGED:
            self._in_a_row = 0
            return self._recover(now) if self._limit == 0 and self._alike else ""
        if outcome not in FAILURES:
            return ""
        self._in_a_row = self._in_a_row + 1 if cause == self._cause else 1
        self._cause = cause
        if self._limit == 0 and self._alike:
            self._probe_later(now)
            return ""
        if self._in_a_row < ALIKE:
            return ""
        self._alike = True
        return self._open(f"{self._in_a_row} changes in a row failed alike: {cause}", now)

    def _open(self, why: str, now: float) -> str:
        if self._limit is None:
            self._wait = PROBE_WAIT
            self._probe_at = now + self._wait
        else:
            self._probe_later(now)
        self._limit = 0
        self._forget()
        return why

    def _probe_later(self, now: float) -> None:
        """Waits longer, unless this is old news: what is heard before a probe is due may be older yet."""
        if now >= self._probe_at:
            self._wait = min(2 * self._wait, LONGEST_WAIT)
            self._probe_at = now + self._wait

    def _probed(self, failed: int, now: float) -> str:
        if self._alike or now < self._probe_at:
            return ""
        if not failed:
            return self._recover(now)
        self._probe_later(now)
        return ""

    def _recover(self, now: float) -> str:
        self._limit, self._stepped_at = 1, now
        self._alike = False
        self._forget()
        return "it works again: new changes start slowly"

    def _step(self, now: float) -> str:
        if self._limit is None or now - self._stepped_at < STEP:
            return ""
        self._limit, self._stepped_at = 2 * self._limit, now
        if self._limit < self._most:
            return ""
        self._limit = None
        return "new changes start as before"

    def _count(self, calls: int, failed: int, now: float) -> None:
        if calls:
            self._note(calls, failed, now)
            self._calls += calls
            self._failed += failed
        while self._recent and self._recent[0].at <= now - WINDOW:
            old = self._recent.popleft()
            self._calls -= old.calls
            self._failed -= old.failed

    def _note(self, calls: int, failed: int, now: float) -> None:
        """Those of one moment are counted together, as two minutes of calls may be a million."""
        last = self._recent[-1] if self._recent else None
        if last is not None and now - last.at < MOMENT:
            last.calls += calls
            last.failed += failed
        else:
            self._recent.append(_Moment(now, calls, failed))

    def _forget(self) -> None:
        self._recent.clear()
        self._calls = self._failed = 0

    def _troubled(self) -> bool:
        return self._failed > TROUBLED * self._calls

    def _rate(self) -> str:
        return f"{self._failed} of {self._calls} calls failed or were repeated"


def untroubled(event: ChangeEvent) -> bool:
    """Whether an event tells of one call that went well and of nothing else that matters here, as most do."""
    if isinstance(event, Saw):
        return event.sends == 1 and not event.sight.status.broken
    return isinstance(event, Answered) and event.fate is Fate.ACCEPTED and event.sends == 1


def calls_of(event: ChangeEvent) -> tuple[int, int] | None:
    """How many calls an event tells of, and how many of them failed in passing; None when of none at all.

    A call that took several requests counts them all: each but the last one failed. One that never left
    counts too.
    """
    match event:
        case Saw():
            return event.sends, event.repeats
        case Answered() | Blind() if event.meaning in TRANSIENT:
            return max(1, event.sends), max(1, event.sends)
        case Answered():
            return event.sends, max(0, event.sends - 1)
        case _:
            return None


def cause_of(event: ChangeEvent) -> str | None:
    """What an event says about why its change may fail, in words that are equal for equal causes."""
    match event:
        case Answered() if event.fate is not Fate.ACCEPTED:
            return _in_words(event.meaning, event.code)
        case Blind():
            return _in_words(event.meaning, "")
        case Saw() if event.sight.status.broken:
            return event.sight.status.value
        case Late():
            return event.reason if event.unrecorded else "the time was up"
        case _:
            return None


def _in_words(meaning: Meaning | None, code: str) -> str:
    return " ".join(part for part in (str(meaning or ""), code and f"({code})") if part)
