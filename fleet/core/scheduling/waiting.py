"""When it pays to look at those who wait for a stop or a start: arithmetic on learned times, in seconds.

One list poll answers everyone who waits for the same, so the more wait, the more often it pays. And nobody
need be looked at before the time in which hardly anybody was ready so far.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Mapping
from math import ceil

from fleet.core.notebook import Status

READS = 1.0  # requests that polls may cost a wait, on average
LATEST = 0.15  # of a wait's mean time: how late its end may be noticed, whatever that costs
EARLY = 0.8  # of the time in which one in ten was ready: the first look
PROVEN = 5  # waits after which the times are believed
KEPT = 100  # waits of each kind that are remembered
PAGE = 50  # rows that one request lists (List API: 10, 20 or 50)


class Waits:
    """How long waits took, by the status that was waited out, and what follows for polling.

    `least` is the shortest pause between two polls.
    """

    def __init__(self, least: float) -> None:
        self._least = least
        self._took: defaultdict[Status, deque[float]] = defaultdict(lambda: deque(maxlen=KEPT))

    def took(self, status: Status, seconds: float) -> None:
        """Takes in that a wait for the end of `status` is over."""
        self._took[status].append(seconds)

    def mean(self, status: Status) -> float:
        """How long such a wait takes; 0 as long as none was seen to end, so that it is not overslept."""
        took = self._took[status]
        return sum(took) / len(took) if took else 0.0

    def soonest(self, status: Status) -> float:
        """How long after its begin such a wait is worth a first look."""
        took = self._took[status]
        quick = sorted(took)[len(took) // 10] if len(took) >= PROVEN else 0.0
        return max(EARLY * quick, self._least)

    def pause(self, waiting: Mapping[Status, int], requests: float) -> float:
        """The pause between two polls of so many requests.

        So many, at least one in all, wait for the end of each status.
        """
        count = sum(waiting.values())
        mean = sum(self.mean(status) * number for status, number in waiting.items()) / count
        return max(min(mean * requests / (count * READS), LATEST * mean), self._least)


def lists(waiting: Mapping[Status, int]) -> int:
    """The requests that one list poll takes at least: pages of those who are in each status."""
    return sum(ceil(number / PAGE) for number in waiting.values())
