"""Jobs that come from an earlier run: put its changes back, or make those that did not happen.

They are jobs like any other: they propose, the planner plans, a person reviews, the engine performs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from pydantic import ConfigDict

from fleet.core.events import Answered, Event, Fate, Intended, Outcome, Step
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch, from_body, read_field, readable
from fleet.core.rows import Row
from fleet.core.selection import Key

# A disk only grows, and no answer of the cloud shows hooks: what they were is not known.
_IRREVERSIBLE = frozenset({"storage_new_size", "hooks"})

# Ends that no change reaches once a PUT of it may have been applied.
_NEVER_WRITTEN = frozenset({Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.NOT_STARTED})


@dataclass(frozen=True, slots=True)
class Recall:
    """What an earlier run says of one notebook: the values it may hold, and those it shall get.

    `holds` are values that the run gave it, or may have given it, and `before` those it had; a notebook that
    holds a third one is left alone. `lost` are fields that cannot be put back. Until the notebook is `home`
    again, in the run state that it came from, the command `fix` comes first.
    """

    name: str
    wanted: Mapping[str, Any]
    holds: Mapping[str, Any] = field(default_factory=dict)
    before: Mapping[str, Any] = field(default_factory=dict)
    lost: tuple[str, ...] = ()
    home: str = ""
    fix: str = ""


class Again(JobSpec):
    """Proposes for each notebook of an earlier run what `recalls` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    recalls: Mapping[Key, Recall]

    def bars(self, notebook: Notebook, context: Context) -> str:
        """A notebook that the run still owes a start or a stop is brought home first."""
        recall = self.recalls[context.scope, notebook.id]
        if not recall.fix or (notebook.status.heading or notebook.status).value == recall.home:
            return ""
        return f"stranded by the run: bring it back first with: {recall.fix}"

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        """The recalled values, unless somebody has changed the notebook since."""
        recall = self.recalls[context.scope, notebook.id]
        for name, value in recall.holds.items():
            now = read_field(notebook, name)
            if now not in (value, recall.before.get(name)):
                return Skip(f"{name} is {now!r}, no longer {value!r} as the run left it", Outcome.DRIFTED)
        lost = _lost(recall, notebook)
        if lost and not recall.wanted:
            return Skip(f"cannot be undone: {', '.join(lost)}")
        return from_body(recall.wanted)

    def remarks(self, notebook: Notebook, context: Context) -> tuple[str, ...]:
        """Says which part of a change cannot be taken back."""
        lost = _lost(self.recalls[context.scope, notebook.id], notebook)
        return (f"{', '.join(lost)} cannot be undone and stays",) if lost else ()


def _lost(recall: Recall, notebook: Notebook) -> tuple[str, ...]:
    """The fields that the run changed for good; one that shows its old value was not changed."""
    return tuple(
        name
        for name in recall.lost
        if not readable(name) or read_field(notebook, name) != recall.before.get(name)
    )


@dataclass(slots=True)
class Writes:
    """Which fields the PUTs of a run changed or may have changed. `see` takes its events in their order."""

    _sent: dict[int, set[str]] = field(default_factory=dict)
    _due: dict[int, Intended] = field(default_factory=dict)

    def see(self, event: Event) -> None:
        match event:
            case Intended(step=Step.PUT):
                self._settle(event.item)  # an earlier one was never answered
                self._due[event.item] = event
            case Answered(step=Step.PUT, fate=Fate.REFUSED):
                self._due.pop(event.item, None)
            case Answered(step=Step.PUT):
                self._settle(event.item)

    def fields(self, item: int) -> frozenset[str]:
        """The names of the fields of this item."""
        due = self._due.get(item)
        return frozenset(self._sent.get(item, ())) | frozenset(due.body if due is not None else ())

    def _settle(self, item: int) -> None:
        due = self._due.pop(item, None)
        if due is not None:
            self._sent.setdefault(item, set()).update(due.body)


def undo(
    planned: Mapping[Key, Mapping[str, Any]], rows: Iterable[Row], writes: Writes, *, gaps: bool = False
) -> dict[Key, Recall]:
    """What takes a run back: for every row that a PUT changed or may have changed, the values from before.

    A stranded notebook is among them even if nothing was written to it: where it was is part of before.
    `planned` holds what the run's plan wanted of each notebook, in the form of the PUT body. With `gaps` in
    the journal any PUT may be missing from it.
    """
    found = {}
    for row in rows:
        after = planned.get((row.scope, row.id), {})
        known = writes.fields(row.item) if row.outcome is not Outcome.CHANGED else after.keys()
        names = after.keys() if gaps and row.outcome not in _NEVER_WRITTEN else known
        if names or row.outcome is Outcome.STRANDED:
            found[row.scope, row.id] = _back(row, {name: after[name] for name in after if name in names})
    return found


def _back(row: Row, given: Mapping[str, Any]) -> Recall:
    return Recall(
        name=row.name,
        wanted={name: row.before[name] for name in given if name not in _IRREVERSIBLE},
        holds={name: value for name, value in given.items() if readable(name)},
        before=row.before,
        lost=tuple(name for name in given if name in _IRREVERSIBLE),
        home=row.run_state_before,
        fix=row.fix,
    )


def retry(
    planned: Mapping[Key, Mapping[str, Any]], rows: Iterable[Row], outcomes: Iterable[Outcome]
) -> dict[Key, Recall]:
    """What makes the changes that did not happen: for rows with one of `outcomes` the planned values."""
    chosen = set(outcomes)
    return {
        (row.scope, row.id): Recall(row.name, planned[row.scope, row.id])
        for row in rows
        if row.outcome in chosen and (row.scope, row.id) in planned
    }
