"""Reports of runs, rebuilt from their journals alone, also while a run goes on."""

from __future__ import annotations

from pathlib import Path

from fleet.journal.lock import is_locked
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL
from fleet.report.summary import Report, summarize


def read_report(folder: Path) -> Report:
    """The report of the run in `folder`. Raises JournalError when its journal cannot be read."""
    live = is_locked(folder)
    with JournalReader(folder / JOURNAL) as reader:
        state = reader.fold()
        return summarize(state, live=live, damage=reader.damage)
