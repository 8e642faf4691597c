"""A run as it goes on, seen from another process: read from its journal only, which it never notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.core.changing.under_way import Roll, UnderWay
from fleet.core.events import Event
from fleet.journal.balance import Brief
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.report.summary import Report, summarize
from fleet.telemetry.progress import Progress
from fleet.telemetry.snapshot import Snapshot


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands. `under_way` of a run that is over are the changes that it left unfinished.

    What the report says of single rows and adds up of them need not be all, but for its `counts` and `debts`:
    see `Brief`.
    """

    report: Report
    snapshot: Snapshot
    under_way: tuple[UnderWay, ...]


def look_at(folder: Path, now: float) -> Standing:
    """The run in `folder` as it stands at wall time `now`; one that is over stands at its last event.

    Raises JournalError as JournalReader.
    """
    live = is_locked(folder)
    with JournalReader(folder / JOURNAL) as reader:
        brief = reader.brief()
        if brief is not None:
            progress, roll = Progress.loaded(brief.plan, brief.gauge), Roll(brief.plan)
            for event in brief.events:
                roll.apply(event)
            for event in brief.news:
                progress.apply(event)
            state, report = brief.state, _in_brief(brief, live=live)
        else:
            progress, roll = Progress(reader.plan), Roll(reader.plan)
            state = reader.fold(progress.apply, roll.apply)
            report = summarize(state, live=live, damage=reader.damage)
    left = roll.under_way()
    return Standing(
        report,
        progress.snapshot(now if report.live else state.at),
        left if report.live else tuple(replace(one, deadline=None) for one in left),
    )


def _in_brief(brief: Brief, *, live: bool) -> Report:
    report = summarize(brief.state, live=live)
    undoable = report.undoable or brief.written
    return replace(report, counts=brief.counts(over=not report.live), undoable=undoable)


def follow(folder: Path, wait: Callable[[], None]) -> Iterator[list[Event]]:
    """The events of the run, first all that are there, then what comes, until no process works on it."""
    seq, live = 0, True
    while live:
        live = is_locked(folder)  # asked before reading, so that the last words are not missed
        with JournalReader(folder / JOURNAL) as reader:
            news = list(reader.since(seq))
        seq = news[-1][0] if news else seq
        yield [event for _, event in news]
        if live:
            wait()
