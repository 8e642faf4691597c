"""Whether a change may start at a given moment: its notebook's, its owner's, and that of the window.

A change waits outside of the admission, where it holds no slot and no seat, and is judged again when its turn
has come. Judged without awaiting; `engine.readiness` gathers the facts and keeps the waiting room.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from statistics import median
from typing import Any

from fleet.core.duration import duration
from fleet.core.events import Leave, Outcome
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.planning.estimate import NOTHING_LEARNED, Times, expected, length_of
from fleet.core.planning.plan import Change
from fleet.core.rollout import Rollout
from fleet.core.scheduling.timing import Moment, Otherwise
from fleet.core.scheduling.waiting import KEPT, PROVEN
from fleet.core.usage import Use

UNKNOWN = math.inf  # until when an owner wants to be left alone, while nobody can tell
FRESH = 900.0  # s that a reading of idleness counts
NEARLY_ALL = 0.9  # of the changes so far: they were over in the time that the next one gets
MARGIN = 1.1  # and a little more: a change must be home before its window closes


class Why(StrEnum):
    """What a change waits for."""

    STOP = "their notebook to stop"
    IDLE = "their notebook to be idle"
    NOTICE = "their owner's notice to be out long enough"
    POSTPONED = "the time that their owner asked for"
    WINDOW = "the window"


@dataclass(frozen=True, slots=True)
class Go:
    """The change may start."""

    leave: Leave | None


@dataclass(frozen=True, slots=True)
class Wait:
    """Not before `until` (wall s); None when only news can tell."""

    why: Why
    until: float | None = None


@dataclass(frozen=True, slots=True)
class Drop:
    """The change never starts."""

    outcome: Outcome
    reason: str


Standing = Go | Wait | Drop


@dataclass(slots=True)
class Facts:
    """What is known of a change that waits, in wall seconds.

    Its patience counts from `since`. `stops` says that it would stop its notebook if that runs. `idle_at` is
    when it was last told to be idle, None when it is not or nobody knows. `noticed` is when its owner was
    told, `unnoticed` why he could not be. `use` is what was last told of its use, `lease_ends` when a
    countdown stops it.
    """

    since: float
    stops: bool
    stopped: bool = False
    idle_at: float | None = None
    noticed: float | None = None
    unnoticed: str = ""
    use: Use | None = None
    lease_ends: float | None = None


def is_careful(rollout: Rollout) -> bool:
    """Whether a running notebook is not simply stopped."""
    return rollout.when is not Moment.NOW or rollout.notice is not None


def holds_back(rollout: Rollout) -> bool:
    """Whether a change may have to wait for a moment to stop its notebook."""
    return is_careful(rollout) or bool(rollout.calendar)


def leave_of(rollout: Rollout, change: Change) -> Leave | None:
    """What a change may do that need not wait: it must not stop a running notebook unawares.

    One that was stopped when its first stage was planned may run when the next one comes.
    """
    may_run = change.run_state is Status.RUNNING or change.takes_as_found
    return Leave.SPARE if holds_back(rollout) and may_run else None


def wants_notice(rollout: Rollout) -> bool:
    """Whether a running notebook may be stopped, and its owner is to be told before."""
    may_stop = rollout.when is not Moment.NEXT_STOP or rollout.otherwise is Otherwise.FORCE
    return rollout.notice is not None and may_stop


def stops(change: Change) -> bool:
    """Whether the planned way stops a running notebook."""
    return change.run_state is Status.RUNNING and change.needs_restart


class Pace:
    """How long changes take from their first write on, those of one flavor alike.

    As `times` of earlier runs say, or as assumed, until enough were seen in this one.
    """

    def __init__(self, times: Times = NOTHING_LEARNED) -> None:
        self._times = times
        self._took: dict[tuple[Any, ...], deque[float]] = {}

    def took(self, change: Change, seconds: float) -> None:
        """Takes in a change that came to a good end."""
        kind = _kind(change)
        if kind not in self._took:
            self._took[kind] = deque(maxlen=KEPT)
        self._took[kind].append(seconds)

    def needs(self, change: Change) -> float:
        """Seconds in which nearly every such change is over, told cautiously."""
        took = sorted(self._took.get(_kind(change), ()))
        if len(took) >= PROVEN:
            return took[math.ceil(NEARLY_ALL * len(took)) - 1] * MARGIN
        learned = change.flavor in self._times
        return max([expected(change, self._times, slow=learned).seconds, *(MARGIN * one for one in took)])

    def usual(self, change: Change) -> float:
        """Seconds that half of such changes take."""
        took = self._took.get(_kind(change), ())
        return median(took) if len(took) >= PROVEN else length_of(change, self._times)


def _kind(change: Change) -> tuple[Any, ...]:
    """What changes have in common that take equally long."""
    if not change.needs_restart:
        return False, bool(change.save)
    return True, bool(change.save), change.flavor, change.after.get("flavor", change.flavor)


Opening = Callable[[float], float | None]


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges changes by `rollout`. `ends` is when the run ends at the latest, `pace` how long they take."""

    rollout: Rollout
    ends: float | None
    pace: Pace

    def standing(
        self, change: Change, facts: Facts, now: float, postponed: float | None, opening: Opening
    ) -> Standing:
        """Whether `change` may start now; the owner wants to be left alone until `postponed`. Wall seconds.

        `opening` says when, from now on, a window is open for so many seconds.
        """
        found = self._moment(change, facts, now)
        if isinstance(found, Go) and facts.stops and found.leave is not Leave.SPARE:
            found = self._owners(facts, now, postponed) or found
        if not isinstance(found, Go):
            return found
        asked = _as_known(change, facts)
        usual = self.pace.usual(asked)
        opens = opening(self.pace.needs(asked))
        if opens is None:  # some were that slow; most are not
            opens = opening(usual)
        if opens is None:
            return Drop(Outcome.SKIPPED, f"takes about {duration(usual)}: no window will be long enough")
        return found if opens <= now else Wait(Why.WINDOW, opens)

    def _moment(self, change: Change, facts: Facts, now: float) -> Standing:
        """What the notebook's own state allows."""
        rollout = self.rollout
        if not facts.stops:
            running = change.run_state is Status.RUNNING
            return Go(leave_of(rollout, change) or (Leave.STOP if running else None))
        if rollout.when is Moment.NOW:
            return Go(Leave.STOP)
        if facts.stopped:
            return Go(Leave.SPARE)
        idle = facts.idle_at is not None and now - facts.idle_at <= FRESH
        if rollout.when is Moment.IDLE and idle:
            return Go(Leave.IDLE)
        over = facts.since + rollout.patience
        if now < over:
            return Wait(Why.IDLE if rollout.when is Moment.IDLE else Why.STOP, over)
        if rollout.otherwise is Otherwise.FORCE:
            return Go(Leave.FORCED)
        waited = "stop by itself" if rollout.when is Moment.NEXT_STOP else "become idle or stop"
        why = f": {facts.use.why}" if facts.use is not None and not facts.use.idle else ""
        return Drop(Outcome.SKIPPED, f"did not {waited} within {duration(rollout.patience)}{why}")

    def _owners(self, facts: Facts, now: float, postponed: float | None) -> Wait | Drop | None:
        """What keeps a running notebook from being stopped for its owner's sake, or None."""
        notice = self.rollout.notice
        if notice is None:
            return None
        if facts.unnoticed:
            return Drop(Outcome.SKIPPED, f"its owner could not be told: {facts.unnoticed}")
        if postponed is not None and postponed > now:
            return self._put_off(facts, now, postponed)
        if facts.noticed is None:
            return Wait(Why.NOTICE)
        told_long_ago = facts.noticed + notice.lead
        return Wait(Why.NOTICE, told_long_ago) if now < told_long_ago else None

    def _put_off(self, facts: Facts, now: float, until: float) -> Wait | Drop:
        if until == UNKNOWN:
            return Wait(Why.POSTPONED)
        asked = f"its owner asked for no stop before {moment(until)}"
        if self.ends is not None and until > self.ends:
            return Drop(Outcome.SKIPPED, f"{asked}, which is after the deadline")
        over = facts.since + self.rollout.patience
        if self.rollout.when is Moment.NOW or until <= over:
            return Wait(Why.POSTPONED, until)
        if now < over:  # until then it may stop by itself
            return Wait(Why.POSTPONED, over)
        return Drop(Outcome.SKIPPED, f"{asked}, which is after the patience")


