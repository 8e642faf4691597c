"""Orders that come from an earlier run: undo it, or try again what did not happen."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.fold import RunState
from fleet.core.planning.again import Again, Past, Writes, earliest, retry, undo
from fleet.core.planning.guards import Guards
from fleet.core.planning.plan import Change, Plan
from fleet.core.rollout import EVERYTHING
from fleet.core.rows import Row
from fleet.core.selecting.selection import Key, Known
from fleet.core.selecting.selector import Selector
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.service.planning import Order


@dataclass(frozen=True, slots=True)
class PastRun:
    """A run that is over, as its journal tells it."""

    run: str
    plan: Plan
    notebooks: tuple[Past, ...]
    writes: Writes
    gaps: bool

    @property
    def stranded(self) -> tuple[Row, ...]:
        """The notebooks that it could not bring home."""
        return tuple(one.row for one in self.notebooks if one.row.outcome is Outcome.STRANDED)

    @property
    def broken_off(self) -> tuple[Row, ...]:
        """The notebooks that it owes because it broke off; it brings them home when it is taken up."""
        return tuple(one.row for one in self.notebooks if one.row.outcome is None and one.row.debt)


def past_run(folder: Path) -> PastRun:
    """The run in `folder`. Raises UsageError while it is going on, JournalError when it cannot be read."""
    if is_locked(folder):
        raise UsageError(f"{folder.name}: is still going on; see: fleet report {folder.name}")
    writes = Writes()
    with JournalReader(folder / JOURNAL) as reader:
        state = reader.fold(writes.see)
        return PastRun(folder.name, reader.plan, tuple(_notebooks(state)), writes, state.gaps)


def _notebooks(state: RunState) -> Iterator[Past]:
    changes: defaultdict[Key, list[tuple[Change, Row]]] = defaultdict(list)
    for change, row in zip(state.plan.changes, state.change_rows(over=True), strict=True):
        changes[change.scope, change.id].append((change, row))
    for row in state.rows(over=True):
        yield Past(row, tuple(changes[row.scope, row.id]))


def undo_order(past: PastRun) -> tuple[Order, tuple[str, ...]]:
    """What takes the run back, and the scopes that it concerns. Raises UsageError when it changed nothing."""
    recalls = undo(past.notebooks, past.writes, gaps=past.gaps)
    if not recalls:
        raise UsageError(f"{past.run}: changed nothing, so there is nothing to undo")
    return _order(f"undo-{past.run}", "undo", past.plan, Again(recalls=recalls))


def retry_order(past: PastRun, outcomes: Iterable[Outcome]) -> tuple[Order, tuple[str, ...]]:
    """What tries again the rows of the run that ended with one of `outcomes`, and the scopes concerned.

    Raises UsageError when no row ended so.
    """
    chosen = tuple(outcomes)
    recalls = retry(past.notebooks, past.writes, chosen, gaps=past.gaps)
    if not recalls:
        raise UsageError(f"{past.run}: no notebook ended as {' or '.join(chosen)}; nothing to try again")
    job = Again(recalls=recalls, plan_stages=past.plan.stages)
    order, scopes = _order(f"retry-{past.run}", "retry", past.plan, job)
    return replace(order, earliest=earliest(past.notebooks, past.plan.stages)), scopes


def _order(name: str, job_type: str, plan: Plan, job: Again) -> tuple[Order, tuple[str, ...]]:
    """Released as the run was. Whoever was restarted for the change may be restarted again."""
    recalls = job.recalls
    order = Order(
        name=name,
        job_type=job_type,
        picker=Known(f"the {len(recalls)} notebooks to {name}", frozenset(recalls)),
        job=job,
        rollout=plan.rollout,
        guards=Guards(
            max_targets=len(recalls),
            max_share=EVERYTHING,
            protect=Selector.parse(plan.protect) if plan.protect else None,
            confirm_over=plan.confirm_over,
        ),
        expected={key: recall.name for key, recall in recalls.items()},
    )
    return order, tuple(dict.fromkeys(scope for scope, _ in recalls))
