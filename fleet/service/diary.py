"""What a schedule did: one file a job, a line for every time that came due. It is kept beside the runs.

Lines are added when a run begins, when it has a name and when it ends, so that a time whose run was killed
half-way counts as used, and the run can be taken up. The lock of the same name is the kernel's: it falls with
the last process that holds it.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from fleet.core.errors import FleetError, UsageError

FOLDER = "schedules"


@dataclass(frozen=True, slots=True)
class Entry:
    """What became of one time: `due` and `at` are wall seconds, `exit` is None until the run has ended."""

    due: float
    at: float
    note: str
    run: str = ""
    exit: int | None = None


class Diary:
    """The history of one job in the folder `base` of all runs."""

    def __init__(self, base: Path, job: str) -> None:
        self._file = base / FOLDER / f"{job}.jsonl"
        self._lock = base / FOLDER / f"{job}.lock"

    def entries(self) -> tuple[Entry, ...]:
        """Every line, oldest first; one that a full disk cut off is passed over."""
        try:
            text = self._file.read_text()
        except FileNotFoundError:
            return ()
        except NotADirectoryError:
            raise UsageError(
                f"{self._file}: not a directory; name the folder of all runs with --run-dir"
            ) from None
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else "it is not text"
            raise UsageError(f"{self._file}: cannot be read: {why}; move it away to begin anew") from None
        return tuple(_entries(text))

    def last(self) -> float | None:
        """The latest time that was dealt with, or the moment from which on times are watched."""
        return max((entry.due for entry in self.entries()), default=None)

    def add(self, entry: Entry) -> None:
        """Adds a line, on disk when this returns. Raises FleetError when it cannot."""
        line = json.dumps(asdict(entry)).encode() + b"\n"
        try:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW, 0o600)
            try:
                os.write(file, line)
                os.fsync(file)
            finally:
                os.close(file)
        except OSError as error:
            raise FleetError(
                f"{self._file}: {error.strerror}; without it, a run could be made twice"
            ) from None

    def broken_off(self) -> Entry | None:
        """The line of the last run that has a name, if it has not ended; times left out since may follow."""
        last = next((entry for entry in reversed(self.entries()) if entry.run), None)
        return last if last is not None and last.exit is None else None

    @contextmanager
    def alone(self) -> Iterator[int | None]:
        """The lock of the job, None while somebody else holds it. As long as this lasts, nobody else can.

        It is the number of an open file: a process that is given it holds the lock too, until its end.
        """
        try:
            self._lock.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            file = os.open(self._lock, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise FleetError(f"{self._lock}: {error.strerror}; choose another place with --run-dir") from None
        try:
            yield file if _taken(file) else None
        finally:
            os.close(file)


def _taken(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _entries(text: str) -> Iterator[Entry]:
    for line in text.splitlines():
        try:
            yield Entry(**json.loads(line))
        except (ValueError, TypeError):
            continue
