"""How long a run took beside the least that the same work could have taken.

The arithmetic is that of the plan's estimate (`core.planning.estimate`), with what each change really took in
place of what was assumed. A change holds its slot from its first look to its end: before, it waited in line
for a place under the rate, which is counted by its calls. Where it waited for one later, that is part of its
time.
"""

from __future__ import annotations

from dataclasses import dataclass

from fleet.core.events import RunEnd
from fleet.core.fold import RunState
from fleet.core.planning.estimate import Bounds, Work, bound_of
from fleet.core.rows import Row


@dataclass(frozen=True, slots=True)
class Makespan:
    """Seconds that a run took, and at least had to take; `by` says what asked for the largest part of those.

    Never more than it took: clocks are set, and milliseconds rounded.
    """

    took_s: float
    bound_s: float
    by: str


def took(row: Row) -> float:
    """Seconds from a change's beginning to its end; 0 when it has not had both."""
    if row.started_at is None or row.finished_at is None:
        return 0.0
    return round(max(0.0, row.finished_at - row.started_at - row.idle_s), 3)


def makespan(state: RunState, duration_s: float) -> Makespan | None:
    """What can be said of a run that finished by itself, None for any other.

    A person who steers it, lets its waves pass or takes it up again makes times that no work asked for.
    """
    plan = state.plan
    if state.end is not RunEnd.FINISHED or state.disturbed or plan.rollout.approve or not plan.changes:
        return None
    works = {row.item: _work(row) for row in state.change_rows()}
    bounds = Bounds.of(plan.changes, plan.scopes, plan.rollout, unknown=None)
    seconds, by = bound_of(plan.changes, bounds, plan.pause_before, lambda change: works[change.item])
    waited = max(0.0, plan.stages[0].not_before - (state.started_at or 0.0)) if plan.stages else 0.0
    if waited > seconds:
        by = "the pause since the run before"
    return Makespan(duration_s, round(min(seconds + waited, duration_s), 3), by)


def _work(row: Row) -> Work:
    calls = row.calls
    held = max(0.0, took(row) - row.queued_s)
    return Work(held, calls.get, calls.put + calls.stop + calls.start + calls.lease)
