"""A run as it goes on, seen from another process: read from its journal only, which it never notices."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from fleet.core.events import Event
from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.report.summary import Report, summarize
from fleet.telemetry import Progress, Snapshot


def look_at(folder: Path, now: float) -> tuple[Report, Snapshot]:
    """The run in `folder` as it stands at wall time `now`. Raises JournalError as JournalReader."""
    live = is_locked(folder)
    with JournalReader(folder / JOURNAL) as reader:
        progress = Progress(reader.plan)
        state = reader.fold(progress.apply)
        return summarize(state, live=live, damage=reader.damage), progress.snapshot(now)


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
