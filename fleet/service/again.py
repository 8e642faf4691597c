"""Orders that come from an earlier run: undo it, or try again what did not happen."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from fleet.core.again import Again, Recall, retry, undo
from fleet.core.errors import UsageError
from fleet.core.events import Outcome
from fleet.core.fold import Row
from fleet.core.plan import Plan
from fleet.core.selection import Key, Known
from fleet.core.selector import Selector
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.service.planning import Order


def undo_order(folder: Path) -> tuple[Order, tuple[str, ...]]:
    """What takes the run in `folder` back, and the scopes that it concerns.

    Raises UsageError when the run is still going on or has changed nothing.
    """
    plan, rows = _over(folder)
    recalls = undo(rows)
    if not recalls:
        raise UsageError(f"{folder.name}: changed nothing, so there is nothing to undo")
    return _order(f"undo-{folder.name}", "undo", plan, recalls)


def retry_order(folder: Path, outcomes: Iterable[Outcome]) -> tuple[Order, tuple[str, ...]]:
    """What tries again the rows of the run in `folder` that ended with one of `outcomes`.

    Raises UsageError when the run is still going on or no row ended so.
    """
    plan, rows = _over(folder)
    chosen = tuple(outcomes)
    planned = {(change.scope, change.id): change.after for change in plan.changes}
    recalls = retry(planned, rows, chosen)
    if not recalls:
        raise UsageError(f"{folder.name}: no notebook ended as {' or '.join(chosen)}; nothing to try again")
    return _order(f"retry-{folder.name}", "retry", plan, recalls)


def _over(folder: Path) -> tuple[Plan, tuple[Row, ...]]:
    if is_locked(folder):
        raise UsageError(f"{folder.name}: is still going on; see: fleet report {folder.name}")
    with JournalReader(folder / JOURNAL) as reader:
        return reader.plan, reader.fold().rows(over=True)


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
