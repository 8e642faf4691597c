"""What both journals promise, whoever's thread does the writing."""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pytest

from fleet.core.errors import Exit, RecordingFailed
from fleet.core.events import (
    Began,
    Ended,
    Event,
    Intended,
    Outcome,
    RunEnd,
    RunEnded,
    RunStarted,
    Slowed,
    Step,
)
from fleet.core.planning.plan import Plan
from fleet.journal.errors import JournalBusy, JournalError, JournalWriteError
from fleet.journal.reader import read_journal
from fleet.journal.sqlite import JournalFile
from fleet.journal.writer import InlineJournal, Journal

Make = type[Journal] | type[InlineJournal]
RUN = "20261130-081500-k3f9"


@pytest.fixture
def journal(kind: Make, path: Path, plan: Plan) -> Iterator[Journal | InlineJournal]:
    journal = kind.create(path, plan, RUN)
    yield journal
    journal.close()


async def test_a_committed_event_and_all_noted_before_it_are_on_disk(
    journal: Journal | InlineJournal, path: Path, history: list[Event]
) -> None:
    for event in history[:5]:
        journal.note(event)
    await journal.commit(history[5])
    assert list(read_journal(path).events) == history[:6]


async def test_what_was_noted_is_on_disk_after_close(
    kind: Make, path: Path, plan: Plan, history: list[Event]
) -> None:
    journal = kind.create(path, plan, RUN)
    for event in history:
        journal.note(event)
    journal.close()
    journal.close()
    contents = read_journal(path)
    assert list(contents.events) == history
    assert contents.damage == ()
    assert contents.plan == plan


async def test_the_order_is_that_of_the_calls_whoever_waits(
    journal: Journal | InlineJournal, path: Path
) -> None:
    async def one(number: int) -> None:
        journal.note(Slowed(float(number), "note", str(number)))
        await journal.commit(Slowed(float(number), "commit", str(number)))

    await asyncio.gather(*(one(number) for number in range(50)))
    texts = [event.text for event in read_journal(path).events if isinstance(event, Slowed)]
    assert texts == [str(number) for number in range(50) for _ in range(2)]


