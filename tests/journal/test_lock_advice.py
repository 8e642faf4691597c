"""What to do about a run folder that cannot be written."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from fleet.journal.errors import JournalError
from fleet.journal.lock import RunLock, advice


def test_a_run_on_a_file_system_that_is_read_only_goes_on_only_there() -> None:
    assert advice(OSError(errno.EROFS, "Read-only file system")) == "remount it writable"


def test_a_run_folder_that_cannot_be_locked_is_to_be_made_writable_and_no_other_place_chosen(
    tmp_path: Path,
) -> None:
    (tmp_path / "lock").mkdir()
    with pytest.raises(JournalError, match=r"Is a directory; make it writable for this user$"):
        RunLock(tmp_path)
