"""How fast is allowed when nobody said so: start low, ask for more while there is demand, one careful step
at a time.

Two mechanisms. The rate of the slots grows while somebody waits for them, and is halved by a refusal that
names no limit. And nothing that goes beyond what the gateway has accepted so far, in any of the usual
windows, leaves while another such request is unanswered: so whatever the limit is, and however fast the rate
grew, one request finds it out and is refused, and no second one (a few may be, where the way to the server
takes now longer, now shorter).
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable

START = 1.0  # requests/s before anything is known
FASTEST = 1000.0  # requests/s; more is never asked for
DOUBLES_IN = 30.0  # s of demand, as long as nothing was refused without a limit
GROWS_BACK = 300.0  # s of demand from a half to the rate that was refused without a limit
WINDOWS = (1.0, 5.0, 10.0, 60.0)  # s; gateways have been seen to count in these

_GROWTH = math.log(2) / DOUBLES_IN  # added to the rate by each slot that was waited for: exponential in time


class Probing:
    """The rate that is tried at present (requests/s), and what the gateway has accepted so far."""

    __slots__ = ("_earlier", "_probe", "_records", "_slope", "_unanswered", "rate")

    def __init__(self, rate: float = START) -> None:
        self.rate = rate
        self._slope = 0.0  # requests/s gained in a second; 0 before the first refusal without a limit
        self._records = tuple(_Record(window) for window in WINDOWS)
        self._unanswered = 0
        self._probe: float | None = None  # when the unanswered request left that goes beyond the records
        self._earlier = 0  # how many requests that left before it are unanswered

    @property
    def interval(self) -> float:
        """Seconds between two slots."""
        return 1.0 / self.rate

    def wanted(self) -> None:
        """Somebody waited for a slot: there is demand for more."""
        gain = self._slope / self.rate if self._slope else _GROWTH
        most = 2.0 * max(self._records[0].accepted, START)  # plans must not run away from facts
        self.rate = max(self.rate, min(self.rate + gain, FASTEST, most))

    def cap(self, rate: float) -> None:
        """A limit was told: no use in trying more than `rate`."""
        self.rate = min(self.rate, rate)

    def halve(self, slowest: float) -> None:
        """A refusal told no limit: back off, never below `slowest`, and come back slowly."""
        half = max(min(slowest, self.rate), self.rate / 2)
        self._slope = half / GROWS_BACK
        self.rate = half

    def blocked(self, now: float) -> bool:
        """Whether a request at `now` must wait for the answer to the one that tries more than before."""
        return self._probe is not None and any(record.beaten(now) for record in self._records)

    def sent(self, now: float) -> None:
        """Records that a request left."""
        beyond = False
        for record in self._records:
            inside = record.inside
            inside.append(now)
            while now - inside[0] >= record.window:
                inside.popleft()
            if len(inside) > record.accepted:
                beyond = True
        if beyond and self._probe is None:
            self._probe, self._earlier = now, self._unanswered
            for record in self._records:
                record.tried = len(record.inside)
        self._unanswered += 1

    def answered(self, sent_at: float, *, accepted: bool) -> bool:
        """Takes in what became of the request that left at `sent_at`.

        True when others may have waited for it.
        """
        self._unanswered -= 1
        if self._probe is None or sent_at > self._probe:
            return False
        if sent_at < self._probe:
            self._earlier -= 1
            return False
        self._probe = None
        if accepted:
            # What left earlier and is unanswered may not have arrived when the gateway counted.
            for record in self._records:
                record.accepted = max(record.accepted, record.tried - self._earlier)
        return True


class _Record:
    """The largest number of requests in a window that the gateway is known to have accepted."""

    __slots__ = ("accepted", "inside", "tried", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self.inside: deque[float] = deque()
        self.accepted = 0
        self.tried = 0  # the count with the probe in it

    def beaten(self, now: float) -> bool:
        """Whether one more send at `now` goes beyond what was accepted."""
        inside = self.inside
        while inside and now - inside[0] >= self.window:
            inside.popleft()
        return len(inside) >= self.accepted


def known_rate(rates: Iterable[float]) -> float:
    """Where to start when limits are known (requests/s each) and no rate is set."""
    return min(rates, default=START)
