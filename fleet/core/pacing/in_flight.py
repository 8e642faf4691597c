"""How many requests may be under way at once, apart from how many may leave in a second.

Additive increase, multiplicative decrease: every round of answers allows one more, and signs of an overloaded
server (no answer, a server error, answers that take much longer than usual) take a share away. Signs from
one round trip count once. Arithmetic only; all times are monotonic seconds.
"""

from __future__ import annotations

import math

AFTER_DROP = 0.7  # what is left of the limit
AFTER_DELAY = 0.9
SLOW = 2.0  # answers that take so many times as long as usual ...
TOLERATED = 0.05  # ... and so much longer (s) are slow

_LATELY = 0.1  # weight of a new answer in the latency of late
_CALMER = 0.1  # how fast the usual latency follows when answers get faster
_BUSIER = 0.002  # and when they get slower: slowly, or an overload would become the usual


class InFlight:
    """The limit, between 1 and `most`, where it starts."""

    __slots__ = ("_cut_at", "_lately", "_level", "_usual", "limit", "most")

    def __init__(self, most: int) -> None:
        self.most = most
        self.limit = most
        self._level = float(most)
        self._cut_at = -math.inf
        self._usual = self._lately = 0.0

    def answered(self, sent_at: float, now: float, under_way: int) -> None:
        """Takes in an answer to a request that left at `sent_at`; `under_way` are all, itself included."""
        latency = now - sent_at
        if self._usual == 0.0:
            self._usual = self._lately = latency
            return
        self._lately += (latency - self._lately) * _LATELY
        change = self._lately - self._usual
        self._usual += change * (_BUSIER if change > 0 else _CALMER)
        if self._lately > SLOW * self._usual + TOLERATED:
            self._cut(AFTER_DELAY, sent_at, now)
        elif self.limit < self.most and 2 * under_way > self.limit:
            self._set(self._level + 1.0 / self._level)

    def dropped(self, sent_at: float, now: float) -> None:
        """Takes in that a request which left at `sent_at` got no answer, or a server's error."""
        self._cut(AFTER_DROP, sent_at, now)

    def _cut(self, share: float, sent_at: float, now: float) -> None:
        if sent_at >= self._cut_at:
            self._cut_at = now
            self._set(self._level * share)

    def _set(self, level: float) -> None:
        self._level = min(max(level, 1.0), float(self.most))
        self.limit = int(self._level)
