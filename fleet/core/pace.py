"""How fast requests may leave under one throttle key, in arithmetic only.

Two mechanisms, because slots alone do not keep a promise. Slots are spaced evenly, a little wider than the
strictest limit asks. But a request can leave later than its slot and so come close to its successor, and a
limit can be learned when much has left already; therefore the instants at which requests really left are
kept, and `clear_at` says from them when one more breaks no window.

`now` is monotonic time in seconds everywhere and never runs backwards.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from fleet.core.errors import UsageError

HEADROOM = 0.05  # slots are this much wider than the limit asks
CATCH_UP = 0.01  # s; a slot missed by less is not lost, timers are not exact
SLOWER = 0.7  # the rate after a refusal that we cannot explain, as a share of the rate before
SLOWEST = 0.5  # requests/s; refusals alone never make us slower than this
GROWS_BACK = 600.0  # s from standstill to the full rate
LONGEST_HOLD = 600.0  # s; a longer Retry-After is the caller's to give up on, not the key's to wait for

CONFIGURED = "configured"  # the policy of the limit that we set ourselves

_LARGEST = 100_000  # a limit above this many requests never binds us and is not worth its memory

_UNITS = {"s": 1.0, "min": 60.0, "h": 3600.0}
_RATE = re.compile(r"([0-9]{1,6})/([0-9]{0,6})(s|min|h)")

_WORDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_LIMIT = re.compile(
    r"policy\s+(\w{1,32})\s+over\s+rate\s*limit\s*,\s*limit:\s*([0-9]{1,6})\s*,"
    r"\s*time:\s*([0-9]{1,6})\s*(second|minute|hour|day)",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit that a 429 told us: `count` requests in any `window` seconds, by `policy` (user, api ...)."""

    policy: str
    count: int
    window: float

    def __str__(self) -> str:
        rate = str(Rate(self.count, self.window))
        return rate if self.policy == CONFIGURED else f"{rate} by policy {self.policy}"


@dataclass(frozen=True, slots=True)
class Rate:
    """At most `count` requests in any `window` seconds."""

    count: int
    window: float

    def __str__(self) -> str:
        for unit, seconds in reversed(_UNITS.items()):
            number = self.window / seconds
            if number == int(number):
                return f"{self.count}/{'' if number == 1 else int(number)}{unit}"
        return f"{self.count}/{self.window}s"


def parse_rate(text: str) -> Rate:
    """The rate that "60/min", "10/s", "300/10s" or "5000/h" means. Raises UsageError for anything else."""
    match = _RATE.fullmatch(text.strip())
    count, number, unit = match.groups() if match else ("0", "0", "s")
    window = int(number or 1) * _UNITS[unit]
    if not 0 < int(count) <= _LARGEST or window == 0:
        raise UsageError(
            f"rate {text[:60]!r} is not a count and a window; write it as 60/min, 10/s, 300/10s or 5000/h"
        )
    return Rate(int(count), window)


def parse_limit(text: str) -> Limit | None:
    """The limit that the gateway's 429 text names, or None when it names none."""
    match = _LIMIT.search(text)
    if match is None:
        return None
    policy, count, number, word = match.groups()
    window = int(number) * _WORDS[word.lower()]
    if not 0 < int(count) <= _LARGEST or window == 0:
        return None
    return Limit(policy.lower(), int(count), window)


