"""A journal from which nothing can be told: what it is called, and what is named instead."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest

from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan
from fleet.journal.errors import JournalError
from fleet.journal.lock import RunLock
from fleet.journal.lost import PLAN, JournalLost, unreadable
from fleet.journal.reader import JournalReader
from fleet.journal.runs import JOURNAL, create_run_dir, is_run_dir, list_runs
from fleet.journal.sqlite import JournalFile

RUN = "20261130-081500-k3f9"


@pytest.fixture
def folder(tmp_path: Path, make_plan: Callable[[int], Plan]) -> Path:
    """The folder of a run that was killed before it did anything."""
    plan = make_plan(100)  # takes some pages
    made = create_run_dir(tmp_path, RUN)
    (made / PLAN).write_bytes(dump_plan(plan))
    JournalFile.create(made / JOURNAL, plan, RUN).close()
    return made


def overwrite(content: bytes) -> Callable[[Path], object]:
    return lambda journal: journal.write_bytes(content)


def cut(journal: Path) -> None:
    """What is left begins as a journal does."""
    journal.write_bytes(journal.read_bytes()[:8192])


def all_but_the_beginning(journal: Path) -> None:
    data = journal.read_bytes()
    journal.write_bytes(data[:8192].ljust(len(data), b"\xff"))


DAMAGE: dict[str, Callable[[Path], object]] = {
    "deleted": Path.unlink,
    "empty": overwrite(b""),
    "rubbish": overwrite(b"rubbish " * 5000),
    "rubbish behind the first words": overwrite(b"SQLite format 3\x00" + b"\xff" * 5000),
    "cut": cut,
    "rubbish in the plan": all_but_the_beginning,
}


def refusal(journal: Path) -> JournalError:
    with pytest.raises(JournalError) as caught, JournalReader(journal) as reader:
        assert reader.plan.digest
    return caught.value


@pytest.mark.row(47)
@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_journal_that_tells_nothing_is_lost_and_the_way_out_is_named(
    folder: Path, damage: Callable[[Path], object]
) -> None:
    damage(folder / JOURNAL)
    refused = refusal(folder / JOURNAL)
    assert isinstance(refused, JournalLost)
    assert str(refused).startswith(f"{folder / JOURNAL}: ")
    assert str(refused).endswith(f"; see what the run left with: fleet recover {RUN}")
    assert "\n" not in str(refused)
    (listed,) = list_runs(folder.parent)
    assert (listed.run, listed.job, listed.state, listed.counts) == (RUN, "torch", "journal lost", {})


@pytest.mark.parametrize("rest", [None, b"", b'{\n"format": 1,\n"job": "torch",\n"chan'])
def test_without_a_whole_plan_there_is_nothing_to_recover(folder: Path, rest: bytes | None) -> None:
    (folder / JOURNAL).unlink()
    (folder / PLAN).unlink()
    if rest is not None:  # nothing was sent before it was written
        (folder / PLAN).write_bytes(rest)
    refused = refusal(folder / JOURNAL)
    assert not isinstance(refused, JournalLost)
    assert str(refused).endswith("there is no journal; see the runs with: fleet runs")
    assert list_runs(folder.parent) == []


def test_the_journal_of_a_run_that_somebody_works_on_is_not_called_lost(folder: Path) -> None:
    (folder / JOURNAL).write_bytes(b"")
    lock = RunLock(folder)
    try:
        assert not isinstance(refusal(folder / JOURNAL), JournalLost)
    finally:
        lock.release()


@pytest.mark.parametrize("code", [sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_BUSY, sqlite3.SQLITE_IOERR_READ])
def test_a_journal_that_cannot_be_read_by_us_or_now_is_not_called_lost(folder: Path, code: int) -> None:
    error = sqlite3.OperationalError("not for you")
    error.sqlite_errorcode = code
    refused = unreadable(folder / JOURNAL, "cannot be read", error)
    assert not isinstance(refused, JournalLost)
    assert str(refused) == f"{folder / JOURNAL}: cannot be read: not for you"


def test_a_working_folder_with_a_plan_is_no_run(tmp_path: Path, plan: Plan) -> None:
    (tmp_path / PLAN).write_bytes(dump_plan(plan))
    assert not is_run_dir(tmp_path)


def test_a_plan_that_names_no_job_leaves_the_name_empty(folder: Path) -> None:
    (folder / JOURNAL).unlink()
    (folder / PLAN).write_bytes(b"\xff nonsense }")
    (listed,) = list_runs(folder.parent)
    assert (listed.job, listed.state) == ("", "journal lost")
