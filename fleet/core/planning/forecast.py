"""When the waves of a plan would go if it were applied at once: in which windows, and when all is over.

As rough as the estimate that it is made from. A change begins only where it will be back before the window
closes, as `scheduling.readiness` has it; what a window leaves undone goes on in the next one, unless the run
ends with its first. How long people keep their notebooks nobody can tell, but what is told is the soonest and
the latest.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import NamedTuple

from fleet.core.planning.estimate import Bounds, Load, Work, expected
from fleet.core.planning.plan import Change, Plan
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Span
from fleet.core.scheduling.notices import earliest
from fleet.core.scheduling.readiness import Pace, is_careful, stops, wants_notice
from fleet.core.scheduling.timing import Moment

TINY = 1e-9  # what arithmetic may lose


class Batch(NamedTuple):
    """Changes of one wave that are alike: one of them, and how many.

    Each begins only while a window is open for `needs` seconds yet, or `usual` ones if none is ever so long.
    """

    change: Change
    work: Work
    needs: float
    usual: float
    number: int


class Due(NamedTuple):
    """One wave: seconds of pause before it, of waiting for persons, and what is to be done.

    `announced` says that it stops notebooks, and not before a time that can be told.
    """

    wave: int
    pause: float
    wait: float
    batches: Sequence[Batch]
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


class Misfits(NamedTuple):
    """How many changes fit no window: the shortest and the longest of them, and the longest window (s)."""

    number: int
    shortest: float
    longest: float
    window: float


class Futile(Enum):
    """Why a plan would change nothing: for good, or if it were applied at once."""

    NO_WINDOW = auto()  # opens within a year
    NO_FIT = auto()  # no window is long enough for any of the changes
    NO_ROOM = auto()  # in the only window that the run would have


@dataclass(frozen=True, slots=True)
class Forecast:
    """Wall seconds: the first change, the soonest stop by us if some time must pass before, the end; None
    for never.

    `futile` says why nothing would be changed, None where something would. `visits` has the waves of every
    open time in which there is something to do. `misfits` never start, and `left` are the other changes for
    which no window of the run has room: without `carry_over` it has only the first one from now on.
    """

    begins: float | None
    first_stop: float | None
    over: float | None
    visits: Sequence[tuple[Span, Sequence[Visit]]] = ()
    misfits: Misfits | None = None
    left: int = 0
    futile: Futile | None = None


def forecast(plan: Plan, now: float, *, slow: bool = False) -> Forecast:
    """The course of a plan from `now` (wall s) on, if all let go of their notebooks at once.

    On a `slow` day stops and starts take longer, and who may keep his notebook for a while does so.
    """
    calendar = plan.rollout.calendar
    bounds = Bounds.of(plan.changes, plan.scopes, plan.rollout)
    waves = _waves(plan, bounds, slow)
    longest = _longest(calendar, now, max((one.needs for one in _all(waves)), default=0.0))
    if longest == 0:
        return Forecast(None, None, None, futile=Futile.NO_WINDOW)
    visits: dict[Span, list[Visit]] = {}
    ends = plan.closes(now)
    at: float | None = now
    begins: float | None = None
    first_stop: float | None = None
    left = 0
    for due in _dues(plan, waves, longest, slow):
        if at is None or left:
            left += _number(due.batches)
            continue
        at += due.pause
        if due.batches and begins is None:
            begins = calendar.next_opening(at, min(one.needs for one in due.batches))
        if due.announced and first_stop is None:
            needs = min(one.needs for one in due.batches if stops(one.change))
            stop = calendar.next_opening(earliest(plan.rollout, at, at), needs)
            first_stop = stop if stop is not None and stop < ends else None
        at, rest = _pass(calendar, bounds, at + due.wait, due, visits, ends)
        at = at if at is None else min(at, ends)  # whatever it waits for, the run ends with its window
        left += _number(rest)
    misfits, futile = _misfits(waves, longest), None
    if misfits is not None and misfits.number == len(plan.changes):
        futile = Futile.NO_FIT
    elif left and not visits:  # whatever would begin would do so in a window that the run does not see
        futile = Futile.NO_WINDOW if plan.rollout.carry_over else Futile.NO_ROOM
        begins = first_stop = None
    return Forecast(begins, first_stop, at, tuple(visits.items()), misfits, left, futile)


def is_pending(plan: Plan, now: float) -> bool:
    """Whether the plan has something to change, from `now` (wall s) on or another time."""
    if not plan.changes or not plan.rollout.calendar:
        return bool(plan.changes)
    return forecast(plan, now).futile in (None, Futile.NO_ROOM)


def _waves(plan: Plan, bounds: Bounds, slow: bool) -> dict[int, list[Batch]]:
    """What is to be done in each wave, in the order of the waves; those that need longest come first."""
    rollout, times = plan.rollout, plan.estimate.times
    spared = rollout.when is Moment.NEXT_STOP and (rollout.stops_nobody or not slow)
    numbers: Counter[tuple[object, ...]] = Counter()
    ones: dict[tuple[object, ...], tuple[Change, Work]] = {}
    for change in plan.changes:
        work = expected(change, times, slow=slow, spared=spared)
        flavors = (change.flavor, change.after.get("flavor")) if change.needs_restart else ()
        alike = (change.wave, change.scope, work, *flavors, *bounds.seats_of(change))
        numbers[alike] += 1
        ones.setdefault(alike, (change, work))
    pace, waves = Pace(times), defaultdict[int, list[Batch]](list)
    for alike, (change, work) in ones.items():
        needs, usual = pace.needs(change), pace.usual(change)
        if spared and stops(change):  # it stands still by then
            needs = usual = work.seconds
        waves[change.wave].append(Batch(change, work, needs, usual, numbers[alike]))
    return {wave: sorted(waves[wave], key=lambda one: -one.needs) for wave in sorted(waves)}


def _number(batches: Iterable[Batch]) -> int:
    return sum(one.number for one in batches)


def _all(waves: Mapping[int, Sequence[Batch]]) -> Iterator[Batch]:
    return (one for batches in waves.values() for one in batches)


@lru_cache(maxsize=8)
def _longest(calendar: Calendar, now: float, enough: float) -> float:
    """How long the longest window is from `now` on, or at least `enough`; 0 when none ever opens.

    To find that none is long enough takes a look at all of a year.
    """
    longest = 0.0
    for span in calendar.spans(now):
        longest = max(longest, span.ends - max(now, span.begins))
        if longest >= enough:
            break
    return longest


def _misfits(waves: Mapping[int, Sequence[Batch]], longest: float) -> Misfits | None:
    found = [one for one in _all(waves) if one.usual > longest]
    if not found:
        return None
    lengths = [one.usual for one in found]
    return Misfits(_number(found), min(lengths), max(lengths), longest)


def _fitting(batches: Iterable[Batch], longest: float) -> list[Batch]:
    """Those that fit a window, each with what it needs of one: some are slow, most are not."""
    return [
        one if one.needs <= longest else one._replace(needs=one.usual)
        for one in batches
        if one.usual <= longest
    ]


def _pass(
    calendar: Calendar,
    bounds: Bounds,
    ready: float,
    due: Due,
    visits: dict[Span, list[Visit]],
    ends: float,
) -> tuple[float | None, Sequence[Batch]]:
    """Notes in which open times, up to the one that `ends` so, the wave goes from `ready` on; returns when it
    is over, and what is left."""
    left, begun, over = due.batches, False, ready
    if not left:
        return ready, ()
    for span in calendar.spans(ready):
        if span.ends > ends:
            return over, left
        begins = max(ready, span.begins)
        load, rest = _fill(bounds, left, span.ends - begins)
        if load is None:
            continue
        visits.setdefault(span, []).append(Visit(due.wave, not begun, not rest))
        over = begins + load.bound().seconds
        if not rest:
            return over, ()
        left, begun = rest, True
    return None, left


def _fill(bounds: Bounds, batches: Sequence[Batch], room: float) -> tuple[Load | None, list[Batch]]:
    """What goes in an open time of `room` seconds, None for nothing, and what is left for later ones."""
    load, rest, any_taken = Load(bounds), list[Batch](), False
    for one in batches:
        number = 0
        if one.needs <= room:
            least = 0 if any_taken else 1
            most = load.room_for(one.change, one.work, _usable(one, room)) + TINY
            number = max(least, int(min(one.number, most)))
        if number:
            load.count(one.change, number, one.work)
            any_taken = True
        if number < one.number:
            rest.append(one._replace(number=one.number - number))
    return load if any_taken else None, rest


def _usable(one: Batch, room: float) -> float:
    """The seconds of `room` in which changes one after the other go, the last of them begun in time."""
    if math.isinf(room):
        return room
    turns = 1 + (room - one.needs + TINY) // one.work.seconds
    return turns * one.work.seconds


def _dues(plan: Plan, waves: Mapping[int, Sequence[Batch]], longest: float, slow: bool) -> Iterator[Due]:
    rollout = plan.rollout
    wait = _wait(rollout, slow)
    told = wants_notice(rollout) or (rollout.when is Moment.NEXT_STOP and not rollout.stops_nobody)
    for at, (wave, batches) in enumerate(waves.items()):
        fitting = _fitting(batches, longest)
        waits = is_careful(rollout) and any(stops(one.change) for one in fitting)
        yield Due(
            wave,
            plan.pause_before(wave) if at else 0.0,
            wait if waits else 0.0,
            fitting,
            waits and told,
        )


def _wait(rollout: Rollout, slow: bool) -> float:
    """Seconds in which a wave that disturbs people waits for them; notice and patience pass together."""
    lead = rollout.notice.lead if rollout.notice is not None and wants_notice(rollout) else 0.0
    if slow and rollout.when is not Moment.NOW:
        return max(lead, rollout.patience)
    return 0.0 if rollout.when is Moment.NEXT_STOP else lead
