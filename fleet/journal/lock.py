"""The lock that says a process is writing to a run. The kernel drops it when that process dies."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

from fleet.journal.errors import JournalBusy, JournalError

NAME = "lock"


class RunLock:
    """Holds the lock of the run in `folder` until `release`.

    Raises JournalBusy when another process holds it, JournalError when the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise JournalError(f"{folder}: {error.strerror}; choose another with --run-dir") from None
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._file)
            raise JournalBusy(f"{folder}: another process is writing to this run; wait for its end") from None

    def release(self) -> None:
        os.close(self._file)


def is_locked(folder: Path) -> bool:
    """Whether a living process is writing to the run in `folder`."""
    try:
        file = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(file)
    return False
