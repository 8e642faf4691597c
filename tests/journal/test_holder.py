"""Who claims a notebook: asked without claiming anything."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from fleet.journal.claims import Claims, holder
from fleet.journal.errors import JournalError
from fleet.journal.lock import RunLock

KEY = ("https://modelarts.example.com 00000000000000000000000000000000", "nb-1")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "claims.db"


def test_the_holder_is_the_run_that_lives(tmp_path: Path, file: Path) -> None:
    lock = RunLock(tmp_path)
    with closing(Claims(file)) as claims:
        claims.take([KEY], "run-1", tmp_path, 1000.0, lambda folder, keys: ())
        assert holder(file, KEY) == tmp_path
        assert holder(file, (KEY[0], "nb-2")) is None
        assert holder(file, ("https://elsewhere.example.com 0", KEY[1])) is None
        lock.release()
        assert holder(file, KEY) is None


def test_asking_makes_no_file_and_needs_no_table(file: Path) -> None:
    assert holder(file, KEY) is None
    assert not file.exists()
    file.touch()
    assert holder(file, KEY) is None
    assert file.read_bytes() == b""


def test_whoever_is_just_claiming_keeps_nobody_waiting(file: Path) -> None:
    Claims(file).close()
    with closing(sqlite3.connect(file, isolation_level=None)) as busy:
        busy.execute("BEGIN IMMEDIATE")
        assert holder(file, KEY) is None


def test_a_file_that_cannot_be_read_is_one_clear_line(file: Path) -> None:
    file.write_text("not a database at all, but long enough to be looked at as one " * 20)
    with pytest.raises(JournalError, match="cannot be read: file is not a database; mend it, or delete it"):
        holder(file, KEY)
