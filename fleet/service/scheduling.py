"""Runs jobs when their times come: as long as the process lives, or once for what is due.

Every run is a process of its own (`Starter`), so that nothing that happens to it ends the others. The
diary is asked and told around each, so that no time is used twice and no job runs twice at a time.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from fleet.client.clock import Clock
from fleet.core.errors import FleetError
from fleet.core.schedule import Due, Schedule
from fleet.service.diary import Diary, Entry

NAP = 60.0  # s; the wall clock may be set, so nobody sleeps long


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; `run` is empty when it never got an id."""

    run: str
    exit: int


Starter = Callable[["Task"], Awaitable[Ended]]
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Task:
    """A job file with its schedule and its diary."""

    file: Path
    job: str
    schedule: Schedule
    diary: Diary


async def keep(tasks: Sequence[Task], clock: Clock, start: Starter, tell: Tell, ending: anyio.Event) -> None:
    """Runs every task whenever its time comes, until `ending` is set; runs under way are waited for."""
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(_keep_one, task, clock, start, tell, ending)


async def once(tasks: Sequence[Task], clock: Clock, start: Starter, tell: Tell) -> list[Ended]:
    """Runs what has come due since the last time recorded, one after the other."""
    found = [await _serve(task, clock, start, tell) for task in tasks]
    return [ended for ended in found if ended is not None]


async def _keep_one(task: Task, clock: Clock, start: Starter, tell: Tell, ending: anyio.Event) -> None:
    while not ending.is_set():
        try:
            await _serve(task, clock, start, tell)
            next_time = task.schedule.next(clock.wall())[0]
        except FleetError as error:  # of this task only: the others go on, and it is tried again
            tell(f"{task.job}: {error}")
            next_time = clock.wall() + NAP
        while (left := next_time - clock.wall()) > 0 and not ending.is_set():
            with anyio.move_on_after(min(left, NAP)):
                await ending.wait()


async def _serve(task: Task, clock: Clock, start: Starter, tell: Tell) -> Ended | None:
    """Deals with what is due of one task."""
    since = task.diary.last()
    if since is None:
        task.diary.add(Entry(clock.wall(), clock.wall(), "watched from now on"))
        return None
    due = task.schedule.due(since, clock.wall())
    if due is None:
        return None
    with task.diary.alone() as alone:
        now = clock.wall()
        if not alone or not due.run:
            why = "missed: nobody was there in time" if alone else "skipped: still running"
            task.diary.add(Entry(due.at, now, why))
            tell(f"{task.job}: {why}")
            return None
        task.diary.add(Entry(due.at, now, _begun(due)))
        tell(f"{task.job}: begins")
        ended = await start(task)
        task.diary.add(Entry(due.at, clock.wall(), "ended", ended.run, ended.exit))
        tell(f"{task.job}: run {ended.run or '(none)'} ended with exit code {ended.exit}")
        _skip_overlapped(task, due, clock.wall(), tell)
        return ended


def _begun(due: Due) -> str:
    return f"begun; {due.missed} earlier times were missed" if due.missed else "begun"


def _skip_overlapped(task: Task, due: Due, now: float, tell: Tell) -> None:
    """The times that came while the run went on are used up: the job ran."""
    overlapped = task.schedule.due(due.at, now)
    if overlapped is not None:
        task.diary.add(Entry(overlapped.at, now, "skipped: still running"))
        tell(f"{task.job}: skipped a time that came while it was still running")
