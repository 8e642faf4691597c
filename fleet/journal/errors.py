"""What can be wrong with a journal."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fleet.core.errors import Exit, FleetError, RecordingFailed


class JournalError(FleetError):
    """The journal cannot be used: which file, why, what to do."""


class OtherFormat(JournalError):
    """The journal at `path` is whole, but of the format `number` of another version."""

    def __init__(self, path: Path, number: str, ours: int) -> None:
        self.state = f"format {number}"
        self.reason = (
            f"is of {self.state}, this version reads journals of format {ours}; "
            "use the version that began the run"
        )
        super().__init__(f"{path}: {self.reason}")


class JournalBusy(JournalError):
    """Somebody else is writing to the run."""


class JournalWriteError(JournalError, RecordingFailed):
    """An event did not get to the disk. Nothing more may be changed; the run can be resumed."""

    exit = Exit.INTERRUPTED


@dataclass(frozen=True, slots=True)
class JournalDamage:
    """Rows `first` to `last` of a table that cannot be trusted or cannot be read, and why."""

    table: str
    first: int | str
    last: int | str
    problem: str

    def __str__(self) -> str:
        rows = f"row {self.first}" if self.first == self.last else f"rows {self.first} to {self.last}"
        return f"{self.table} {rows}: {self.problem}"
