"""When changes may begin: maintenance windows that deny by default, and blackouts that beat them.

A window opens by the wall clock of its zone and lasts in real seconds. An opening that a change of the clocks
skips happens at the first moment after the gap; one that it repeats happens once. Instants are wall seconds
(UTC). Neighbours: `rollout` carries a calendar, `schedule` says when a whole job begins.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import takewhile
from typing import NamedTuple
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

DAY = 86_400.0
HORIZON = 400 * DAY  # s; further ahead nobody looks
LONGEST = 31 * DAY  # s; a window that lasts longer is better told by blackouts
GRAIN = 60.0  # s; no window opens between two minutes


class Span(NamedTuple):
    """A time, from its first instant to the first one after it."""

    begins: float
    ends: float


def zone(name: str) -> ZoneInfo:
    """The time zone of that name. Raises ValueError when there is none."""
    try:
        return ZoneInfo(name)
    except (OSError, ValueError, LookupError):
        raise ValueError(f"there is no time zone {name[:60]!r}; write it like Europe/Berlin or UTC") from None


def occurrences(cron: str, zone_name: str, after: float) -> Iterator[float]:
    """The instants later than `after` that a cron expression names in its zone, in their order.

    Raises ValueError when the expression or the zone is none.
    """
    try:
        found = CronSim(cron, datetime.fromtimestamp(after, zone(zone_name)))
    except CronSimError as error:
        raise ValueError(f"{cron[:60]!r} is no cron expression: {str(error).lower()}") from None
    return (moment.timestamp() for moment in found)


def local_instant(text: str, zone_name: str) -> float:
    """The instant of a local date, or date and time, such as 2026-12-20T18:00. Raises ValueError.

    A time that a change of the clocks skips or repeats means the earlier of the two instants that it may be.
    """
    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text[:60]!r} is no local time such as 2026-12-20 or 2026-12-20T18:00") from None
    if moment.tzinfo is not None:
        raise ValueError(f"{text[:60]!r} has an offset; give the local time, and the zone beside it")
    near = (moment.replace(tzinfo=zone(zone_name), fold=fold) for fold in (0, 1))
    return min(one.timestamp() for one in near)


@dataclass(frozen=True, slots=True)
class Window:
    """A time that opens whenever the cron expression says, and lasts so many seconds.

    Raises ValueError for what can never open, or lasts no time or longer than a month.
    """

    opens: str
    lasts: float
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if not 0 < self.lasts <= LONGEST:
            raise ValueError("a window lasts longer than nothing and at most 31 days")
        if next(occurrences(self.opens, self.timezone, 0.0), None) is None:
            raise ValueError(f"{self.opens!r} never comes")

    def spans(self, now: float) -> Iterator[Span]:
        """The times that it is open, from the first that may last beyond `now`."""
        for begins in occurrences(self.opens, self.timezone, now - self.lasts - GRAIN):
            yield Span(begins, begins + self.lasts)


@dataclass(frozen=True, slots=True)
class Blackout:
    """A time in which nothing begins, from one local time to another. Raises ValueError if that is none."""

    begins: str
    ends: str
    timezone: str = "UTC"

    def __post_init__(self) -> None:
        if self.span.begins >= self.span.ends:
            raise ValueError(f"the blackout ends at {self.ends}, not after it begins at {self.begins}")

    @property
    def span(self) -> Span:
        """The time itself."""
        return Span(local_instant(self.begins, self.timezone), local_instant(self.ends, self.timezone))


@dataclass(frozen=True, slots=True)
class Calendar:
    """When changes may begin: in any of the windows, or always if there are none; never in a blackout."""

    windows: tuple[Window, ...] = ()
    blackouts: tuple[Blackout, ...] = ()

    def __bool__(self) -> bool:
        """Whether it ever holds anything back."""
        return bool(self.windows or self.blackouts)

    def open_until(self, now: float) -> float | None:
        """When the time that is open at `now` ends, infinity if never; None while it is closed."""
        if not self:
            return math.inf
        span = _next_span(self, now // GRAIN)
        while span is not None and span.ends <= now:
            span = _next_span(self, span.ends // GRAIN, span.ends)
        return span.ends if span is not None and span.begins <= now else None

    def fits(self, now: float, needs: float) -> bool:
        """Whether what begins at `now` and takes `needs` seconds is over before the time is."""
        until = self.open_until(now)
        return until is not None and now + needs <= until

    def next_opening(self, now: float, needs: float = 0.0) -> float | None:
        """The first instant from `now` on at which `needs` seconds fit; None if none comes within a year."""
        for span in self.spans(now):
            begins = max(now, span.begins)
            if begins + needs <= span.ends:
                return begins
        return None

    def spans(self, now: float) -> Iterator[Span]:
        """The open times that end after `now`, up to a good year ahead."""
        if not self:
            yield Span(-math.inf, math.inf)
            return
        wide = self._wide(now, now + HORIZON)
        for span in _without(wide, sorted(blackout.span for blackout in self.blackouts)):
            if span.ends > now:
                yield span

    def _wide(self, now: float, until: float) -> Iterator[Span]:
        """The open times as if there were no blackouts."""
        if not self.windows:
            yield Span(-math.inf, math.inf)
            return
        soon = (takewhile(lambda span: span.begins < until, window.spans(now)) for window in self.windows)
        yield from _joined(heapq.merge(*soon))


@lru_cache(maxsize=64)
def _next_span(calendar: Calendar, minute: float, beyond: float = -math.inf) -> Span | None:
    """The first open time that ends after that minute began, and after `beyond`: asked at every turn."""
    return next((span for span in calendar.spans(minute * GRAIN) if span.ends > beyond), None)


def _joined(spans: Iterator[Span]) -> Iterator[Span]:
    """The same times, those that touch as one. `spans` are in the order of their beginnings."""
    whole = next(spans, None)
    if whole is None:
        return
    for span in spans:
        if span.begins <= whole.ends:
            whole = Span(whole.begins, max(whole.ends, span.ends))
        else:
            yield whole
            whole = span
    yield whole


def _without(spans: Iterator[Span], cuts: list[Span]) -> Iterator[Span]:
    """What the cuts leave of the times."""
    for span in spans:
        begins = span.begins
        for cut in cuts:
            if cut.ends <= begins or cut.begins >= span.ends:
                continue
            if cut.begins > begins:
                yield Span(begins, cut.begins)
            begins = max(begins, cut.ends)
        if begins < span.ends:
            yield Span(begins, span.ends)


def told(instant: float, zone_name: str) -> str:
    """The instant for a person, by the clock of a zone: Fri 2026-03-27 22:00 CET."""
    return f"{datetime.fromtimestamp(instant, zone(zone_name)):%a %Y-%m-%d %H:%M %Z}"


def told_span(span: Span, zone_name: str) -> str:
    """The time for a person, with its end as a clock time if that is the same or the next day."""
    ends = datetime.fromtimestamp(span.ends, UTC)
    begins = datetime.fromtimestamp(max(span.begins, 0.0), UTC)
    if ends - begins > timedelta(days=1):
        return f"{told(span.begins, zone_name)} to {told(span.ends, zone_name)}"
    return f"{told(span.begins, zone_name)} to {ends.astimezone(zone(zone_name)):%H:%M}"
