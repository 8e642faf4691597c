"""The lock that says a process is writing to a run. The kernel drops it when that process dies."""

from __future__ import annotations

import errno
import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fleet.journal.errors import JournalBusy, JournalError

NAME = "lock"

# Whoever asks whether a run is alive holds its lock for that moment.
_TRIES, _PAUSE = 10, 0.02  # s


class RunLock:
    """Holds the lock of the run in `folder` until `release`.

    Raises JournalBusy when another process holds it, JournalError when the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._file = os.open(folder / NAME, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise JournalError(f"{folder}: {error.strerror}; {advice(error)}") from None
        if not _lock(self._file):
            os.close(self._file)
            raise JournalBusy(f"{folder}: another process is writing to this run; wait for its end")

    def release(self) -> None:
        os.close(self._file)


def advice(error: OSError) -> str:
    """What to do about a run folder that cannot be written; if it is there, no other place will do for it."""
    match error.errno:
        case errno.ENOENT:
            return "name the folder that holds it with --run-dir"
        case errno.EROFS:
            return "remount it writable"
        case _:
            return "make it writable for this user"


def _lock(file: int) -> bool:
    for attempt in range(_TRIES):
        if attempt:
            time.sleep(_PAUSE)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            continue
        return True
    return False


def is_locked(folder: Path) -> bool:
    """Whether a living process is writing to the run in `folder`."""
    with watched(folder) as locked:
        return locked


@contextmanager
def watched(folder: Path) -> Iterator[bool]:
    """Whether a living process is writing to the run in `folder`; if none is, none begins meanwhile.

    Not for long: whoever wants to begin waits a moment only. Where the lock is there but cannot be asked, as
    with no file descriptor left, the process counts as living: who took it for dead would take its notebooks.
    """
    try:
        file = os.open(folder / NAME, os.O_RDONLY | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        yield False
        return
    except OSError:
        yield True
        return
    try:
        yield not _shared(file)
    finally:
        os.close(file)


def _shared(file: int) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
