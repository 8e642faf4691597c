"""What a rollout costs: calls, and seconds. The plan tells it beforehand, the view of a run tells what is
left of it, and the report holds against it what the run took.

All use one arithmetic, so that the time left at the start is the plan's own estimate. It is a lower bound:
the largest of what the rates, the slots, each budget for absent notebooks and one change's own way ask for.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

from fleet.core.admission import budgets_of, group_limits
from fleet.core.notebook import Status
from fleet.core.pacing.limits import Rate
from fleet.core.pacing.pace import parse_rate
from fleet.core.planning.plan import (
    Absence,
    Change,
    Effort,
    Estimate,
    PlanScope,
    Stage,
    Took,
    heads,
    pause_before,
)
from fleet.core.rollout import Rollout
from fleet.core.scheduling.timing import Moment
from fleet.core.scheduling.waiting import READS
from fleet.core.scope import ASSUMED_RATE

# Seconds; no official figures exist.
ASSUMED_STOP = 60.0
ASSUMED_START = 120.0
ASSUMED_SAVE = 300.0
ASSUMED_CALL = 0.5
ASSUMED_SLOW = 2.0  # times as long as assumed: what 95 % should not exceed
ASSUMED = Took(ASSUMED_STOP, ASSUMED_START, ASSUMED_SLOW * ASSUMED_STOP, ASSUMED_SLOW * ASSUMED_START, of=0)

Times = Mapping[str, Took]  # by flavor; those that are missing are assumed
NOTHING_LEARNED: Times = {}

WAITS = 2  # of a restart: for the stop, and for the start
ENOUGH = 5  # so many of the longest changes, or as much in shorter ones, and the assumption is forgotten
OVERDUE = 0.1  # what a change that takes longer than expected still needs, as a share of its age


class Work(NamedTuple):
    """What one change asks for: seconds in its slot, and calls of its own."""

    seconds: float
    reads: int
    writes: int


class Rates(NamedTuple):
    """What holds in the place of the plan's rates: seconds between two calls of one class, by throttle key,
    and seconds in which nothing leaves at all, by throttle key and class such as "host as user, reads".
    """

    gaps: Mapping[str, float]
    shut: Mapping[str, float]


AS_PLANNED = Rates({}, {})


class Bound(NamedTuple):
    """A least number of seconds, and for people what asks for it, or for the largest part of it."""

    seconds: float
    by: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """What holds a rollout back. `slots` changes go at once, and `at_once` says so for people.

    `seats` are the budgets for absent notebooks, by group and name. `throttles` names for every scope its
    throttle key and the seconds between two calls of one class.
    """

    slots: int
    at_once: str
    seats: Mapping[tuple[str, str], int]
    throttles: Mapping[str, tuple[str, float]]

    @classmethod
    def of(
        cls,
        changes: Sequence[Change],
        scopes: Iterable[PlanScope],
        rollout: Rollout,
        unknown: Rate | None = ASSUMED_RATE,
    ) -> Bounds:
        """The bounds of a plan. Each change under way may fail, so the budget of failures counts as slots.
        Percentages are of notebooks.

        `unknown` is the rate of scopes without one; None leaves them without a bound.
        """
        notebooks = heads(changes)
        slots, at_once = rollout.concurrency, f"{rollout.concurrency} at once"
        if rollout.max_failures is not None and (most := rollout.max_failures.of(len(notebooks))) < slots:
            slots = max(1, most)
            at_once = f"{slots} at once, as each may fail"
        away = [change for change in notebooks if change.may_go_away]
        throttles = {}
        for scope in scopes:
            rate = parse_rate(scope.rate) if scope.rate else unknown
            if rate is not None:
                throttles[scope.name] = (scope.throttle, rate.window / rate.count)
        return cls(slots, at_once, group_limits(rollout.max_unavailable, away), throttles)

    def seats_of(self, change: Change) -> list[tuple[str, str]]:
        """The budgets for absent notebooks that a change counts in."""
        if not change.may_go_away:
            return []
        return [key for key in budgets_of(change) if key in self.seats]

    def dump(self) -> list[Any]:
        """The bounds as JSON."""
        return [self.slots, self.at_once, _listed(self.seats), dict(self.throttles)]

    @classmethod
    def loaded(cls, dumped: list[Any]) -> Bounds:
        """The bounds that `dump` wrote."""
        slots, at_once, seats, throttles = dumped
        return cls(
            slots, at_once, _keyed(seats), {name: (key, gap) for name, (key, gap) in throttles.items()}
        )


_Calls = Counter[tuple[str, float, str]]  # by throttle key, seconds between two of them, and class
UnderWay = Sequence[tuple[Change, Work]]


class Load:
    """What changes of one wave ask for, kept as sums: one more or less costs little."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._lengths: Counter[float] = Counter()
        self._seats: Counter[tuple[str, str]] = Counter()  # ms, so that sums stay exact
        self._calls: _Calls = Counter()

    def count(self, change: Change, by: int = 1, work: Work | None = None) -> None:
        """Adds a change with its `work`, by default the expected one, or takes one away (`by` = -1)."""
        work = expected(change) if work is None else work
        self._lengths[work.seconds] += by
        for key in self._bounds.seats_of(change):
            self._seats[key] += by * round(1000 * work.seconds)
        self._count_calls(self._calls, change, work, by)

    def _count_calls(self, calls: _Calls, change: Change, work: Work, by: int = 1) -> None:
        if change.scope in self._bounds.throttles:
            throttle = self._bounds.throttles[change.scope]
            calls[*throttle, "reads"] += by * work.reads
            calls[*throttle, "writes"] += by * work.writes

    def bound(self, pace: float = 1.0, under_way: UnderWay = (), rates: Rates = AS_PLANNED) -> Bound:
        """How long they take at least when each takes `pace` times as long as was counted.

        `under_way` are changes that hold a slot already, with what each still needs.
        """
        slots, longest = 0.0, 0.0
        for length, number in self._lengths.items():
            if number > 0:
                slots += pace * length * number
                longest = max(longest, pace * length)
        seats = {key: pace * total / 1000 for key, total in self._seats.items()}
        for change, needs in under_way:
            slots += needs.seconds
            longest = max(longest, needs.seconds)
            for key in self._bounds.seats_of(change):
                seats[key] = seats.get(key, 0.0) + needs.seconds
        bounds = [
            Bound(longest, "each wave's longest change"),
            Bound(slots / self._bounds.slots, self._bounds.at_once),
            *self._by_seats(seats),
            *self.by_rate(under_way, rates),
        ]
        return max(bounds, key=lambda bound: bound.seconds)

    def room_for(self, change: Change, work: Work, seconds: float) -> float:
        """How many more such changes go within so many seconds, infinity for any number of them."""
        slots = sum(length * number for length, number in self._lengths.items())
        room = [(seconds * self._bounds.slots - slots) / work.seconds]
        room += [
            (seconds * self._bounds.seats[key] - self._seats[key] / 1000) / work.seconds
            for key in self._bounds.seats_of(change)
        ]
        if change.scope in self._bounds.throttles:
            throttle, spacing = self._bounds.throttles[change.scope]
            room += [
                (seconds / spacing + 1 - self._calls[throttle, spacing, kind]) / calls
                for kind, calls in (("reads", work.reads), ("writes", work.writes))
                if calls
            ]
        return max(0.0, min(room))

    def dump(self) -> list[Any]:
        """The sums as JSON."""
        return [_listed(self._lengths), _listed(self._seats), _listed(self._calls)]

    @classmethod
    def loaded(cls, bounds: Bounds, dumped: list[Any]) -> Load:
        """The sums that `dump` wrote."""
        load = cls(bounds)
        lengths, seats, calls = map(_keyed, dumped)
        load._lengths.update(lengths)
        load._seats.update(seats)
        load._calls.update(calls)
        return load

    def _by_seats(self, seats: Mapping[tuple[str, str], float]) -> Iterator[Bound]:
        if not seats:
            return
        limits = self._bounds.seats
        key = max(seats, key=lambda one: seats[one] / limits[one])
        group, name = key
        whose = "" if group == "fleet" else f" of {group} {name}"
        yield Bound(seats[key] / limits[key], f"{limits[key]} away at once{whose}")

    def by_rate(self, under_way: UnderWay = (), rates: Rates = AS_PLANNED) -> Iterator[Bound]:
        """So many calls have one gap less between them, unless others left before the rate was set."""
        calls, asked = self._calls.copy(), _Calls()
        for change, needs in under_way:
            self._count_calls(calls, change, needs)
        for (key, spacing, kind), number in calls.items():
            asked[key, rates.gaps.get(key, spacing), kind] += number
        for (key, gap, kind), number in asked.items():
            if number > 0:
                seconds = (number if key in rates.gaps else number - 1) * gap
                name = f"{key}, {kind}"
                yield Bound(rates.shut.get(name, 0.0) + seconds, f"the rate of {name}")


