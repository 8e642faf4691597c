"""Orders that come from an earlier run: undo it, or try again what did not happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fleet.core.again import Again, Recall, Writes, retry, undo
from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.plan import Plan
from fleet.core.rows import Row
from fleet.core.selection import Key, Known
from fleet.core.selector import Selector
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.service.planning import Order


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that is over, as its journal tells it."""

    run: str
    plan: Plan
    rows: tuple[Row, ...]
    writes: Writes
    gaps: bool

    @property
    def planned(self) -> dict[Key, Mapping[str, Any]]:
        """What the plan wanted of each notebook, in the form of the PUT body."""
        return {(change.scope, change.id): change.after for change in self.plan.changes}

    @property
    def stranded(self) -> tuple[Row, ...]:
        """The notebooks that it left away from home."""
        return tuple(row for row in self.rows if row.outcome is Outcome.STRANDED)


def past_run(folder: Path) -> PastRun:
    """The run in `folder`. Raises UsageError while it is going on, JournalError when it cannot be read."""
    if is_locked(folder):
        raise UsageError(f"{folder.name}: is still going on; see: fleet report {folder.name}")
    writes = Writes()
    with JournalReader(folder / JOURNAL) as reader:
        state = reader.fold(writes.see)
        return PastRun(folder.name, reader.plan, state.rows(over=True), writes, state.gaps)


def undo_order(past: PastRun) -> tuple[Order, tuple[str, ...]]:
    """What takes the run back, and the scopes that it concerns. Raises UsageError when it changed nothing."""
    recalls = undo(past.planned, past.rows, past.writes, gaps=past.gaps)
    if not recalls:
        raise UsageError(f"{past.run}: changed nothing, so there is nothing to undo")
    return _order(f"undo-{past.run}", "undo", past.plan, recalls)


def retry_order(past: PastRun, outcomes: Iterable[Outcome]) -> tuple[Order, tuple[str, ...]]:
    """What tries again the rows of the run that ended with one of `outcomes`, and the scopes concerned.

    Raises UsageError when no row ended so.
    """
    chosen = tuple(outcomes)
    recalls = retry(past.planned, past.rows, chosen)
    if not recalls:
        raise UsageError(f"{past.run}: no notebook ended as {' or '.join(chosen)}; nothing to try again")
    return _order(f"retry-{past.run}", "retry", past.plan, recalls)


def _order(
    name: str, job_type: str, plan: Plan, recalls: Mapping[Key, Recall]
) -> tuple[Order, tuple[str, ...]]:
    """Released as the run was. Whoever was restarted for the change may be restarted again."""
    order = Order(
        name=name,
        job_type=job_type,
        picker=Known(f"the {len(recalls)} notebooks to {name}", frozenset(recalls)),
        job=Again(recalls=recalls),
        rollout=plan.rollout,
        max_targets=len(recalls),
        protect=Selector.parse(plan.protect) if plan.protect else None,
        expected={key: recall.name for key, recall in recalls.items()},
    )
    return order, tuple(dict.fromkeys(scope for scope, _ in recalls))
