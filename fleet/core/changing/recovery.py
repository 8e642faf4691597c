"""What is owed where a run's journal is lost or damaged: its plan and what each notebook shows must tell.

The plan says what a notebook held, what it was to get, and where it was to come back to. What happened in
between nobody can tell any more: a notebook that ran may have been stopped by the run, by its own lease or by
a person.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from fleet.core.changing.life import Life, difference
from fleet.core.changing.sight import Sight
from fleet.core.errors import Exit
from fleet.core.notebook import Status
from fleet.core.patch import readable
from fleet.core.planning.plan import Change


class Holds(StrEnum):
    """What a notebook shows of the planned fields. `HIDDEN`: the cloud shows none of them."""

    NEW = "new value"
    OLD = "old value"
    OTHER = "mixed or other value"
    HIDDEN = "value not shown"
    GONE = "gone"
    UNREACHABLE = "unreachable"


@dataclass(frozen=True, slots=True)
class Finding:
    """One planned notebook as it is now. `sight` is None when it could not be seen.

    `fix` is the command that starts one that ran and is stopped.
    """

    change: Change
    holds: Holds
    sight: Sight | None = None
    reason: str = ""
    fix: str = ""

    @property
    def status(self) -> str:
        """The cloud's word for its present status; empty when it could not be seen."""
        return "" if self.sight is None else self.sight.word or self.sight.status.value

    @property
    def values(self) -> Mapping[str, Any]:
        """What the planned fields show now, in the form of the PUT body."""
        return {} if self.sight is None else self.sight.values

    @property
    def away(self) -> bool:
        """Whether it ran when the plan was made, and is there but not running."""
        if self.sight is None or self.holds is Holds.GONE:
            return False
        return self.change.run_state is Status.RUNNING and self.sight.status is not Status.RUNNING

    @property
    def doubtful(self) -> bool:
        """Whether the notebook itself may show more than a list of many did."""
        return self.holds in (Holds.OTHER, Holds.UNREACHABLE)


def ways(changes: Iterable[Change]) -> tuple[Change, ...]:
    """One change for each notebook; of several, made one after the other, the way through them all."""
    found: dict[tuple[str, str], Change] = {}
    for change in changes:
        first = found.setdefault((change.scope, change.id), change)
        if first is not change:
            before, after = {**change.before, **first.before}, {**first.after, **change.after}
            found[change.scope, change.id] = replace(first, before=before, after=after)
    return tuple(found.values())


def only(changes: Iterable[Change], items: Collection[int]) -> tuple[Change, ...]:
    """All changes of the notebooks that one of `items` is about."""
    changes = tuple(changes)
    notebooks = {(change.scope, change.id) for change in changes if change.item in items}
    return tuple(change for change in changes if (change.scope, change.id) in notebooks)


def finding(change: Change, sight: Sight, planned_at: float) -> Finding:
    """What `sight` says of a notebook that was planned at wall second `planned_at`."""
    holds = _holds(change, sight)
    return Finding(change, holds, sight, _reason(change, sight, holds), _fix(change, sight, planned_at))


def unseen(change: Change, why: str) -> Finding:
    """The finding where there is nothing to see."""
    return Finding(change, Holds.UNREACHABLE, reason=why)


def exit_code(findings: Iterable[Finding]) -> Exit:
    """The exit code of a recovery; where several hold, the largest. Who was not seen may be stopped."""
    codes = {Exit.DONE}
    for one in findings:
        if one.away or one.holds is Holds.UNREACHABLE:
            codes.add(Exit.STRANDED)
        if one.holds in (Holds.OTHER, Holds.GONE):
            codes.add(Exit.SOME_DRIFTED)
    return max(codes)


def _holds(change: Change, sight: Sight) -> Holds:
    if sight.status in (Status.DELETED, Status.DELETING):
        return Holds.GONE
    shown = [name for name in change.after if readable(name)]
    if not shown:
        return Holds.HIDDEN
    if all(sight.values.get(name) == change.after[name] for name in shown):
        return Holds.NEW
    if all(sight.values.get(name) == change.before.get(name) for name in shown):
        return Holds.OLD
    return Holds.OTHER


def _reason(change: Change, sight: Sight, holds: Holds) -> str:
    if holds is Holds.GONE:
        return "is being deleted" if sight.status is Status.DELETING else "deleted by somebody"
    reasons = [difference(change.after, sight.values, "not")] if holds is Holds.OTHER else []
    if sight.status.heading is not None:
        reasons.append(f"on its way to {sight.status.heading}")
    reasons.append(sight.fail_reason)
    return "; ".join(filter(None, reasons))


def _fix(change: Change, sight: Sight, planned_at: float) -> str:
    """The start with the lease of the plan.

    What was left of it at the stop is not known; it was no more than when the plan was made. A notebook that
    was stopped and runs now gets no command: somebody may be working there, and a start of ours was for the
    shortest lease.
    """
    if change.run_state is not Status.RUNNING or sight.status not in (Status.STOPPED, Status.STOPPING):
        return ""
    lease = change.lease
    left = lease.left(int(planned_at * 1000)) if lease is not None and lease.enable else None
    return Life.begin(change)._replace(debt=True, frozen=left).fix