def _as_known(change: Change, facts: Facts) -> Change:
    """The change as what is known of its notebook by now makes it."""
    if not facts.stops:
        return change
    state = Status.STOPPED if facts.stopped else Status.RUNNING
    return change if change.run_state is state else replace(change, run_state=state)


def moment(at: float) -> str:
    """Wall seconds for people."""
    return datetime.fromtimestamp(at, UTC).strftime("%Y-%m-%d %H:%M UTC")


def second(at: float) -> str:
    """Wall seconds for people, to the second: no earlier than `at`."""
    return datetime.fromtimestamp(math.ceil(at), UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


MODEST = 60.0  # s between two rounds of looks, at least
REQUEST = 30.0  # and so many for each request that a round takes
LAG = 5.0  # s after the end of a lease until a look is worth its request
ENDING = 120.0  # s in which a lease that is over by our clock may still go on by the cloud's


class Lookout:
    """When to look at whom who waits in one scope for his notebook to stop. Wall seconds.

    All are looked at in rounds, at a modest pace; beyond that each at the end of his lease, for that is when
    it stops by itself. `soon` is the shortest pause between two looks at one of them.
    """

    def __init__(self, soon: float) -> None:
        self._soon = soon
        self._ends: dict[str, float | None] = {}
        self._due: dict[str, float] = {}
        self._round_at = 0.0
        self.pages = 1  # requests that a list of all who stand still took

    def watch(self, notebook: str, lease: Lease | None, now: float, *, at_once: bool = True) -> None:
        """From now on this one is waited for; `at_once` says that it was not looked at a moment ago."""
        if at_once:
            self._round_at = min(self._round_at, now)
        self._ends[notebook] = _end_of(lease)
        self._look_at_its_end(notebook, now)

    def forget(self, notebook: str) -> None:
        """This one is waited for no more."""
        self._due.pop(notebook, None)
        self._ends.pop(notebook, None)

    def end_of(self, notebook: str) -> float | None:
        """When a countdown stops it, as far as is known."""
        return self._ends.get(notebook)

    @property
    def watched(self) -> list[str]:
        """All who are waited for."""
        return list(self._ends)

    @property
    def next(self) -> float | None:
        """When the next look is due; None while nobody waits."""
        return min([self._round_at, *self._due.values()]) if self._ends else None

    def due(self, now: float) -> list[str]:
        """Whom to look at now, everybody if a round is due; then the next round is some time away."""
        if self._round_at > now:
            return [notebook for notebook, at in self._due.items() if at <= now]
        requests = min(len(self._ends), self.pages)
        self._round_at = now + max(MODEST, self._soon, REQUEST * requests)
        return self.watched

    def saw(
        self, notebook: str, now: float, status: Status | None = None, lease: Lease | None = None
    ) -> None:
        """Takes in that a notebook is not STOPPED, and what else a look at it alone showed."""
        if notebook not in self._ends:
            return
        if lease is not None:
            self._ends[notebook] = _end_of(lease)
        self._look_at_its_end(notebook, now)
        if status is Status.STOPPING:
            self._due[notebook] = now + self._soon

    def _look_at_its_end(self, notebook: str, now: float) -> None:
        self._due.pop(notebook, None)
        ends = self._ends[notebook]
        if ends is not None and now <= ends + ENDING:
            self._due[notebook] = max(ends + LAG, now + self._soon)


def _end_of(lease: Lease | None) -> float | None:
    """When a countdown stops the notebook; None for one that goes by idleness, or is off."""
    if lease is None or not lease.enable or lease.type is not LeaseType.TIMING:
        return None
    return (lease.create_at + lease.duration) / 1000
