"""When the waves of a plan would go if it were applied at once: in which windows, and when all is over.

As rough as the estimate that it is made from: what a window's end leaves undone goes on in the next one, and
how long notebooks have to be waited for nobody can tell.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fleet.core.planning.estimate import wave_seconds
from fleet.core.planning.plan import Plan
from fleet.core.scheduling.calendar import Calendar, Span
from fleet.core.scheduling.readiness import stops, wants_notice


class Due(NamedTuple):
    """One wave: seconds of pause before it, of notice before its first stop, and of work."""

    wave: int
    pause: float
    lead: float
    seconds: float


class Visit(NamedTuple):
    """A wave in an open time: whether it begins and whether it ends there."""

    wave: int
    begins: bool
    ends: bool

    def __str__(self) -> str:
        """For people: 3 (begins)."""
        part = {(True, True): "", (True, False): " (begins)", (False, True): " (ends)"}
        return f"{self.wave}{part.get((self.begins, self.ends), ' (goes on)')}"


@dataclass(frozen=True, slots=True)
class Forecast:
    """Wall seconds: the first change, the first stop that owners are told of, the end; None for never.

    `visits` has the waves of every open time in which there is something to do.
    """

    begins: float | None
    first_stop: float | None
    over: float | None
    visits: Sequence[tuple[Span, Sequence[Visit]]] = ()


def forecast(plan: Plan, *, slow: bool = False) -> Forecast:
    """The course of a plan from its making on; on a `slow` day stops and starts take longer."""
    calendar, now = plan.rollout.calendar, plan.created_at
    dues = list(_dues(plan, slow))
    visits: dict[Span, list[Visit]] = {}
    at: float | None = now
    for due in dues:
        if at is None:
            break
        at = _pass(calendar, at + due.pause + due.lead, due, visits)
    told = next((due.lead for due in dues if due.lead), None)
    first_stop = None if told is None else calendar.next_opening(now + told)
    return Forecast(calendar.next_opening(now), first_stop, at, tuple(visits.items()))


def _pass(calendar: Calendar, ready: float, due: Due, visits: dict[Span, list[Visit]]) -> float | None:
    """Notes in which open times the wave goes from `ready` on, and returns when it is over."""
    left = due.seconds
    for span in calendar.spans(ready):
        begins = max(ready, span.begins)
        room = span.ends - begins
        visits.setdefault(span, []).append(Visit(due.wave, left == due.seconds, left <= room))
        if left <= room:
            return begins + left
        left -= room
    return None


def _dues(plan: Plan, slow: bool) -> Iterator[Due]:
    seconds = wave_seconds(plan.changes, plan.scopes, plan.rollout, plan.estimate.times, slow=slow)
    told = {change.wave for change in plan.changes if stops(change)} if wants_notice(plan.rollout) else ()
    notice = plan.rollout.notice
    for at, wave in enumerate(sorted(seconds)):
        lead = notice.lead if notice is not None and wave in told else 0.0
        yield Due(wave, plan.pause_before(wave) if at else 0.0, lead, seconds[wave])
