"""When the waves of a plan would go if it were applied at once: in which windows, and when all is over.

As rough as the estimate that it is made from: what a window's end leaves undone goes on in the next one. How
long people keep their notebooks nobody can tell, but what is told is the soonest and the latest.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from fleet.core.planning.estimate import wave_seconds
from fleet.core.planning.plan import Plan
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Span
from fleet.core.scheduling.notices import earliest
from fleet.core.scheduling.readiness import is_careful, stops, wants_notice
from fleet.core.scheduling.timing import Moment


class Due(NamedTuple):
    """One wave: seconds of pause before it, of waiting for persons, and of work.

    `announced` says that it stops notebooks, and not before a time that can be told.
    """

    wave: int
    pause: float
    wait: float
    seconds: float
    announced: bool


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
    """Wall seconds: the first change, the soonest stop by us if some time must pass before, the end; None
    for never.

    `visits` has the waves of every open time in which there is something to do.
    """

    begins: float | None
    first_stop: float | None
    over: float | None
    visits: Sequence[tuple[Span, Sequence[Visit]]] = ()


def forecast(plan: Plan, *, slow: bool = False) -> Forecast:
    """The course of a plan from its making on, if all let go of their notebooks at once.

    On a `slow` day stops and starts take longer, and who may keep his notebook for a while does so.
    """
    calendar, now = plan.rollout.calendar, plan.created_at
    visits: dict[Span, list[Visit]] = {}
    at: float | None = now
    first_stop: float | None = None
    for due in _dues(plan, slow):
        if at is None:
            break
        at += due.pause
        if due.announced and first_stop is None:
            first_stop = earliest(plan.rollout, at, at)
        at = _pass(calendar, at + due.wait, due, visits)
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
    rollout = plan.rollout
    by_themselves = rollout.when is Moment.NEXT_STOP and (rollout.stops_nobody or not slow)
    seconds = wave_seconds(
        plan.changes, plan.scopes, rollout, plan.estimate.times, slow=slow, spared=by_themselves
    )
    disturbed = {change.wave for change in plan.changes if stops(change)} if is_careful(rollout) else set()
    wait = _wait(rollout, slow)
    told = wants_notice(rollout) or (rollout.when is Moment.NEXT_STOP and not rollout.stops_nobody)
    for at, wave in enumerate(sorted(seconds)):
        waits = wave in disturbed
        yield Due(
            wave,
            plan.pause_before(wave) if at else 0.0,
            wait if waits else 0.0,
            seconds[wave],
            waits and told,
        )


def _wait(rollout: Rollout, slow: bool) -> float:
    """Seconds in which a wave that disturbs people waits for them; notice and patience pass together."""
    lead = rollout.notice.lead if rollout.notice is not None and wants_notice(rollout) else 0.0
    if slow and rollout.when is not Moment.NOW:
        return max(lead, rollout.patience)
    return 0.0 if rollout.when is Moment.NEXT_STOP else lead
