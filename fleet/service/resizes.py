"""Which notebooks got another flavor from earlier runs, and when: from the journals in the run folders.

What a person changed at the console is in no journal, and a notebook's time of change is no proof: it moves
with every change.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from fleet.core.errors import FleetError
from fleet.core.events import Outcome
from fleet.core.job import Resize
from fleet.core.planning.plan_file import load_plan
from fleet.core.rows import Row
from fleet.journal.errors import JournalError
from fleet.journal.lost import has_plan
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL, PLAN, RunSummary, list_runs

EVERYBODY = "*"

# Of these the last look may have been before the write took effect.
_OPEN = frozenset({None, Outcome.UNKNOWN, Outcome.STRANDED})


@dataclass(frozen=True, slots=True)
class Resizes:
    """By id of the notebook, in the order of time; `notes` tell of runs that could not be read.

    `untold` names by id the run that may have changed the flavor without telling any more; under EVERYBODY,
    one of which not even the plan can be read.
    """

    by_id: Mapping[str, tuple[Resize, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    untold: Mapping[str, str] = field(default_factory=dict)

    def of(self, id: str) -> tuple[Resize, ...]:
        """Those of one notebook."""
        return self.by_id.get(id, ())

    def untold_of(self, id: str) -> str:
        """The run that may have changed its flavor and whose journal cannot be read; empty for none."""
        return self.untold.get(id) or self.untold.get(EVERYBODY, "")


def read_resizes(runs: Path, since: float) -> Resizes:
    """What the runs in the folder `runs` changed since that wall second."""
    by_id: dict[str, list[Resize]] = {}
    untold: dict[str, str] = {}
    notes = []
    for summary in list_runs(runs):
        if summary.finished_at is not None and summary.finished_at < since:
            continue
        try:
            for id, resize in _resizes_of(summary):
                if resize.at >= since:
                    by_id.setdefault(id, []).append(resize)
        except JournalError as error:
            if _began(summary.run) >= since:
                concerned = error.concerned if isinstance(error, _Gaps) else _planned_for(summary.dir)
                untold |= dict.fromkeys(concerned, summary.run)
                notes.append(_note(summary.run, concerned))
    ordered = {id: tuple(sorted(found, key=lambda one: one.at)) for id, found in by_id.items()}
    return Resizes(ordered, tuple(notes), untold)


class _Gaps(JournalError):
    """Parts of a journal are missing; `concerned` are those to whom it may have given another flavor."""

    def __init__(self, concerned: Collection[str]) -> None:
        super().__init__("parts of the journal are missing")
        self.concerned = concerned


def _note(run: str, concerned: Collection[str]) -> str:
    left_alone = "; its notebooks are left alone until its folder is removed" if concerned else ""
    return f"run {run} cannot be read: what it did to flavors is not known{left_alone}"


def _planned_for(folder: Path) -> Collection[str]:
    """Whom a run was to give another flavor, by the plan beside its journal: without one nothing was sent."""
    if not has_plan(folder):
        return ()
    try:
        plan = load_plan((folder / PLAN).read_bytes(), str(folder / PLAN))
    except (FleetError, OSError):
        return (EVERYBODY,)
    return [change.id for change in plan.changes if "flavor" in change.after]


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
            told = reader.fold()
            if told.gaps:
                raise _Gaps([id for _, id in planned])
            yield from resizes_in(told.rows(over=False), planned, plan.created_at)


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