class Pace:
    """When requests under one throttle key may leave.

    The promise: no send recorded by `sent` at or after `clear_at` is one too many in any window of any limit
    known at that time, refused requests included.
    """

    def __init__(self, rate: Rate, headroom: float = HEADROOM) -> None:
        self._headroom = headroom
        self._limits: dict[tuple[str, float], Limit] = {}
        self._configure(rate)
        self._next = -math.inf  # the next free slot
        self._held = -math.inf
        self._share = 1.0  # of the full rate, at _slowed_at
        self._slowed_at = -math.inf
        self._sends: list[float] = []  # a ring: the send number n stands at n modulo its size
        self._total = 0
        self._spacing = 0.0
        self._windows: list[tuple[int, float]] = []
        self._measure()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit that is kept: the configured one, and those learned."""
        return tuple(self._limits.values())

    def interval(self, now: float) -> float:
        """Seconds between two slots at present."""
        if self._share == 1.0:
            return self._spacing
        return self._spacing / self._share_at(now)

    def reserve(self, now: float) -> float:
        """Takes the next free slot: the instant at which the request should leave, `now` or later."""
        slot = max(self._next, now - CATCH_UP, self._held)
        self._next = slot + self.interval(now)
        return max(slot, now)

    def clear_at(self, now: float) -> float:
        """The earliest instant at which one more send breaks no window of any known limit."""
        clear = max(now, self._held)
        for count, window in self._windows:
            clear = max(clear, self._last(count) + window)
        return clear

    def sent(self, now: float) -> None:
        """Records that a request left at `now`."""
        self._sends[self._total % len(self._sends)] = now
        self._total += 1

    def learn(self, limit: Limit, now: float) -> bool:
        """Keeps `limit` from now on, in place of what was known of its policy and window.

        True when that is news.
        """
        key = limit.policy, limit.window
        if self._limits.get(key) == limit:
            return False
        self._limits[key] = limit
        self._measure()
        self._next = max(self._next, self.clear_at(now), self._last(1) + self.interval(now))
        return True

    def set_rate(self, rate: Rate, now: float) -> bool:
        """Puts `rate` in the place of the configured one. What the cloud taught still holds.

        False when nothing changes. Slots that were given out before are not counted in the new spacing;
        `clear_at` keeps them within every window.
        """
        if (CONFIGURED, rate.window) in self._limits and self._limits[
            CONFIGURED, rate.window
        ].count == rate.count:
            return False
        self._limits = {key: limit for key, limit in self._limits.items() if limit.policy != CONFIGURED}
        self._configure(rate)
        self._measure()
        self._next = max(self.clear_at(now), self._last(1) + self.interval(now))
        return True

    def hold(self, until: float) -> None:
        """Nothing leaves before `until`, slots that were given out already included."""
        self._held = max(self._held, until)

    def slow(self, sent_at: float, now: float) -> bool:
        """Slows down after a refusal of a request sent at `sent_at`; the rate grows back by itself.

        False when that request had left before we slowed down the last time: it says nothing new.
        """
        if sent_at < self._slowed_at:
            return False
        slowest = min(1.0, SLOWEST * self._spacing)
        self._share = max(slowest, self._share_at(now) * SLOWER)
        self._slowed_at = now
        self._next = max(self._next, now + self.interval(now))
        return True

    def refused(self, limit: Limit | None, retry_after: float | None, *, sent_at: float, now: float) -> str:
        """Takes in a 429; says for a person what changed, "" for nothing.

        A named limit that our own requests fill is simply kept. When they do not fill it, or none is named,
        somebody else spends from the same quota and we slow down.
        """
        news = []
        if limit is not None and self.learn(limit, now):
            news.append(f"keeping to {limit}")
        if not (limit is not None and self._filled(limit, sent_at)) and self.slow(sent_at, now):
            news.append(f"slowed down to a request every {self.interval(now):.1f} s")
        if retry_after is not None and now + retry_after > self._held:
            wait = min(retry_after, LONGEST_HOLD)
            self.hold(now + wait)
            news.append(f"pausing for {wait:.0f} s")
        return "; ".join(news)

    def _share_at(self, now: float) -> float:
        share = min(1.0, self._share + (now - self._slowed_at) / GROWS_BACK) if self._share < 1.0 else 1.0
        if share == 1.0:
            self._share = 1.0
        return share

    def _filled(self, limit: Limit, sent_at: float) -> bool:
        return self._last(limit.count) > sent_at - limit.window

    def _last(self, count: int) -> float:
        """When the `count`-th last request left; minus infinity when there were fewer."""
        if self._total < count:
            return -math.inf
        return self._sends[(self._total - count) % len(self._sends)]

    def _configure(self, rate: Rate) -> None:
        self._limits[CONFIGURED, rate.window] = Limit(CONFIGURED, rate.count, rate.window)

    def _measure(self) -> None:
        """Derives spacing, windows and the size of the ring from the limits."""
        limits = self._limits.values()
        self._spacing = max(limit.window / limit.count for limit in limits) * (1 + self._headroom)
        # Half the headroom is kept for what the way to the server adds; it must be less than the slots'
        # own, or requests that left late would hold up all their successors for ever.
        slack = 1 + self._headroom / 2
        self._windows = [(limit.count, limit.window * slack) for limit in limits]
        size = max(limit.count for limit in limits)
        if size > len(self._sends):
            self._enlarge(size)

    def _enlarge(self, size: int) -> None:
        """Makes the ring hold `size` sends. Those forgotten count as sent with the oldest known."""
        kept = [self._last(count) for count in range(min(self._total, len(self._sends)), 0, -1)]
        missing = min(self._total, size) - len(kept)
        known = [kept[0]] * missing + kept if kept else []
        self._sends = known + [-math.inf] * (size - len(known))
        self._total = len(known)
