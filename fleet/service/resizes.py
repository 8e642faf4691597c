"""Which notebooks got another flavor from earlier runs, and when: from the journals in the run folders.

What a person changed at the console is in no journal, and a notebook's time of change is no proof: it moves
with every change.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fleet.core.events import Outcome
from fleet.core.job import Resize
from fleet.core.rows import Row
from fleet.journal.errors import JournalError
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL, RunSummary, list_runs

# Of these the last look may have been before the write took effect.
_OPEN = frozenset({None, Outcome.UNKNOWN, Outcome.STRANDED})


@dataclass(frozen=True, slots=True)
class Resizes:
    """By id of the notebook, in the order of time; `notes` tell of runs that could not be read."""

    by_id: Mapping[str, tuple[Resize, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def of(self, id: str) -> tuple[Resize, ...]:
        """Those of one notebook."""
        return self.by_id.get(id, ())


def read_resizes(runs: Path, since: float) -> Resizes:
    """What the runs in the folder `runs` changed since that wall second."""
    by_id: dict[str, list[Resize]] = {}
    notes = []
    for summary in list_runs(runs):
        if summary.finished_at is not None and summary.finished_at < since:
            continue
        try:
            for id, resize in _resizes_of(summary):
                if resize.at >= since:
                    by_id.setdefault(id, []).append(resize)
        except JournalError:
            if _began(summary.run) >= since:
                notes.append(f"run {summary.run} cannot be read: what it did to flavors is not known")
    ordered = {id: tuple(sorted(found, key=lambda one: one.at)) for id, found in by_id.items()}
    return Resizes(ordered, tuple(notes))


def _began(run: str) -> float:
    """When the run of that id began, in wall seconds."""
    return datetime.strptime(run[:15], "%Y%m%d-%H%M%S").replace(tzinfo=UTC).timestamp()


def _resizes_of(summary: RunSummary) -> Iterator[tuple[str, Resize]]:
    with JournalReader(summary.dir / JOURNAL) as reader:
        plan = reader.plan
        planned = {
            (change.scope, change.id): change.after["flavor"]
            for change in plan.changes
            if "flavor" in change.after
        }
        if planned:
            yield from resizes_in(reader.fold().rows(over=False), planned, plan.created_at)


def resizes_in(
    rows: Iterable[Row], planned: Mapping[tuple[str, str], str], began: float
) -> Iterator[tuple[str, Resize]]:
    """The flavors that a run changed or may have changed, by id; `planned` has what it wanted."""
    for row in rows:
        wanted = planned.get((row.scope, row.id))
        before = row.before.get("flavor")
        if wanted is None or before is None or not row.written:
            continue
        after = wanted if row.outcome in _OPEN else row.after.get("flavor", before)
        if after != before:
            yield row.id, Resize(row.finished_at or row.started_at or began, before, after)
