"""The numbers of a run as it is written, so that a list of runs need not read every event again."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fleet.core.events import (
    Began,
    Ended,
    Event,
    Outcome,
    Reopened,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
)
from fleet.core.fold import RunState
from fleet.core.plan import Plan


@dataclass(slots=True)
class Tally:
    """Counts outcomes from the few events that decide them. `open` holds changes that have begun."""

    changes: int
    settled: Mapping[Outcome, int]
    started_at: float | None = None
    finished_at: float | None = None
    end: RunEnd | None = None
    ended: dict[int, Outcome] = field(default_factory=dict)
    open: set[int] = field(default_factory=set)

    @classmethod
    def of(cls, plan: Plan) -> Tally:
        """Before anything happened."""
        return cls(len(plan.changes), Counter(row.outcome for row in plan.settled))

    @classmethod
    def taken_up(cls, state: RunState) -> Tally:
        """Where an earlier process left the run."""
        tally = cls.of(state.plan)
        tally.started_at, tally.finished_at, tally.end = state.started_at, state.finished_at, state.end
        lives = state.lives()
        for item, outcome in state.outcomes().items():
            if outcome is not None and lives[item].end is not None:
                tally.ended[item] = outcome
            else:
                tally.open.add(item)
        return tally

    def take(self, event: Event) -> None:
        """Takes in the next event."""
        match event:
            case Began() | Reopened():
                self.ended.pop(event.item, None)
                self.open.add(event.item)
            case Ended():
                self.open.discard(event.item)
                self.ended[event.item] = event.outcome
            case RunStarted() | RunResumed():
                self.started_at = event.at if self.started_at is None else self.started_at
                self.finished_at, self.end = None, None
            case RunEnded():
                self.finished_at, self.end = event.at, event.end

    def summary(self) -> dict[str, Any] | None:
        """The final numbers; None when a change was cut off, so that only the events can tell."""
        if self.open or self.end is None:
            return None
        found = Counter(self.ended.values()) + Counter(self.settled)
        found[Outcome.NOT_STARTED] += self.changes - len(self.ended)
        return {
            "end": self.end,
            "started_at": self.started_at,
            "finished_at": self.finished_at,
            "counts": {outcome.value: found[outcome] for outcome in Outcome},
        }