@pytest.mark.row(69)
async def test_a_cancelled_commit_is_written_and_disturbs_nobody(
    journal: Journal | InlineJournal, path: Path
) -> None:
    async def commit(number: int) -> None:
        await journal.commit(Slowed(1.0, "k", str(number)))

    tasks = [asyncio.create_task(commit(number)) for number in range(3)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert [event.text for event in read_journal(path).events if isinstance(event, Slowed)] == ["0", "1", "2"]


async def test_closing_keeps_the_final_counts(
    kind: Make, path: Path, plan: Plan, history: list[Event]
) -> None:
    journal = kind.create(path, plan, RUN)
    assert "final" not in read_journal(path).meta
    for event in history:
        await journal.commit(event)
    journal.close()
    final = read_journal(path).meta["final"]
    assert (final["end"], final["started_at"], final["finished_at"]) == ("finished", 1001.0, 1200.0)
    assert final["counts"]["changed"] == 3
    assert final["counts"]["unchanged"] == 1
    assert final["events"] == len(history)


async def test_a_run_that_goes_on_is_appended_to(
    kind: Make, path: Path, plan: Plan, history: list[Event]
) -> None:
    journal = kind.create(path, plan, RUN)
    for event in history[:10]:
        await journal.commit(event)
    await journal.commit(RunEnded(1100.0, RunEnd.INTERRUPTED))
    journal.close()
    again = kind.open_for_append(path)
    assert "final" not in read_journal(path).meta
    more: list[Event] = [RunStarted(2000.0, RUN, plan.digest), *history[10:]]
    for event in more:
        again.note(event)
    again.close()
    contents = read_journal(path)
    assert list(contents.events) == [*history[:10], RunEnded(1100.0, RunEnd.INTERRUPTED), *more]
    assert contents.meta["final"]["counts"]["changed"] == 3
    assert contents.meta["final"]["end"] == "finished"


@pytest.mark.row(56)
async def test_a_second_writer_is_refused_until_the_first_has_closed(
    kind: Make, path: Path, plan: Plan
) -> None:
    journal = kind.create(path, plan, RUN)
    with pytest.raises(JournalBusy, match="another process"):
        kind.open_for_append(path)
    journal.close()
    kind.open_for_append(path).close()


async def test_a_closed_journal_takes_nothing(kind: Make, path: Path, plan: Plan) -> None:
    journal = kind.create(path, plan, RUN)
    journal.close()
    with pytest.raises(JournalError, match="closed"):
        journal.note(Began(0, 1.0))
    with pytest.raises(JournalError, match="closed"):
        await journal.commit(Began(0, 1.0))


def test_an_existing_journal_is_never_written_over(kind: Make, path: Path, plan: Plan) -> None:
    kind.create(path, plan, RUN).close()
    before = path.read_bytes()
    with pytest.raises(JournalError, match="there already"):
        kind.create(path, plan, RUN)
    assert path.read_bytes() == before


def test_a_journal_needs_a_folder(kind: Make, tmp_path: Path, plan: Plan) -> None:
    with pytest.raises(JournalError, match="--run-dir"):
        kind.create(tmp_path / "nowhere" / "journal.db", plan, RUN)


async def test_text_that_has_no_utf8_form_is_recorded_all_the_same(
    journal: Journal | InlineJournal, path: Path
) -> None:
    await journal.commit(Ended(0, 1.0, Outcome.FAILED, "name \ud800"))
    (event,) = read_journal(path).events
    assert event == Ended(0, 1.0, Outcome.FAILED, "name ?")


class FullDisk(JournalFile):
    """A disk on which only `room` more events fit, and `ballast_room` more once the ballast is gone."""

    room = 2
    ballast_room = 2

    def insert(self, events: Sequence[Event]) -> None:
        if not self.path.with_suffix(".ballast").exists():
            self.room, self.ballast_room = self.room + self.ballast_room, 0
        if len(events) > self.room:
            raise sqlite3.OperationalError("database or disk is full")
        self.room -= len(events)
        super().insert(events)


@pytest.mark.row(45)
async def test_a_full_disk_fails_the_commit_at_hand_and_all_later_ones(
    kind: Make, path: Path, plan: Plan
) -> None:
    journal = kind(FullDisk.create(path, plan, RUN))
    await journal.commit(Slowed(1.0, "k", "1"))
    await journal.commit(Slowed(2.0, "k", "2"))
    for number in (3, 4, 5, 6):
        with pytest.raises(JournalWriteError, match=f"disk is full.*fleet resume {RUN}") as caught:
            await journal.commit(Slowed(float(number), "k", str(number)))
        assert isinstance(caught.value, RecordingFailed)
        assert caught.value.exit is Exit.INTERRUPTED
    journal.close()
    written = [event.text for event in read_journal(path).events if isinstance(event, Slowed)]
    assert written == ["1", "2", "3", "4"]  # the last two thanks to the ballast
    assert [event.text for event in journal.unsaved if isinstance(event, Slowed)] == ["5", "6"]


class RoomyDisk(FullDisk):
    ballast_room = 100


@pytest.mark.row(45)
async def test_the_room_that_is_left_is_not_used_up_by_a_log_that_only_grows(path: Path, plan: Plan) -> None:
    """Each event apart takes pages of the WAL, which begins anew with the first of them."""
    journal = InlineJournal(RoomyDisk.create(path, plan, RUN))
    for number in range(50):
        with contextlib.suppress(JournalWriteError):
            await journal.commit(Slowed(float(number), "k", "x" * 500))
    log = path.with_name(f"{path.name}-wal").stat().st_size
    assert log < 20 * 4096
    journal.close()
    assert sum(isinstance(event, Slowed) for event in read_journal(path).events) == 50


async def test_after_a_failure_a_commit_fails_without_waiting_for_the_disk(
    kind: Make, path: Path, plan: Plan
) -> None:
    journal = kind(FullDisk.create(path, plan, RUN))
    await journal.commit(Slowed(1.0, "k", "0"))
    await journal.commit(Slowed(1.0, "k", "1"))
    with pytest.raises(JournalWriteError):
        await journal.commit(Slowed(1.0, "k", "2"))
    with pytest.raises(JournalWriteError):
        journal.commit(Slowed(1.0, "k", "3")).send(None)
    journal.close()
    assert len(read_journal(path).events) == 4


async def test_every_waiter_of_a_batch_learns_that_it_failed(kind: Make, path: Path, plan: Plan) -> None:
    journal = kind(FullDisk.create(path, plan, RUN))
    answers = await asyncio.gather(
        *(journal.commit(Intended(0, 1.0, Step.STOP, number)) for number in range(20)), return_exceptions=True
    )
    journal.close()
    assert {type(answer) for answer in answers} <= {JournalWriteError, type(None)}
    assert sum(answer is None for answer in answers) <= 2
    saved = len(read_journal(path).events)
    assert saved == 4
    assert saved + len(journal.unsaved) == 20


async def test_the_ballast_goes_with_the_journal(kind: Make, path: Path, plan: Plan) -> None:
    journal = kind.create(path, plan, RUN)
    assert path.with_suffix(".ballast").stat().st_size == 1 << 20
    journal.close()
    assert sorted(file.name for file in path.parent.iterdir()) == ["journal.db", "lock"]


@pytest.mark.security("modes")
async def test_every_file_is_for_the_owner_only(journal: Journal | InlineJournal, path: Path) -> None:
    await journal.commit(Began(0, 1.0))
    files = {file.name: oct(file.stat().st_mode & 0o777) for file in path.parent.iterdir()}
    assert set(files) == {"journal.db", "journal.db-wal", "journal.db-shm", "journal.ballast", "lock"}
    assert set(files.values()) == {"0o600"}


@pytest.mark.security("modes")
def test_a_link_in_place_of_the_journal_is_refused(
    kind: Make, path: Path, tmp_path: Path, plan: Plan
) -> None:
    path.symlink_to(tmp_path / "elsewhere.db")
    with pytest.raises(JournalError, match="there already"):
        kind.create(path, plan, RUN)
    assert not (tmp_path / "elsewhere.db").exists()


@pytest.mark.row(43)
async def test_thousands_of_commits_share_their_syncs(
    path: Path, make_plan: Callable[[int], Plan], history: list[Event]
) -> None:
    batches: list[int] = []

    class Counting(JournalFile):
        def insert(self, events: Sequence[Event]) -> None:
            batches.append(len(events))
            super().insert(events)

    journal = Journal(Counting.create(path, make_plan(3), RUN))
    await asyncio.gather(*(journal.commit(history[1]) for _ in range(2000)))
    journal.close()
    assert sum(batches) == 2000
    assert len(batches) < 200
