"""Whoever only looks cannot keep an event from the disk, and a writer that breaks keeps nobody waiting."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pytest

from fleet.core.events import Event, Slowed
from fleet.core.planning.plan import Plan
from fleet.journal.errors import JournalWriteError
from fleet.journal.lock import is_locked
from fleet.journal.reader import read_journal
from fleet.journal.sqlite import JournalFile
from fleet.journal.tally import Tally
from fleet.journal.writer import InlineJournal, Journal

Make = type[Journal] | type[InlineJournal]

RUN = "20261130-081500-k3f9"
PATIENCE = 5.0  # s, where a mistake would wait for ever


def event(number: int) -> Event:
    return Slowed(float(number), "key", str(number))


class Broken:
    """A gauge that cannot tell what it counted."""

    def apply(self, event: Event) -> None:
        pass

    def dump(self, items: Collection[int]) -> Mapping[str, Any]:
        raise RuntimeError("no balance")


class Eager(JournalFile):
    """A file for which a balance is due with every event."""

    def keep_balance(self, *, now: bool = False) -> None:
        super().keep_balance(now=True)


class Miscounted(Tally):
    """A tally that counts the number of an event, and no more."""

    def take(self, event: Event) -> None:
        self.seq += 1
        raise RuntimeError("no such item")


class Breaking(JournalFile):
    """A file whose writer breaks down after the first event."""

    def keep_balance(self, *, now: bool = False) -> None:
        if not now:
            raise RuntimeError("the writer broke")


class Refusing(JournalFile):
    """A file that takes no event, for a reason that is not the disk's."""

    def insert(self, events: object) -> None:
        raise TypeError("no such event")


async def commit(journal: Journal | InlineJournal, number: int) -> None:
    async with asyncio.timeout(PATIENCE):
        await journal.commit(event(number))


@pytest.mark.parametrize("broken", ["gauge", "tally"])
async def test_an_error_in_the_balance_costs_the_balance_and_no_event(
    kind: Make, path: Path, plan: Plan, broken: str
) -> None:
    file = Eager.create(path, plan, RUN)
    if broken == "tally":
        file.tally = Miscounted.of(plan)
    journal = kind(file)
    journal.balance_by(Broken())
    for number in range(3):
        await commit(journal, number)
    journal.close()
    assert (read_journal(path).events, journal.unsaved) == (tuple(map(event, range(3))), ())
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT count(*) FROM balance").fetchone() == (0,)
    connection.close()


async def test_a_writer_that_breaks_fails_whoever_waits_and_gives_the_run_free(
    path: Path, plan: Plan
) -> None:
    journal = Journal(Breaking.create(path, plan, RUN))
    await commit(journal, 1)
    for number in (2, 3):
        with pytest.raises(JournalWriteError, match=f"the writer broke; .*fleet resume {RUN}"):
            await commit(journal, number)
    journal.note(event(4))
    async with asyncio.timeout(PATIENCE):
        await asyncio.to_thread(journal.close)
    assert journal.unsaved == (event(2), event(3), event(4))
    assert read_journal(path).events == (event(1),)
    assert not is_locked(path.parent)


async def test_an_event_that_cannot_be_written_for_any_reason_is_kept_as_unsaved(
    kind: Make, path: Path, plan: Plan
) -> None:
    journal = kind(Refusing.create(path, plan, RUN))
    with pytest.raises(JournalWriteError, match="no such event"):
        await commit(journal, 1)
    journal.close()
    assert journal.unsaved == (event(1),)
