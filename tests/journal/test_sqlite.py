"""How the file is written: synced, and never checkpointed behind our back."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from fleet.core.changing.sight import Sight
from fleet.core.errors import UsageError
from fleet.core.events import Began, Ended, Event, Outcome, RunEnd, RunEnded, Saw, Slowed
from fleet.core.fold import RunState
from fleet.core.notebook import Status
from fleet.core.planning.plan import Plan
from fleet.journal.errors import JournalError
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


def test_a_run_that_is_refused_when_it_is_reopened_stays_as_it_is_and_free(path: Path, plan: Plan) -> None:
    JournalFile.create(path, plan, RUN).close()
    before = path.read_bytes()
    seen: list[RunState] = []

    def refuse(state: RunState) -> None:
        seen.append(state)
        raise UsageError("not this one")

    with pytest.raises(UsageError, match="not this one"):
        JournalFile.reopen(path, refuse)
    assert [state.plan for state in seen] == [plan]
    assert path.read_bytes() == before
    JournalFile.reopen(path).close()


def drifted(item: int) -> list[Event]:
    """A change whose notebook no longer is as planned."""
    seen = Sight(Status.RUNNING, {"image_id": "another"})
    return [Began(item, 1.0), Saw(item, 2.0, seen), Ended(item, 3.0, Outcome.DRIFTED)]


@pytest.mark.parametrize("ended", [True, False])
def test_a_journal_that_is_reopened_knows_what_has_ended_and_what_is_open(
    path: Path, plan: Plan, ended: bool
) -> None:
    """The final counts are told only when nothing is open."""
    file = JournalFile.create(path, plan, RUN)
    file.save([*drifted(0), *drifted(1)[:2]])
    file.close()
    file = JournalFile.reopen(path)
    file.save([*drifted(1)[2 if ended else 3 :], RunEnded(5.0, RunEnd.HALTED)])
    file.close()
    found = read_journal(path).meta.get("final")
    assert (found is not None) == ended
    if found is not None:
        counts = {outcome: number for outcome, number in found["counts"].items() if number}
        assert counts == {"drifted": 2, "unchanged": 1, "not-started": 1}


@pytest.mark.parametrize(
    "altered",
    ["key = 'plam'", "value = CAST(value AS TEXT)", "value = substr(value, 1, 99)", "crc = crc + 1"],
)
def test_meta_data_that_was_altered_is_not_believed(path: Path, plan: Plan, altered: str) -> None:
    JournalFile.create(path, plan, RUN).close()
    connection = sqlite3.connect(path)
    connection.execute(f"UPDATE meta SET {altered} WHERE key = 'plan'")  # noqa: S608 - our own words
    connection.commit()
    connection.close()
    with pytest.raises(JournalError, match="the plan in it is damaged"):
        read_journal(path)
