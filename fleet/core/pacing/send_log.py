"""When requests left: the latest of them for deciding, and the largest count in any window for the proof.

The two know nothing of each other on purpose: `SendLog` helps to decide whether one more may leave, `Peak`
counts anew what did leave, so that a mistake in the one shows in the other.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable


class SendLog:
    """The latest `size` instants, oldest first. Monotonic seconds."""

    __slots__ = ("_ring", "size", "total")

    def __init__(self) -> None:
        self._ring: list[float] = []
        self.size = 0
        self.total = 0

    def add(self, now: float) -> None:
        """Records a send; the oldest one is forgotten."""
        self._ring[self.total % self.size] = now
        self.total += 1

    def last(self, count: int) -> float:
        """When the `count`-th last request left; minus infinity when there were fewer."""
        if self.total < count:
            return -math.inf
        return self._ring[(self.total - count) % self.size]

    def since(self, instant: float) -> list[float]:
        """The sends after `instant` that are not forgotten."""
        known = (self.last(count) for count in range(min(self.total, self.size), 0, -1))
        return [at for at in known if at > instant]

    def grow(self, size: int) -> None:
        """Holds at least `size` sends from now on. Those forgotten count as sent with the oldest known."""
        if size <= self.size:
            return
        ring = [-math.inf] * size
        for count in range(1, min(self.total, size) + 1):
            ring[(self.total - count) % size] = self.last(min(count, self.size))
        self._ring, self.size = ring, size


class Peak:
    """The largest number of sends in any half-open window of so many seconds, counted as they leave."""

    __slots__ = ("_inside", "most", "window")

    def __init__(self, window: float) -> None:
        self.window = window
        self.most = 0
        self._inside: deque[float] = deque()

    def begin(self, before: Iterable[float]) -> None:
        """Goes on counting after the instants `before`, which count once another one shares a window."""
        self._inside = deque(before)

    def add(self, now: float) -> None:
        """Counts a send; instants never run backwards."""
        inside = self._inside
        inside.append(now)
        while now - inside[0] >= self.window:
            inside.popleft()
        if len(inside) > self.most:
            self.most = len(inside)


def largest_count(instants: Iterable[float], window: float) -> int:
    """The largest count of the sorted `instants` in any half-open window."""
    peak = Peak(window)
    for instant in instants:
        peak.add(instant)
    return peak.most
