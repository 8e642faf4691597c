"""Who counts as working on a run, where its lock cannot be asked."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from fleet.journal.lock import NAME, RunLock, is_locked


@contextmanager
def no_descriptor_left() -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with ExitStack() as stack:
        first = os.open(os.devnull, os.O_RDONLY)
        stack.callback(os.close, first)
        stack.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        resource.setrlimit(resource.RLIMIT_NOFILE, (first + 1, hard))
        with pytest.raises(OSError, match="Too many open files"):
            os.open(os.devnull, os.O_RDONLY)
        yield


def test_a_process_that_has_no_descriptor_left_takes_nobody_for_dead(tmp_path: Path) -> None:
    lock = RunLock(tmp_path)
    with no_descriptor_left():
        assert is_locked(tmp_path)
    lock.release()
    assert not is_locked(tmp_path)


def test_a_lock_that_cannot_be_opened_counts_as_held(tmp_path: Path) -> None:
    (tmp_path / NAME).symlink_to(NAME)
    assert is_locked(tmp_path)


def test_where_there_is_no_lock_nobody_works(tmp_path: Path) -> None:
    assert not is_locked(tmp_path)
    (tmp_path / "file").touch()
    assert not is_locked(tmp_path / "file")
