"""How long a run still takes: at first what its plan assumed, later more and more what was measured."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from functools import partial
from typing import Any

from fleet.core.events import Began, Ended, Reopened
from fleet.core.planning.by_item import Marks, changes_by_item
from fleet.core.planning.estimate import Bounds, Load, expected, length_of, measured_pace, still_needs
from fleet.core.planning.plan import Change, Plan


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

    def end(self, event: Ended) -> None:
        """A change ended, or was left out without having begun."""
        change = self._changes.get(event.item)
        if change is None:
            return
        self._stop_waiting(change)
        began = self._under_way.pop(event.item, None)
        if began is not None and event.item not in self._broken_off:
            self._took += max(0.0, event.at - began)
            self._assumed += self._length_of(change)

    def go_on(self, at: float) -> None:
        """Another process takes the run up; how long the first one was gone says nothing."""
        self._broken_off.update(self._under_way)
        self._under_way = dict.fromkeys(self._under_way, at)

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
            (change, still_needs(pace * self._length_of(change), max(0.0, now - began)))
            for change, began in ((self._changes[item], began) for item, began in self._under_way.items())
        ]
        if halted:
            return max((seconds for _, seconds in needs), default=0.0)
        return sum(
            load.bound(pace, [one for one in needs if one[0].wave == wave]).seconds
            for wave, load in self._loads.items()
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
