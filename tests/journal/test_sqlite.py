"""How the file is written: synced, and never checkpointed behind our back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fleet.core.events import Slowed
from fleet.core.plan import Plan
from fleet.journal.reader import read_journal
from fleet.journal.sqlite import JournalFile

RUN = "20261130-081500-k3f9"


@pytest.mark.row(49)
def test_every_commit_reaches_the_disk_before_it_returns(path: Path, plan: Plan) -> None:
    file = JournalFile.create(path, plan, RUN)
    settings = [
        file._connection.execute(f"PRAGMA {name}").fetchone()[0] for name in ("journal_mode", "synchronous")
    ]
    file.close()
    assert settings == ["wal", 2]  # 2 is FULL: a sync for every transaction


def test_only_a_checkpoint_of_ours_touches_the_main_file(path: Path, plan: Plan) -> None:
    file = JournalFile.create(path, plan, RUN)
    file.checkpoint()
    before = path.read_bytes()
    for _ in range(15):
        file.save([Slowed(1.0, "k", "x" * 3000)] * 100)
    assert path.read_bytes() == before
    file.checkpoint()
    assert path.stat().st_size > 1500 * 3000
    file.close()


def test_closing_folds_the_wal_into_the_file_beside_an_idle_reader(path: Path, plan: Plan) -> None:
    file = JournalFile.create(path, plan, RUN)
    file.save([Slowed(1.0, "k", "text")])
    reader = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)
    reader.execute("SELECT count(*) FROM event").fetchone()
    file.close()
    assert path.with_name(f"{path.name}-wal").stat().st_size == 0
    reader.close()
    assert len(read_journal(path).events) == 1
