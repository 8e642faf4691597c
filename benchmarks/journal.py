"""What the journal costs: CPU of both its threads for each row, how long a commit takes, its share of a run.

The events are those of untroubled changes (`story`). "Commits" waits for every single row, from so many
tasks at once; "notes" waits for none but the last; "paced" is a run as the engine records it, at one rate.
Closing the file, with the last checkpoint, is always part of the cost. TMPDIR says where the files lie.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from statistics import median

from benchmarks.harness import Client, Result, Sample, Stopwatch, at_most, conditions, interleave, summarize
from benchmarks.story import EVENTS, REQUESTS, plan, story, waits
from fleet.core.events import ChangeEvent, Event, dump_event
from fleet.engine.ports import Recorder
from fleet.journal.filesystem import mount_type
from fleet.journal.writer import Journal

RUN = "20260101-000000-b0b0"
COMMITTERS = (1, 10, 50, 400)
GOAL, GOAL_AT = 0.03, "paced, 200 requests/s"  # CPU over the wall time of the run

LINES, NOTES = "JSON lines, fsync a row", "notes"
# How many changes begin in a second.
PACES = {GOAL_AT: 200 / REQUESTS, "paced, 200 changes/s": 200.0}


class Nowhere:
    """A recorder that keeps nothing: what is left is the cost of the paced run itself."""

    async def commit(self, event: Event) -> None:
        pass

    def note(self, event: Event) -> None:
        pass

    def close(self) -> None:
        pass


def run(*, quick: bool) -> Result:
    """Writes a journal for every client in every round."""
    rounds, changes, seconds, lasts = (2, 10, 0.15, 0.1) if quick else (7, 800, 3.0, 1.0)
    clients: dict[str, Client] = {
        LINES: partial(write_lines, min(changes, 100)),
        NOTES: partial(note_all, changes),
    }
    for committers in COMMITTERS:
        size = max(committers, min(changes, committers * 5))  # a lone commit waits for company in vain
        clients[commits(committers)] = partial(commit_all, size, committers)
    for name, pace in PACES.items():
        clients[name] = partial(pay_extra, pace, seconds, lasts)
    samples = interleave(clients, rounds)
    bases = (LINES, commits(1))
    table = [summarize(name, samples, [base for base in bases if base != name]) for name in clients]
    share = median(one.cpu / one.wall for one in samples[GOAL_AT])
    checks = [at_most(f"{GOAL_AT}: CPU over wall time", share, GOAL)]
    facts = conditions(["notebook-fleet", "msgspec"], rounds=rounds, quick=quick, file_system=file_system())
    return Result("journal", facts, table, checks)


def commits(committers: int) -> str:
    return f"commits, {committers} at once"


@contextmanager
def new_journal(changes: int) -> Iterator[Journal]:
    """An empty journal for a plan of so many changes, gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        journal = Journal.create(Path(folder) / "journal.db", plan(changes), RUN)
        try:
            yield journal
        finally:
            journal.close()


def stories(changes: int) -> Sequence[Sequence[ChangeEvent]]:
    return [story(item) for item in range(changes)]


def write_lines(changes: int) -> Sample:
    """The simplest durable log: no checksum, no fold, no table, one writer."""
    events = [event for told in stories(changes) for event in told]
    with tempfile.TemporaryFile(buffering=0) as file:
        watch = Stopwatch()
        for event in events:
            file.write(dump_event(event) + b"\n")
            os.fsync(file.fileno())
        return watch.stop(len(events))


def note_all(changes: int) -> Sample:
    """Leaves every event for the next batch and waits for the last one, which waits for all."""

    async def note(journal: Journal) -> Sample:
        *others, last = (event for told in stories(changes) for event in told)
        watch = Stopwatch()
        for event in others:
            journal.note(event)
        await journal.commit(last)
        journal.close()
        return watch.stop(len(others) + 1)

    with new_journal(changes) as journal:
        return asyncio.run(note(journal))


def commit_all(changes: int, committers: int) -> Sample:
    """`committers` tasks take one change after the other and wait for each of its events."""

    async def commit_together(journal: Journal) -> Sample:
        waited: list[float] = []
        left = iter(stories(changes))
        watch = Stopwatch()
        async with asyncio.TaskGroup() as group:
            for _ in range(committers):
                group.create_task(commit(journal, left, waited))
        journal.close()
        return watch.stop(changes * EVENTS, waited)

    with new_journal(changes) as journal:
        return asyncio.run(commit_together(journal))


async def commit(journal: Journal, left: Iterator[Sequence[ChangeEvent]], waited: list[float]) -> None:
    for told in left:
        for event in told:
            await commit_timed(journal, event, waited)


async def commit_timed(recorder: Recorder, event: Event, waited: list[float]) -> None:
    began = time.perf_counter()
    await recorder.commit(event)
    waited.append(time.perf_counter() - began)


def pay_extra(pace: float, seconds: float, lasts: float) -> Sample:
    """What the journal adds to the CPU of a paced run, over the same run without one.

    The wall time is the one that the pace allows for so many changes.
    """
    changes = round(pace * seconds)
    bare = asyncio.run(play(Nowhere(), changes, pace, lasts))
    with new_journal(changes) as journal:
        full = asyncio.run(play(journal, changes, pace, lasts))
    return Sample(full.count, full.cpu - bare.cpu, changes / pace, full.waits)


async def play(recorder: Nowhere | Journal, changes: int, pace: float, lasts: float) -> Sample:
    """`pace` changes begin in a second and each lasts `lasts` seconds, its events evenly spread."""
    waited: list[float] = []
    told = stories(changes)
    watch, began = Stopwatch(), asyncio.get_running_loop().time()
    async with asyncio.TaskGroup() as group:
        for number, events in enumerate(told):
            group.create_task(perform(recorder, events, began + number / pace, lasts / EVENTS, waited))
    recorder.close()
    return watch.stop(changes * EVENTS, waited)


async def perform(
    recorder: Recorder, events: Sequence[ChangeEvent], begin: float, gap: float, waited: list[float]
) -> None:
    """Records the events of one change as the engine does, `gap` seconds from one to the next."""
    loop = asyncio.get_running_loop()
    for number, event in enumerate(events):
        await asyncio.sleep(max(0.0, begin + number * gap - loop.time()))
        if waits(event):
            await commit_timed(recorder, event, waited)
        else:
            recorder.note(event)


def file_system() -> str:
    """The type of the file system that the journals lie on: on one in memory a sync costs nothing."""
    device = os.stat(tempfile.gettempdir()).st_dev
    try:
        mounts = Path("/proc/self/mountinfo").read_text("utf-8", "replace")
    except OSError:
        return "unknown"
    return mount_type(mounts, f"{os.major(device)}:{os.minor(device)}") or "unknown"
