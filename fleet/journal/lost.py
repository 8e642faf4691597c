"""A journal from which nothing can be told any more: the plan beside it is left, and the cloud."""

from __future__ import annotations

import os
import sqlite3
from contextlib import suppress
from pathlib import Path

from fleet.journal.errors import JournalError
from fleet.journal.lock import is_locked

PLAN = "plan.json"

# What SQLite says of bytes that are no journal; anything else may be about who asks, or about the moment.
_DAMAGE = frozenset({sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_ERROR})


class JournalLost(JournalError):
    """Nothing can be told from a run's journal, nobody works on the run, and its plan is there."""


def has_plan(folder: Path) -> bool:
    """Whether the run's plan is there to its end. Nothing was sent before it was."""
    with suppress(OSError), (folder / PLAN).open("rb") as file:
        file.seek(-2, os.SEEK_END)
        return file.read().rstrip().endswith(b"}")
    return False


def lost(path: Path, problem: str) -> JournalError:
    """The error for a journal that is not there or tells nothing, with the command that helps."""
    folder = path.absolute().parent
    if is_locked(folder) or not has_plan(folder):
        return JournalError(f"{path}: {problem}; see the runs with: fleet runs")
    return JournalLost(f"{path}: {problem}; see what the run left with: fleet recover {folder.name}")


def unreadable(path: Path, what: str, error: sqlite3.Error) -> JournalError:
    """The error for a journal that SQLite cannot read."""
    if error.sqlite_errorcode & 0xFF in _DAMAGE:
        return lost(path, f"{what}: {error}")
    return JournalError(f"{path}: {what}: {error}")
