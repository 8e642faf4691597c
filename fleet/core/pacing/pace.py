"""How fast requests may leave under one throttle key, in arithmetic only.

Two mechanisms, because slots alone do not keep a promise. Slots are spaced evenly, a little wider than the
strictest limit asks. But a request can leave later than its slot and so come close to its successor, and a
limit can be learned when much has left already; therefore the instants at which requests really left are
kept, and `clear_at` says from them when one more breaks no window. Where no rate is set, `probing` finds it.

`now` is monotonic time in seconds everywhere and never runs backwards.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable

from fleet.core.errors import UsageError
from fleet.core.pacing.limits import CONFIGURED, PROBED, UNITS, Limit, Rate, Shut
from fleet.core.pacing.probing import Probing, known_rate
from fleet.core.pacing.send_log import SendLog

HEADROOM = 0.015  # slots are this much wider than a limit asks; half of it is the margin for jitter
MOST_HEADROOM = 0.12  # for a limit that refuses us although we keep it, the headroom is doubled up to this
NEARLY = 0.85  # of a limit in one window, from which on a refusal is our own doing
CATCH_UP = 0.01  # s; a slot missed by less is not lost, timers are not exact
SLOWER = 0.7  # the rate after a refusal that we cannot explain, as a share of the configured rate before
EMPTIES = 5.0  # s without a request after such a refusal while probing: or the full window would refuse again
SLOWEST = 0.5  # requests/s; refusals alone never make us slower than this
GROWS_BACK = 600.0  # s from standstill to the full rate
LONGEST_HOLD = 600.0  # s; a longer Retry-After is the caller's to give up on, not the key's to wait for

LARGEST = 100_000  # a limit above this many requests never binds us and is not worth its memory

_MEMORY = 60.0  # s; as long as limits may yet be learned, what left in the last so many seconds is remembered
_SMALLEST = 64  # sends that are remembered then at least

_RATE = re.compile(r"([0-9]{1,6})/([0-9]{0,6})(s|min|h)")

_WORDS = {"second": 1.0, "minute": 60.0, "hour": 3600.0, "day": 86400.0}
_LIMIT = re.compile(
    r"policy\s+(\w{1,32})\s+over\s+rate\s*limit\s*,\s*limit:\s*([0-9]{1,6})\s*,"
    r"\s*time:\s*([0-9]{1,6})\s*(second|minute|hour|day)",
    re.IGNORECASE,
)


def parse_rate(text: str) -> Rate:
    """The rate that "60/min", "10/s", "300/10s" or "5000/h" means. Raises UsageError for anything else."""
    match = _RATE.fullmatch(text.strip())
    count, number, unit = match.groups() if match else ("0", "0", "s")
    window = int(number or 1) * UNITS[unit]
    if not 0 < int(count) <= LARGEST or window == 0:
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
    if not 0 < int(count) <= LARGEST or window == 0:
        return None
    return Limit(policy.lower(), int(count), window)


class Pace:
    """When requests under one throttle key may leave.

    The promise: no send recorded by `sent` at or after `clear_at` is one too many in any window of any limit
    known at that time, refused requests included. `rate` is a hard ceiling; None finds out what is allowed,
    beginning with the limits `known` from an earlier time.
    """

    def __init__(self, rate: Rate | None, known: Iterable[Limit] = ()) -> None:
        self._limits = {(limit.policy, limit.window): limit for limit in known}
        self._headroom: dict[tuple[str, float], float] = {}  # where it is not the usual
        self._probing: Probing | None = None
        if rate is None:
            self._probing = Probing(known_rate(one.count / one.window for one in self._limits.values()))
        else:
            self._configure(rate)
        self._next = -math.inf  # the next free slot
        self._held = -math.inf
        self._share = 1.0  # of the full rate, at _slowed_at
        self._slowed_at = -math.inf
        self._widened_at = -math.inf  # when a limit became known or its headroom was widened
        self._log = SendLog()
        self._clear = -math.inf  # when one more send breaks no window
        self._spacing = 0.0
        self._windows: list[tuple[int, float]] = []
        self._measure()

    @property
    def limits(self) -> tuple[Limit, ...]:
        """Every limit that is kept: the configured one, and those learned."""
        return tuple(self._limits.values())

    @property
    def probed(self) -> Limit | None:
        """What is tried at present, when neither a rate nor a limit is known."""
        if self._probing is None or self._limits:
            return None
        return Limit(PROBED, max(1, round(self._probing.rate * 60.0)), 60.0)

    def interval(self, now: float) -> float:
        """Seconds between two slots at present."""
        if self._probing is not None:
            return max(self._spacing, self._probing.interval)
        if self._share == 1.0:
            return self._spacing
        return self._spacing / self._share_at(now)

    def reserve(self, now: float) -> float:
        """Takes the next free slot: the instant at which the request should leave, `now` or later."""
        slot, held, probing = now - CATCH_UP, self._held, self._probing
        if self._next > slot:
            slot = self._next
        if held > slot:
            slot = held
        if probing is None and self._share == 1.0:
            self._next = slot + self._spacing
        else:
            if probing is not None and slot == self._next and probing.interval >= self._spacing:
                probing.wanted()
            self._next = slot + self.interval(now)
        return slot if slot > now else now

    def take(self, now: float) -> bool:
        """Takes the next slot if it is due and one more send breaks no window; else takes nothing."""
        if self._next > now or not self.is_clear(now):
            return False
        self.reserve(now)
        return True

    def is_clear(self, now: float) -> bool:
        """Whether one more send at `now` breaks no window of any known limit."""
        return self._clear <= now and (self._probing is None or not self._probing.blocked(now))

    def clear_at(self, now: float) -> float:
        """The earliest instant at which one more send breaks no window of any known limit.

        Infinity while only an answer can tell.
        """
        if self._probing is not None and self._probing.blocked(now):
            return math.inf
        return self._clear if self._clear > now else now

    def shut(self, now: float) -> Shut | None:
        """For how long nothing may leave and why; None when something may, or only an answer can tell."""
        seconds = self.clear_at(now) - now
        if not 0.0 < seconds < math.inf:
            return None
        if self._clear == self._held:
            return Shut(seconds, None)
        clear = [self._log.last(count) + window for count, window in self._windows]
        return Shut(seconds, tuple(self._limits.values())[clear.index(max(clear))])

    def sent(self, now: float) -> None:
        """Records that a request left at `now`."""
        log = self._log
        if self._probing is not None:
            self._probing.sent(now)
            if log.total >= log.size and log.last(log.size) > now - _MEMORY:
                log.grow(min(2 * log.size, LARGEST))
        log.add(now)
        self._look_ahead()

    def since(self, instant: float) -> list[float]:
        """The latest sends after `instant`, as far as they are remembered."""
        return self._log.since(instant)

    def answered(self, sent_at: float, *, accepted: bool) -> bool:
        """Takes in that the request which left at `sent_at` is over; `accepted` when it was not throttled.

        True when others may have waited for that.
        """
        return self._probing is not None and self._probing.answered(sent_at, accepted=accepted)

    def learn(self, limit: Limit, now: float) -> bool:
        """Keeps `limit` from now on, in place of what was known of its policy and window.

        True when that is news.
        """
        key = limit.policy, limit.window
        if self._limits.get(key) == limit:
            return False
        self._limits[key] = limit
        self._widened_at = now
        self._measure()
        if self._probing is not None:
            self._probing.cap(limit.count / limit.window)
        self._next = max(self._next, self._clear, now, self._log.last(1) + self.interval(now))
        return True

    def set_rate(self, rate: Rate, now: float) -> bool:
        """Puts `rate` in the place of the configured one. What the cloud taught still holds.

        False when nothing changes. Slots that were given out before are not counted in the new spacing;
        `clear_at` keeps them within every window.
        """
        if self._limits.get((CONFIGURED, rate.window)) == Limit(CONFIGURED, rate.count, rate.window):
            return False
        self._limits = {key: limit for key, limit in self._limits.items() if limit.policy != CONFIGURED}
        self._configure(rate)
        self._probing = None
        self._measure()
        self._next = max(self._clear, now, self._log.last(1) + self.interval(now))
        return True

    def hold(self, until: float) -> None:
        """Nothing leaves before `until`, slots that were given out already included."""
        self._held = max(self._held, until)
        self._clear = max(self._clear, until)

    def slow(self, sent_at: float, now: float) -> bool:
        """Slows down after a refusal of a request sent at `sent_at`; the rate grows back by itself.

        False when that request had left before we slowed down the last time: it says nothing new.
        """
        if sent_at < self._slowed_at:
            return False
        if self._probing is not None:
            self._probing.cap(1.0 / self.interval(now))
            self._probing.halve(SLOWEST)
            self.hold(now + EMPTIES)
        else:
            slowest = min(1.0, SLOWEST * self._spacing)
            self._share = max(slowest, self._share_at(now) * SLOWER)
        self._slowed_at = now
        self._next = max(self._next, now + self.interval(now))
        return True

    def refused(self, limit: Limit | None, retry_after: float | None, *, sent_at: float, now: float) -> str:
        """Takes in a 429; says for a person what changed, "" for nothing.

        A named limit that our own requests fill is simply kept, with more headroom when we kept it already.
        When they do not fill it, or none is named, somebody else spends from the same quota and we slow down.
        """
        news = []
        filled = limit is not None and self._filled(limit, sent_at)
        if limit is not None and self.learn(limit, now):
            news.append(f"keeping to {limit}")
        elif limit is not None and filled and self._widen(limit, sent_at, now):
            news.append(f"keeping further below {limit}")
        if not filled and self.slow(sent_at, now):
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
        """Whether our own requests come so near to the limit that nobody else need have spent from it."""
        return self._log.last(math.ceil(limit.count * NEARLY)) > sent_at - limit.window

    def _widen(self, limit: Limit, sent_at: float, now: float) -> bool:
        """Keeps further away from a limit that we kept and that refused us all the same."""
        key = limit.policy, limit.window
        room = self._headroom.get(key, HEADROOM)
        if sent_at <= self._widened_at or room >= MOST_HEADROOM:
            return False
        self._headroom[key] = min(2 * room, MOST_HEADROOM)
        self._widened_at = now
        self._measure()
        return True

    def _configure(self, rate: Rate) -> None:
        self._limits[CONFIGURED, rate.window] = Limit(CONFIGURED, rate.count, rate.window)

    def _measure(self) -> None:
        """Derives spacing, windows and the length of the log from the limits."""
        limits = [(one, self._headroom.get(key, HEADROOM)) for key, one in self._limits.items()]
        self._spacing = max((one.window / one.count * (1 + room) for one, room in limits), default=0.0)
        # Half the headroom is kept for what the way to the server adds; it must be less than the slots'
        # own, or requests that left late would hold up all their successors for ever.
        self._windows = [(one.count, one.window * (1 + room / 2)) for one, room in limits]
        self._log.grow(max((one.count for one, _ in limits), default=_SMALLEST))
        self._look_ahead()

    def _look_ahead(self) -> None:
        """Derives from what left when one more send breaks no window."""
        self._clear = self._held
        for count, window in self._windows:
            clear = self._log.last(count) + window
            if clear > self._clear:
                self._clear = clear
