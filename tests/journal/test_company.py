"""When commits are written: after enough of them wait, or a moment; never only because time goes by."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

import pytest

from fleet.core.events import Event, Slowed
from fleet.core.planning.plan import Plan
from fleet.journal import writer
from fleet.journal.reader import read_journal
from fleet.journal.sqlite import JournalFile
from fleet.journal.writer import ENOUGH, FULL, Journal

RUN = "20261130-081500-k3f9"
PATIENCE = 5.0  # s, where a mistake would wait for ever
LONG = 3600.0
EVENT = Slowed(1.0, "key", "text")


class Watched(JournalFile):
    """A file that tells of each transaction and waits until it may go on."""

    sizes: list[int]
    begun: threading.Event
    may_go_on: threading.Event

    def insert(self, events: Sequence[Event]) -> None:
        self.sizes.append(len(events))
        self.begun.set()
        self.may_go_on.wait(PATIENCE)
        super().insert(events)


@pytest.fixture
def file(path: Path, plan: Plan) -> Watched:
    file = Watched.create(path, plan, RUN)
    file.sizes, file.begun, file.may_go_on = [], threading.Event(), threading.Event()
    file.may_go_on.set()
    return file


@pytest.fixture
def opened(file: Watched, monkeypatch: pytest.MonkeyPatch) -> Callable[[float], Journal]:
    """Opens a journal with so much time for company, which writes nothing only because time goes by."""

    def opened(company: float) -> Journal:
        monkeypatch.setattr(writer, "COMPANY", company)
        monkeypatch.setattr(writer, "NOTE_DELAY", LONG)
        return Journal(file)

    return opened


async def in_time(*commits: Awaitable[None]) -> None:
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*commits)


async def test_the_first_commit_after_a_while_waits_for_nobody(opened: Callable[[float], Journal]) -> None:
    journal = opened(LONG)
    await in_time(journal.commit(EVENT))
    journal.close()


async def test_enough_commits_are_written_at_once(opened: Callable[[float], Journal], file: Watched) -> None:
    journal = opened(LONG)
    await in_time(journal.commit(EVENT))
    await in_time(*(journal.commit(EVENT) for _ in range(ENOUGH)))
    journal.close()
    assert file.sizes == [1, ENOUGH]


async def test_fewer_commits_wait_for_company(opened: Callable[[float], Journal], file: Watched) -> None:
    journal = opened(LONG)
    await in_time(journal.commit(EVENT))
    file.begun.clear()
    few = [asyncio.create_task(journal.commit(EVENT)) for _ in range(ENOUGH - 1)]
    await asyncio.sleep(0)
    assert not await asyncio.to_thread(file.begun.wait, 0.1)
    await in_time(journal.commit(EVENT), *few)
    journal.close()
    assert file.sizes == [1, ENOUGH]


async def test_few_commits_wait_no_longer_than_for_company(opened: Callable[[float], Journal]) -> None:
    journal = opened(0.02)
    for _ in range(3):
        await in_time(journal.commit(EVENT), journal.commit(EVENT))
    journal.close()


@pytest.mark.parametrize(("company", "late"), [(LONG, ENOUGH), (LONG, 2 * ENOUGH), (0.02, 1)])
async def test_commits_during_a_transaction_are_written_together_after_it(
    opened: Callable[[float], Journal], file: Watched, company: float, late: int
) -> None:
    journal = opened(company)
    file.may_go_on.clear()
    first = asyncio.create_task(journal.commit(EVENT))
    assert await asyncio.to_thread(file.begun.wait, PATIENCE)
    others = [asyncio.create_task(journal.commit(EVENT)) for _ in range(late)]
    await asyncio.sleep(0)
    file.may_go_on.set()
    await in_time(first, *others)
    journal.close()
    assert file.sizes == [1, late]


async def test_what_is_only_noted_is_written_when_it_is_much(
    opened: Callable[[float], Journal], file: Watched, path: Path
) -> None:
    journal = opened(LONG)
    for _ in range(FULL - 1):
        journal.note(EVENT)
    assert not file.begun.is_set()
    journal.note(EVENT)
    assert await asyncio.to_thread(file.begun.wait, PATIENCE)
    journal.close()
    assert file.sizes == [FULL]
    assert len(read_journal(path).events) == FULL


async def test_a_transaction_of_notes_takes_waiting_commits_along(
    opened: Callable[[float], Journal], file: Watched
) -> None:
    journal = opened(LONG)
    await in_time(journal.commit(EVENT))
    lone = asyncio.create_task(journal.commit(EVENT))
    await asyncio.sleep(0)
    for _ in range(FULL - 1):
        journal.note(EVENT)
    await in_time(lone)
    await in_time(*(journal.commit(EVENT) for _ in range(ENOUGH)))
    journal.close()
    assert file.sizes == [1, FULL, ENOUGH]
