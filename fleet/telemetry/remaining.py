"""How long a run still takes: at first what its plan assumed, later more and more what was measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from fleet.core.events import Answered, Began, Ended, Fate, Reopened, Saw, Steered, Step
from fleet.core.planning.by_item import Marks, changes_by_item
from fleet.core.planning.estimate import (
    AS_PLANNED,
    Bounds,
    Load,
    Rates,
    Work,
    expected,
    length_of,
    measured_pace,
    still_needs,
)
from fleet.core.planning.plan import Change, Plan

_COUNTED = frozenset({Step.STOP, Step.PUT, Step.START, Step.SAVE})  # the writes that are expected of a change


class Remaining:
    """What is left of the changes of one plan. An event about no change of the plan counts for nothing."""

    def __init__(self, plan: Plan) -> None:
        self._changes = changes_by_item(plan.changes)
        self._bounds = Bounds.of(plan.changes, plan.scopes, plan.rollout)
        self._loads = {wave: Load(self._bounds) for wave in sorted({change.wave for change in plan.changes})}
        spared, times = plan.rollout.stops_nobody, plan.estimate.times
        self._expected = partial(expected, times=times, spared=spared)
        self._length_of = partial(length_of, times=times, spared=spared)
        self._waiting = Marks()
        for change in plan.changes:
            self._wait(change)
        self._under_way: dict[int, float] = {}
        self._made: dict[int, tuple[int, int]] = {}  # reads and writes of those under way
        self._gaps: dict[str, float] = {}  # s between two calls where a rate was set, by throttle key
        self._shut: dict[str, float] = {}  # until which wall second nothing leaves, by throttle key and class
        self._broken_off: set[int] = set()
        self._longest = max((self._length_of(change) for change in plan.changes), default=0.0)
        self._took = 0.0
        self._assumed = 0.0

    def dump(self, items: Collection[int]) -> dict[str, Any]:
        """What was counted, as JSON; of single changes only what concerns `items`."""
        return {
            "bounds": self._bounds.dump(),
            "loads": [[wave, load.dump()] for wave, load in self._loads.items()],
            "waiting": [item for item in items if self._waiting[item]],
            "under_way": list(self._under_way.items()),
            "made": list(self._made.items()),
            "rates": [self._gaps, self._shut],
            "broken_off": list(self._broken_off),
            "measured": [self._longest, self._took, self._assumed],
        }

    def load(self, dumped: Mapping[str, Any], items: Collection[int]) -> None:
        """Goes on from what `dump` wrote about `items`; every other change of the plan still waits."""
        self._bounds = Bounds.loaded(dumped["bounds"])
        self._loads = {wave: Load.loaded(self._bounds, load) for wave, load in dumped["loads"]}
        for item in items:
            self._waiting[item] = 0
        for item in dumped["waiting"]:
            self._waiting[item] = 1
        self._under_way = dict(dumped["under_way"])
        self._made = {item: (reads, writes) for item, (reads, writes) in dumped.get("made", ())}
        self._gaps, self._shut = map(dict, dumped.get("rates", ({}, {})))
        self._broken_off = set(dumped["broken_off"])
        self._longest, self._took, self._assumed = dumped["measured"]

    def begin(self, event: Began | Reopened) -> None:
        """A change begins, or is taken up again; what it took before says nothing about the next one."""
        change = self._changes.get(event.item)
        if change is None:
            return
        if isinstance(event, Reopened):
            self._broken_off.add(event.item)
        self._stop_waiting(change)
        self._under_way[event.item] = event.at
        self._made.setdefault(event.item, (0, 0))

    def call(self, event: Saw | Answered) -> None:
        """A call of a change was made."""
        if event.item not in self._made:
            return
        reads, writes = self._made[event.item]
        if isinstance(event, Saw):
            self._made[event.item] = reads + 1, writes
        elif event.step in _COUNTED and event.fate is Fate.ACCEPTED:
            self._made[event.item] = reads, writes + 1

    def steer(self, event: Steered) -> None:
        """Other rates hold from now on."""
        for scope, rate in event.rates.items():
            if scope in self._bounds.throttles:
                key, _ = self._bounds.throttles[scope]
                self._gaps[key] = rate.window / rate.count
                self._shut = {name: at for name, at in self._shut.items() if not name.startswith(f"{key}, ")}
        self._shut |= event.shut

    def end(self, event: Ended) -> None:
        """A change ended, or was left out without having begun."""
        change = self._changes.get(event.item)
        if change is None:
            return
        self._stop_waiting(change)
        began = self._under_way.pop(event.item, None)
        self._made.pop(event.item, None)
        if began is not None and event.item not in self._broken_off:
            self._took += max(0.0, event.at - began)
            self._assumed += self._length_of(change)

    def go_on(self, at: float) -> None:
        """Another process takes the run up, at the configured rates; how long the first one was gone says
        nothing."""
        self._broken_off.update(self._under_way)
        self._under_way = dict.fromkeys(self._under_way, at)
        self._gaps, self._shut = {}, {}

    def wait_again(self, item: int) -> None:
        """A change that had ended without a start gets its turn after all."""
        if not self._waiting[item]:
            self._wait(self._changes[item])

    def seconds(self, now: float, *, halted: bool) -> float:
        """Seconds until the last change has ended; when `halted`, until the last one that is under way has.

        Waves go one after the other. The time between them is not counted.
        """
        pace = measured_pace(self._took, self._assumed, self._longest)
        needs = [
            (self._changes[item], self._still_needs(item, pace, max(0.0, now - began)))
            for item, began in self._under_way.items()
        ]
        rates = Rates(self._gaps, {key: max(0.0, until - now) for key, until in self._shut.items()})
        if halted:
            by_rate = Load(self._bounds).by_rate(needs, rates)
            bounds = [*(work.seconds for _, work in needs), *(bound.seconds for bound in by_rate)]
            return max(bounds, default=0.0)
        total = 0.0
        for wave, load in self._loads.items():
            seconds = load.bound(pace, [one for one in needs if one[0].wave == wave], rates).seconds
            if seconds:  # what is shut is open again by the time of the next wave
                rates = rates._replace(shut=AS_PLANNED.shut)
            total += seconds
        return total

    def _still_needs(self, item: int, pace: float, age: float) -> Work:
        """What the change that began `age` s ago needs to its end, which may be no call any more."""
        change = self._changes[item]
        whole, (reads, writes) = self._expected(change), self._made.get(item, (0, 0))
        return Work(
            still_needs(pace * whole.seconds, age),
            max(0, whole.reads - reads),
            max(0, whole.writes - writes),
        )

    def _wait(self, change: Change) -> None:
        self._waiting[change.item] = 1
        self._count(change)

    def _stop_waiting(self, change: Change) -> None:
        if self._waiting[change.item]:
            self._waiting[change.item] = 0
            self._count(change, -1)

    def _count(self, change: Change, by: int = 1) -> None:
        self._loads[change.wave].count(change, by, self._expected(change))
