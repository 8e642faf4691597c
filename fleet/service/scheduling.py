"""Runs jobs when their times come: as long as the process lives, or once for what is due.

Every run is a process of its own (`Starter`), so that nothing that happens to it ends the others. The
diary is asked and told around each, so that no time is used twice, no job runs beside itself, and a run
that was killed is taken up.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import anyio

from fleet.client.clock import Clock
from fleet.core.errors import FleetError
from fleet.core.scheduling.schedule import Due, Schedule
from fleet.service.diary import Diary, Entry

NAP = 60.0  # s; the wall clock may be set, so nobody sleeps long


@dataclass(frozen=True, slots=True)
class Ended:
    """How a run ended; `run` is empty when it never got an id."""

    run: str
    exit: int


@dataclass(frozen=True, slots=True)
class Task:
    """A job file with its schedule and its diary."""

    file: Path
    job: str
    schedule: Schedule
    diary: Diary


class Starter(Protocol):
    """Runs a job to its end."""

    async def __call__(self, task: Task, lock: int, again: str, named: Callable[[str], None]) -> Ended:
        """`again` is a run that was killed and shall be resumed, empty for a new one.

        The process of the run must hold `lock` too: it may outlive us. `named` is told the id of a new run.
        Raises FleetError when no process can be started.
        """
        ...


Tell = Callable[[str], None]


async def keep(tasks: Sequence[Task], clock: Clock, start: Starter, tell: Tell, ending: anyio.Event) -> None:
    """Runs every task whenever its time comes, until `ending` is set; runs under way are waited for."""
    async with anyio.create_task_group() as group:
        for task in tasks:
            group.start_soon(_keep_one, task, clock, start, tell, ending)


async def once(
    tasks: Sequence[Task], clock: Clock, start: Starter, tell: Tell, ending: anyio.Event
) -> list[Ended]:
    """Runs what has come due since the last time recorded, one after the other, until `ending` is set."""
    found: list[Ended] = []
    for task in tasks:
        if not ending.is_set():
            found += await _serve(task, clock, start, tell)
    return found


async def _keep_one(task: Task, clock: Clock, start: Starter, tell: Tell, ending: anyio.Event) -> None:
    while not ending.is_set():
        try:
            await _serve(task, clock, start, tell)
            next_time = task.schedule.next(clock.wall())[0]
        except Exception as error:  # of this task only: the others go on, and it is tried again
            tell(
                f"{task.job}: {error if isinstance(error, FleetError) else f'an error of our own: {error!r}'}"
            )
            next_time = clock.wall() + NAP
        while (left := next_time - clock.wall()) > 0 and not ending.is_set():
            with anyio.move_on_after(min(left, NAP)):
                await ending.wait()


async def _serve(task: Task, clock: Clock, start: Starter, tell: Tell) -> list[Ended]:
    """Deals with what was broken off and what is due of one task."""
    if task.diary.last() is None:
        task.diary.add(Entry(clock.wall(), clock.wall(), "watched from now on"))
        return []
    if _due(task, clock) is None and task.diary.broken_off() is None:
        return []
    with task.diary.alone() as lock:
        # Read under the lock: who held it until now may have used the time.
        due, broken = _due(task, clock), task.diary.broken_off()
        if lock is None:
            if due is not None:
                _leave_out(task, due, clock, tell, "skipped: still running")
            return []
        ended = []
        if broken is not None:
            ended.append(await _run(task, broken.due, clock, start, tell, lock, again=broken.run))
            due = _due(task, clock)
        if due is not None and due.run:
            ended.append(await _run(task, due.at, clock, start, tell, lock, note=_begun(due)))
        elif due is not None:
            _leave_out(task, due, clock, tell, "missed: nobody was there in time")
        return ended


def _due(task: Task, clock: Clock) -> Due | None:
    since = task.diary.last()
    return None if since is None else task.schedule.due(since, clock.wall())


async def _run(
    task: Task,
    at: float,
    clock: Clock,
    start: Starter,
    tell: Tell,
    lock: int,
    *,
    note: str = "",
    again: str = "",
) -> Ended:
    """One run for the time `at`, and the times that come meanwhile: those are used up, as the job ran."""
    if again:
        tell(f"{task.job}: run {again} was broken off and is taken up")
    else:
        task.diary.add(Entry(at, clock.wall(), note))
        tell(f"{task.job}: begins")
    ended = await start(task, lock, again, partial(_named, task, at, clock))
    task.diary.add(Entry(at, clock.wall(), "ended", ended.run or again, ended.exit))
    tell(f"{task.job}: run {ended.run or '(none)'} ended with exit code {ended.exit}")
    overlapped = task.schedule.due(at, clock.wall()) if not again else None
    if overlapped is not None:
        _leave_out(task, overlapped, clock, tell, "skipped: still running")
    return ended


def _named(task: Task, at: float, clock: Clock, run: str) -> None:
    task.diary.add(Entry(at, clock.wall(), "under way", run))


def _leave_out(task: Task, due: Due, clock: Clock, tell: Tell, why: str) -> None:
    task.diary.add(Entry(due.at, clock.wall(), why))
    tell(f"{task.job}: {why}")


def _begun(due: Due) -> str:
    if not due.missed:
        return "begun"
    return f"begun; {due.missed} earlier {'time was' if due.missed == 1 else 'times were'} missed"
