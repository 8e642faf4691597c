"""A run as it goes on, seen from another process: read from its journal only, which it never notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from fleet.core.events import Event
from fleet.core.under_way import Roll, UnderWay
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.report.summary import Report, summarize
from fleet.telemetry import Progress, Snapshot


@dataclass(frozen=True, slots=True)
class Standing:
    """How a run stands. `under_way` of a run that is over are the changes that it left unfinished."""

    report: Report
    snapshot: Snapshot
    under_way: tuple[UnderWay, ...]


def look_at(folder: Path, now: float) -> Standing:
    """The run in `folder` as it stands at wall time `now`; one that is over stands at its last event.

    Raises JournalError as JournalReader.
    """
    live = is_locked(folder)
    with JournalReader(folder / JOURNAL) as reader:
        progress, roll = Progress(reader.plan), Roll(reader.plan)
        state = reader.fold(progress.apply, roll.apply)
        report = summarize(state, live=live, damage=reader.damage)
    left = roll.under_way()
    return Standing(
        report,
        progress.snapshot(now if report.live else state.at),
        left if report.live else tuple(replace(one, deadline=None) for one in left),
    )


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
