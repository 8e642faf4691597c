"""When a job begins by itself, and what becomes of a time that nobody was there for.

Instants are wall seconds. Neighbour: `calendar`, which says when changes may begin once a run has.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum
from itertools import islice, takewhile

from fleet.core.scheduling.calendar import occurrences


class Missed(StrEnum):
    """What becomes of a run whose time has passed: nothing, or one run for all that were missed."""

    SKIP = "skip"
    RUN = "run"


@dataclass(frozen=True, slots=True)
class Due:
    """A time that has come. `run` says whether the job shall begin; `missed` counts the times before it."""

    at: float
    run: bool
    missed: int = 0


@dataclass(frozen=True, slots=True)
class Schedule:
    """The times that a cron expression names in its zone. A run that comes more than `grace` seconds late
    is missed.

    Raises ValueError for an expression that never comes, or an unknown zone.
    """

    at: str
    timezone: str = "UTC"
    missed: Missed = Missed.SKIP
    grace: float = 3600.0

    def __post_init__(self) -> None:
        if not self.next(0.0):
            raise ValueError(f"{self.at!r} never comes")

    def next(self, after: float, count: int = 1) -> tuple[float, ...]:
        """The next `count` times later than `after`."""
        return tuple(islice(occurrences(self.at, self.timezone, after), count))

    def due(self, since: float, now: float) -> Due | None:
        """What has come due after `since`, up to `now`; None when nothing has."""
        passed = takewhile(lambda moment: moment <= now, occurrences(self.at, self.timezone, since))
        last: deque[tuple[int, float]] = deque(enumerate(passed), maxlen=1)
        if not last:
            return None
        ((before, at),) = last
        return Due(at, self.missed is Missed.RUN or now - at <= self.grace, before)
