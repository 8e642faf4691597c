"""When it pays to look at those who wait for a stop or a start: arithmetic on learned times.

A list is asked for when, by the times of earlier waits, it will tell of enough who are ready: READS requests
for each. So few that a list costs as much look for themselves, once they are ready about as likely as not.
Times are learned as shares of what was expected, so that a large machine's wait tells something of a small
one's. Seconds, unless a name says otherwise.
"""

from __future__ import annotations

from bisect import bisect_right, insort
from collections import defaultdict, deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import ceil
from typing import NamedTuple

from fleet.core.notebook import Status

READS = 1.0  # requests that polls may cost a wait, on average
LATEST = 0.15  # of a wait's mean time: how late its end may be noticed, whatever that costs
STRAGGLING = 0.04  # of its age, if that is more: how late who looks for himself may notice the end
LONGEST = 180.0  # s between two lists, however long all who wait should have been ready
EARLY = 0.8  # of the quickest wait so far: the first look; else it would never be seen that waits are quicker
LIKELY = 0.5  # how likely his wait must be over before somebody looks for himself
SPARED = 0.1  # of the usual reads are left to polls for which nothing waits but a slot that nobody needs
PROVEN = 5  # waits after which the times are believed
KEPT = 100  # waits of each kind that are remembered
PAGE = 50  # rows that one request lists (List API: 10, 20 or 50)


class Wait(NamedTuple):
    """Somebody waits since `since`, was not ready at `seen`, and is expected to need `usual` seconds."""

    since: float
    seen: float
    usual: float = 1.0


@dataclass(slots=True)
class _Shares:
    """How long the latest waits of one kind took, as shares of what was expected."""

    latest: deque[float] = field(default_factory=deque)
    ordered: list[float] = field(default_factory=list)
    mean: float = 0.0

    def add(self, share: float) -> None:
        if len(self.latest) == KEPT:
            self.ordered.remove(self.latest.popleft())
        self.latest.append(share)
        insort(self.ordered, share)
        self.mean = sum(self.latest) / len(self.latest)

    def outlasts(self, share: float) -> float:
        """How likely a wait takes longer than that: never impossible, as one more may outlast all so far."""
        longer = len(self.ordered) - bisect_right(self.ordered, share)
        return (longer + (self.mean / share if share > self.mean else 1.0)) / (len(self.ordered) + 1)


class Waits:
    """How long waits took, by the status that was waited out, and what follows for polling.

    Of what is not known yet, news is asked for every `least` seconds.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._shares: defaultdict[Status, _Shares] = defaultdict(_Shares)

    def took(self, status: Status, seconds: float, usual: float = 1.0) -> None:
        """Takes in how long a wait for the end of `status` took that was expected to take `usual` seconds."""
        self._shares[status].add(seconds / usual)

    def soonest(self, status: Status, wait: Wait) -> float:
        """The instant from which on a look may tell something new."""
        if not self._knows(status):
            return wait.seen + max(self._least, self._patience(status, wait))
        return max(wait.since + EARLY * self._shares[status].ordered[0] * wait.usual, wait.seen)

    def list_pays(
        self, status: Status, waits: Sequence[Wait], requests: float, now: float, worth: float = 1.0
    ) -> bool:
        """Whether to ask for a list of so many requests, for those who wait for the end of `status`.

        `worth` (0 to 1) says how much it matters that they are noticed soon.
        """
        if not self._knows(status):
            return now >= min(self.soonest(status, wait) for wait in waits)
        mean = self._shares[status].mean * sum(wait.usual for wait in waits) / len(waits)
        late = LATEST * mean / worth
        if any(
            now >= max(self.soonest(status, wait) + late, wait.seen + self._patience(status, wait))
            for wait in waits
        ):
            return True
        return READS * worth * sum(self._over(status, wait, now) for wait in waits) >= requests

    def look_pays(self, status: Status, wait: Wait, now: float) -> bool:
        """Whether somebody who waits for the end of `status` should look for himself."""
        late = now - self.soonest(status, wait)
        if late < 0 or not self._knows(status):
            return late >= 0
        mean = self._shares[status].mean * wait.usual
        if late >= max(LATEST * mean, STRAGGLING * (now - wait.since)):
            return True
        return self._over(status, wait, now) >= LIKELY

    def _patience(self, status: Status, wait: Wait) -> float:
        """How long news of a wait can wait that is overdue: the longer, the longer it is stuck."""
        mean = self._shares[status].mean if self._knows(status) else 1.0
        overdue = wait.seen - wait.since - mean * wait.usual
        return min(LONGEST, STRAGGLING * max(0.0, overdue))

    def _knows(self, status: Status) -> bool:
        return len(self._shares[status].latest) >= PROVEN

    def _over(self, status: Status, wait: Wait, now: float) -> float:
        """How likely a wait is over by now that was not over when it was last seen."""
        shares = self._shares[status]
        before = shares.outlasts((wait.seen - wait.since) / wait.usual)
        return 1.0 - shares.outlasts((now - wait.since) / wait.usual) / before


def worth(waiting: int, under_way: int) -> float:
    """How much it matters to notice the end of a start, whose notebook is back already: its slot is free.

    Where most changes under way wait for calls, not for the cloud, slots are in plenty and calls are not.
    """
    return max(SPARED, min(1.0, waiting / under_way) ** 2) if under_way else 1.0


def pages(number: int) -> int:
    """The requests that a list of so many takes at least."""
    return ceil(number / PAGE)