def _listed(sums: Mapping[Any, int]) -> list[Any]:
    """JSON for a mapping by tuples, in its order."""
    return list(sums.items())


def _keyed(listed: list[Any]) -> dict[Any, int]:
    return {tuple(key) if isinstance(key, list) else key: value for key, value in listed}


def bound_of(
    changes: Iterable[Change],
    bounds: Bounds,
    pause_before: Callable[[int], float],
    work: Callable[[Change], Work],
) -> Bound:
    """The waves one after the other, and the soaks between them: `pause_before` each wave but the first."""
    waves = _by_wave(changes, bounds, work)
    parts: defaultdict[str, float] = defaultdict(float)
    for seconds, by in waves.values():
        parts[by] += seconds
    parts["the soaks between waves"] = sum(pause_before(wave) for wave in sorted(waves)[1:])
    return Bound(sum(parts.values()), max(parts, key=lambda by: parts[by]))


def _by_wave(changes: Iterable[Change], bounds: Bounds, work: Callable[[Change], Work]) -> dict[int, Bound]:
    loads: dict[int, Load] = {}
    for change in changes:
        loads.setdefault(change.wave, Load(bounds)).count(change, work=work(change))
    return {wave: load.bound() for wave, load in loads.items()}


def estimate(
    changes: Sequence[Change],
    scopes: Sequence[PlanScope],
    rollout: Rollout,
    stages: Sequence[Stage] = (),
    times: Times = NOTHING_LEARNED,
) -> Estimate:
    """Calls and seconds when every change takes its expected way.

    How long people keep their notebooks, and windows are closed, is for `forecast`. Where persons may stop
    them first, but need not, both ways are told.
    """
    bounds = Bounds.of(changes, scopes, rollout)
    pauses = partial(pause_before, rollout=rollout, stages=stages)

    def effort(*, spared: bool, slow: bool = False) -> Effort:
        work = partial(expected, times=times, slow=slow, spared=spared)
        return _effort(changes, work, bound_of(changes, bounds, pauses, work).seconds, spared=spared)

    most = effort(spared=rollout.stops_nobody)
    both = rollout.when is not Moment.NOW and not rollout.stops_nobody and any(map(_stops, changes))
    return Estimate(
        reads=most.reads,
        writes=most.writes,
        seconds=most.seconds,
        lists=most.lists,
        slow_seconds=effort(spared=rollout.stops_nobody, slow=True).seconds,
        times=times,
        away=() if rollout.stops_nobody else tuple(_absences(changes, times)),
        spared=effort(spared=True) if both else None,
    )


