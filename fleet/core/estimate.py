"""What a rollout will cost: calls, and seconds. The plan tells it, and the view of a run tells what is left.

Both use one arithmetic, so that the time left at the start is the plan's own estimate. It is a lower bound:
the largest of what the rates, the slots, each budget for absent notebooks and one change's own way ask for.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from fleet.core.pace import Rate, parse_rate
from fleet.core.plan import Change, Estimate, PlanScope
from fleet.core.rollout import Rollout, budgets_of, group_limits
from fleet.core.scope import ASSUMED_RATE

# Seconds; no official figures exist.
ASSUMED_STOP = 60.0
ASSUMED_START = 120.0
ASSUMED_CALL = 0.5

PAGE = 50  # rows of a list poll's page
ENOUGH = 5  # so many of the longest changes, or as much in shorter ones, and the assumption is forgotten
OVERDUE = 0.1  # what a change that takes longer than expected still needs, as a share of its age


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds a rollout back. `seats` are the budgets for absent notebooks, by group and name.

    `throttles` names for every scope its throttle key and the seconds between two calls of one class.
    """

    slots: int
    seats: Mapping[tuple[str, str], int]
    throttles: Mapping[str, tuple[str, float]]

    @classmethod
    def of(cls, changes: Sequence[Change], scopes: Iterable[PlanScope], rollout: Rollout) -> Bounds:
        """The bounds of a plan. Each change under way may fail, so the budget of failures counts as slots."""
        slots = rollout.concurrency
        if rollout.max_failures is not None:
            slots = min(slots, rollout.max_failures.of(len(changes)))
        away = [change for change in changes if change.may_go_away]
        throttles = {}
        for scope in scopes:
            rate = _rate(scope)
            throttles[scope.name] = (scope.throttle, rate.window / rate.count)
        return cls(max(1, slots), group_limits(rollout.max_unavailable, away), throttles)


class Load:
    """What changes that have not begun ask for, kept as sums: one more or less costs little."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lengths: Counter[float] = Counter()
        self._seats: Counter[tuple[str, str]] = Counter()  # ms, so that sums stay exact
        self._calls: Counter[tuple[str, float, str]] = Counter()

    def count(self, change: Change, by: int = 1) -> None:
        """Adds a change, or takes one away (`by` = -1)."""
        length = length_of(change)
        self._lengths[length] += by
        for key in self._seats_of(change):
            self._seats[key] += by * round(1000 * length)
        if change.scope in self._bounds.throttles:
            throttle = self._bounds.throttles[change.scope]
            self._calls[*throttle, "reads"] += by * reads_of(change)
            self._calls[*throttle, "writes"] += by * writes_of(change)

    def seconds(self, pace: float = 1.0, under_way: Sequence[tuple[Change, float]] = ()) -> float:
        """How long they take when each takes `pace` times the assumed time.

        `under_way` are changes that hold a slot already, with the seconds that each still needs.
        """
        slots, longest = 0.0, 0.0
        for length, number in self._lengths.items():
            if number > 0:
                slots += pace * length * number
                longest = max(longest, pace * length)
        seats = {key: pace * total / 1000 for key, total in self._seats.items()}
        for change, needs in under_way:
            slots += needs
            longest = max(longest, needs)
            for key in self._seats_of(change):
                seats[key] = seats.get(key, 0.0) + needs
        by_seats = max((total / self._bounds.seats[key] for key, total in seats.items()), default=0.0)
        by_rate = max((number * spacing for (_, spacing, _), number in self._calls.items()), default=0.0)
        return max(slots / self._bounds.slots, by_seats, by_rate, longest)

    def _seats_of(self, change: Change) -> list[tuple[str, str]]:
        if not change.may_go_away:
            return []
        return [key for key in budgets_of(change) if key in self._bounds.seats]


def length_of(change: Change) -> float:
    """Seconds that one change takes when nothing holds it up; stops and starts are assumed."""
    away = ASSUMED_STOP + ASSUMED_START if change.needs_restart else 0.0
    return away + ASSUMED_CALL * (writes_of(change) + 2)


def writes_of(change: Change) -> int:
    """Its PUTs, with a stop and a start around them when it needs a restart."""
    return len(change.phases) + (2 if change.needs_restart else 0)


def reads_of(change: Change) -> int:
    """The fence, the look that proves the PUT, and after a restart the look that proves the end."""
    return 3 if change.needs_restart else 2


def estimate(changes: Sequence[Change], scopes: Sequence[PlanScope], rollout: Rollout) -> Estimate:
    """Calls, and seconds: the waves one after the other, and the soaks between them.

    A scope with restarts is listed all the time, one round after the other with its pause between them.
    """
    loads: dict[int, Load] = {}
    bounds = Bounds.of(changes, scopes, rollout)
    for change in changes:
        loads.setdefault(change.wave, Load(bounds)).count(change)
    seconds = sum(load.seconds() for load in loads.values())
    waiting = {change.scope for change in changes if change.needs_restart}
    return Estimate(
        reads=sum(reads_of(change) for change in changes),
        writes=sum(writes_of(change) for change in changes),
        seconds=round(seconds + rollout.soak * max(0, len(loads) - 1), 1),
        lists=sum(_list_calls(scope, seconds) for scope in scopes if scope.name in waiting),
    )


def _rate(scope: PlanScope) -> Rate:
    return parse_rate(scope.rate) if scope.rate else ASSUMED_RATE


def _list_calls(scope: PlanScope, seconds: float) -> int:
    pages = max(1, math.ceil(scope.listed / PAGE))
    rate = _rate(scope)
    a_round = scope.poll + pages * max(ASSUMED_CALL, rate.window / rate.count)
    return pages * max(1, round(seconds / a_round))


def measured_pace(took: float, assumed: float, longest: float) -> float:
    """How much longer changes take than assumed, from those that ended: `took` s, `assumed` to take so many.

    1 as long as nothing was measured; little that was measured counts little. `longest` is the assumed time
    of the plan's longest change.
    """
    if assumed <= 0 or longest <= 0:
        return 1.0
    trust = min(1.0, assumed / (ENOUGH * longest))
    return 1.0 - trust + trust * took / assumed


def still_needs(expected: float, age: float) -> float:
    """Seconds to the end of a change that began `age` s ago; never nothing, as it has not ended."""
    return max(expected - age, OVERDUE * age, ASSUMED_CALL)
