"""Jobs that come from an earlier run: put its changes back, or make those that did not happen.

They are jobs like any other: they propose, the planner plans, a person reviews, the engine performs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ConfigDict

from fleet.core.events import Outcome
from fleet.core.fold import Row
from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook
from fleet.core.patch import NotebookPatch, from_body, read_field, readable
from fleet.core.selection import Key

# A disk only grows, and no answer of the cloud shows hooks: what they were is not known.
_IRREVERSIBLE = frozenset({"storage_new_size", "hooks"})


@dataclass(frozen=True, slots=True)
class Recall:
    """What an earlier run says of one notebook: the values it must still hold, and those it shall get."""

    name: str
    holds: Mapping[str, Any]
    wanted: Mapping[str, Any]
    lost: tuple[str, ...] = ()


class Again(JobSpec):
    """Proposes for each notebook of an earlier run what `recalls` says."""

    model_config = ConfigDict(frozen=True, extra="forbid", arbitrary_types_allowed=True)

    recalls: Mapping[Key, Recall]

    def propose(self, notebook: Notebook, context: Context) -> NotebookPatch | Skip:
        """The recalled values, unless somebody has changed the notebook since."""
        recall = self.recalls[context.scope, notebook.id]
        for name, value in recall.holds.items():
            now = read_field(notebook, name)
            if now != value and now != recall.wanted.get(name):
                return Skip(f"{name} is {now!r}, no longer {value!r} as the run left it", Outcome.DRIFTED)
        if not recall.wanted:
            return Skip(f"cannot be undone: {', '.join(recall.lost)}")
        return from_body(recall.wanted)

    def remarks(self, notebook: Notebook, context: Context) -> tuple[str, ...]:
        """Says which part of a change cannot be taken back."""
        lost = self.recalls[context.scope, notebook.id].lost
        return (f"{', '.join(lost)} cannot be undone and stays",) if lost else ()


def undo(rows: Iterable[Row]) -> dict[Key, Recall]:
    """What takes the changes of a run back: for every changed row the values it had before."""
    return {
        (row.scope, row.id): Recall(
            name=row.name,
            holds={name: value for name, value in row.after.items() if readable(name)},
            wanted={name: value for name, value in row.before.items() if name not in _IRREVERSIBLE},
            lost=tuple(name for name in row.after if name in _IRREVERSIBLE),
        )
        for row in rows
        if row.outcome is Outcome.CHANGED
    }


def retry(
    planned: Mapping[Key, Mapping[str, Any]], rows: Iterable[Row], outcomes: Iterable[Outcome]
) -> dict[Key, Recall]:
    """What makes the changes that did not happen: for rows with one of `outcomes` the planned values.

    `planned` holds what the run's plan wanted of each notebook, in the form of the PUT body.
    """
    chosen = set(outcomes)
    return {
        (row.scope, row.id): Recall(row.name, {}, planned[row.scope, row.id])
        for row in rows
        if row.outcome in chosen and (row.scope, row.id) in planned
    }