def _effort(
    changes: Iterable[Change], work: Callable[[Change], Work], seconds: float, *, spared: bool
) -> Effort:
    """Polls cost each wait READS requests on average, so long as there are enough who wait."""
    reads = writes = restarts = 0
    for change in changes:
        needs = work(change)
        reads += needs.reads
        writes += needs.writes
        restarts += _restarts(change, spared=spared)
    return Effort(
        reads=reads,
        writes=writes,
        lists=round(READS * WAITS * restarts),
        seconds=round(seconds, 1),
    )


def _absences(changes: Iterable[Change], times: Times) -> list[Absence]:
    """Whose running notebooks are stopped and started, those away longest first."""
    notebooks: defaultdict[str, set[tuple[str, str]]] = defaultdict(set)
    seconds: defaultdict[str, float] = defaultdict(float)
    for change in changes:
        if _stops(change):
            notebooks[change.owner].add((change.scope, change.id))
            seconds[change.owner] += expected(change, times).seconds
    away = [Absence(owner, len(notebooks[owner]), round(seconds[owner], 1)) for owner in notebooks]
    return sorted(away, key=lambda one: (-one.seconds, one.owner))


def _stops(change: Change) -> bool:
    return change.run_state is Status.RUNNING and change.needs_restart


def _restarts(change: Change, *, spared: bool) -> bool:
    """Whether we stop it and start it."""
    return change.needs_restart and not (spared and change.run_state is Status.RUNNING)


def expected(
    change: Change, times: Times = NOTHING_LEARNED, *, slow: bool = False, spared: bool = False
) -> Work:
    """What a change asks for when nothing holds it up, with stops and starts as learned or assumed.

    A `spared` notebook that runs is stopped by its person, never by us: it is changed then, and stays so.

    Its PUTs, with a stop and a start around them when it needs a restart, and perhaps a save before. The look
    before the first write and the one that proves the PUT; with a restart also the one that ends each wait;
    with a save that, too, and the question for the image.
    """
    away, restarts = 0.0, _restarts(change, spared=spared)
    save = bool(change.save) and restarts
    if restarts:
        stop = times.get(change.flavor, ASSUMED)
        start = times.get(change.after.get("flavor", change.flavor), ASSUMED)
        away = stop.slow_stop + start.slow_start if slow else stop.stop + start.start
    if save:
        away += ASSUMED_SAVE * (ASSUMED_SLOW if slow else 1.0)
    reads = 2 + (WAITS if restarts else 0) + (2 if save else 0)
    writes = len(change.phases) + (2 if restarts else 0) + (1 if save else 0)
    return Work(away + ASSUMED_CALL * (reads + writes), reads, writes)


def wait_of(change: Change, status: Status, times: Times = NOTHING_LEARNED) -> float:
    """Seconds that its notebook is expected to be in a transitional `status`."""
    if status is Status.STOPPING:
        return times.get(change.flavor, ASSUMED).stop
    if status is Status.SNAPSHOTTING:
        return ASSUMED_SAVE
    return times.get(change.after.get("flavor", change.flavor), ASSUMED).start


def length_of(change: Change, times: Times = NOTHING_LEARNED, *, spared: bool = False) -> float:
    """Seconds that one change is expected to take."""
    return expected(change, times, spared=spared).seconds


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
