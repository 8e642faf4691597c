"""Jobs that run when their times come: over simulated weeks, with downtime and a change of the clocks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import anyio
import pytest

from fleet.client.clock import Clock
from fleet.core.errors import FleetError
from fleet.core.scheduling.schedule import Missed, Schedule
from fleet.service.diary import Diary, Entry
from fleet.service.scheduling import Ended, Task, keep, once

pytestmark = pytest.mark.looptime

BERLIN = ZoneInfo("Europe/Berlin")
HOUR, DAY = 3600.0, 86_400.0
RUN = "20261120-200000-abcd"


def at(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN).timestamp()


class World:
    """The wall clock from a given moment on, and runs of a given length that are only written down."""

    def __init__(self, begins: str, run_takes: float = HOUR) -> None:
        self.begins = at(begins)
        self.run_takes = run_takes
        self.runs: list[tuple[str, str]] = []
        self.told: list[str] = []
        self.under_way = 0
        self.most_under_way = 0
        self.ending = anyio.Event()
        self.clock = Clock(lambda: asyncio.get_running_loop().time(), self.wall)

    def wall(self) -> float:
        return self.begins + asyncio.get_running_loop().time()

    async def start(self, task: Task, lock: int, again: str, named: Callable[[str], None]) -> Ended:
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        began = datetime.fromtimestamp(self.wall(), BERLIN)
        self.runs.append((again or task.job, f"{began:%a %m-%d %H:%M}"))
        named(RUN)
        await anyio.sleep(self.run_takes)
        self.under_way -= 1
        return Ended(RUN, 0)

    async def once(self, *tasks: Task) -> list[Ended]:
        return await once(tasks, self.clock, self.start, self.told.append, self.ending)

    async def live(self, *tasks: Task, seconds: float) -> None:
        ending = anyio.Event()
        async with anyio.create_task_group() as group:
            group.start_soon(keep, tasks, self.clock, self.start, self.told.append, ending)
            await anyio.sleep(seconds)
            ending.set()


def task(folder: Path, schedule: Schedule, job: str = "nightly") -> Task:
    return Task(folder / f"{job}.yaml", job, schedule, Diary(folder, job))


def notes(task: Task) -> list[str]:
    return [entry.note for entry in task.diary.entries()]


async def test_a_job_runs_at_its_local_times_through_a_change_of_the_clocks(tmp_path: Path) -> None:
    world, nightly = World("2026-03-27T12:00"), task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    await world.live(nightly, seconds=4 * DAY)
    assert [when for _, when in world.runs] == [
        "Fri 03-27 22:00",
        "Sat 03-28 22:00",
        "Sun 03-29 22:00",
        "Mon 03-30 22:00",
    ]


async def test_jobs_run_beside_each_other_but_never_beside_themselves(tmp_path: Path) -> None:
    world = World("2026-11-20T12:00", run_takes=30 * HOUR)
    nightly = task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    other = task(tmp_path, Schedule("0 23 * * *", "Europe/Berlin"), "other")
    await world.live(nightly, other, seconds=3 * DAY)
    assert [run for run in world.runs if run[0] == "nightly"] == [
        ("nightly", "Fri 11-20 22:00"),
        ("nightly", "Sun 11-22 22:00"),
    ]
    assert world.most_under_way == 2
    assert "skipped: still running" in notes(nightly)


async def test_a_second_scheduler_leaves_a_running_job_alone(tmp_path: Path) -> None:
    world, nightly = World("2026-11-20T21:00"), task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    await world.once(nightly)
    await anyio.sleep(HOUR)
    async with anyio.create_task_group() as group:
        group.start_soon(world.once, nightly)
        await anyio.sleep(60)
        again = await world.once(nightly)
    assert again == []
    assert len(world.runs) == 1


async def test_a_time_is_used_once_even_if_its_run_was_killed(tmp_path: Path) -> None:
    world, nightly = World("2026-11-20T21:00"), task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    await world.once(nightly)
    await anyio.sleep(HOUR)
    with anyio.move_on_after(60):  # the process dies
        await world.once(nightly)
    assert notes(nightly)[-2:] == ["begun", "under way"]
    assert await world.once(nightly) == [Ended(RUN, 0)]
    assert await world.once(nightly) == []
    assert [what for what, _ in world.runs] == ["nightly", RUN]  # resumed, not begun anew


@pytest.mark.parametrize(("missed", "runs"), [(Missed.SKIP, 0), (Missed.RUN, 1)])
async def test_times_that_nobody_was_there_for(tmp_path: Path, missed: Missed, runs: int) -> None:
    world, nightly = (
        World("2026-11-20T21:00"),
        task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin", missed)),
    )
    await world.once(nightly)
    await anyio.sleep(3 * DAY + 5 * HOUR)
    await world.once(nightly)
    assert len(world.runs) == runs
    assert await world.once(nightly) == []


@pytest.mark.parametrize(
    ("days", "note"),
    [
        (0, "begun"),
        (1, "begun; 1 earlier time was missed"),
        (2, "begun; 2 earlier times were missed"),
    ],
)
async def test_a_run_that_comes_late_notes_how_many_times_it_stands_for(
    tmp_path: Path, days: int, note: str
) -> None:
    world, nightly = (
        World("2026-11-20T21:00"),
        task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin", Missed.RUN)),
    )
    await world.once(nightly)
    await anyio.sleep(days * DAY + 5 * HOUR)
    await world.once(nightly)
    assert note in notes(nightly)


async def test_the_first_look_only_begins_to_watch(tmp_path: Path) -> None:
    world, nightly = World("2026-11-20T22:30"), task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    assert await world.once(nightly) == []
    assert notes(nightly) == ["watched from now on"]


async def test_an_end_waits_for_the_run_that_is_under_way(tmp_path: Path) -> None:
    world, nightly = World("2026-11-20T21:00"), task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    await world.live(nightly, seconds=1.5 * HOUR)
    assert world.under_way == 0
    assert nightly.diary.entries()[-1].exit == 0


async def test_a_time_that_another_scheduler_used_just_before_is_not_used_again(tmp_path: Path) -> None:
    world, nightly = World("2026-11-20T21:00", 0.0), task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    await world.once(nightly)
    await anyio.sleep(HOUR)

    class Late(Diary):
        """The other scheduler gets in between our look at the diary and our lock."""

        @contextmanager
        def alone(self) -> Iterator[int | None]:
            now = world.wall()
            nightly.diary.add(Entry(now, now, "begun"))
            nightly.diary.add(Entry(now, now, "ended", RUN, 0))
            with super().alone() as lock:
                yield lock

    assert await world.once(replace(nightly, diary=Late(tmp_path, "nightly"))) == []
    assert world.runs == []


async def test_after_a_signal_no_further_job_begins(tmp_path: Path) -> None:
    world = World("2026-11-20T21:00")
    both = [task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"), job) for job in ("one", "two")]
    await world.once(*both)
    await anyio.sleep(HOUR)
    asyncio.get_running_loop().call_later(60, world.ending.set)
    await world.once(*both)
    assert [job for job, _ in world.runs] == ["one"]


async def test_a_job_that_cannot_be_started_does_not_disturb_the_others(tmp_path: Path) -> None:
    world = World("2026-11-20T21:00", run_takes=2 * HOUR)
    nightly = task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    broken = task(tmp_path, Schedule("30 22 * * *", "Europe/Berlin"), "broken")

    class Broken(World):
        async def start(self, task: Task, lock: int, again: str, named: Callable[[str], None]) -> Ended:
            if task.job == "broken":
                raise OSError(24, "Too many open files")
            return await world.start(task, lock, again, named)

    await Broken("2026-11-20T21:00").live(nightly, broken, seconds=6 * HOUR)
    assert nightly.diary.entries()[-1].exit == 0


async def test_a_diary_that_cannot_be_written_starts_nothing(tmp_path: Path) -> None:
    world, nightly = World("2026-11-20T21:00"), task(tmp_path, Schedule("0 22 * * *", "Europe/Berlin"))
    (tmp_path / "schedules").write_text("in the way")
    with pytest.raises(FleetError, match="schedules"):
        await world.once(nightly)
    assert world.runs == []


def test_times_left_out_hide_no_run_that_was_killed(tmp_path: Path) -> None:
    diary = Diary(tmp_path, "nightly")
    under_way = Entry(60.0, 61.0, "under way", RUN)
    for entry in (Entry(60.0, 60.0, "begun"), under_way, Entry(120.0, 121.0, "skipped: still running")):
        diary.add(entry)
    assert diary.broken_off() == under_way
    diary.add(Entry(60.0, 130.0, "ended", RUN, 0))
    diary.add(Entry(180.0, 181.0, "missed: nobody was there in time"))
    assert diary.broken_off() is None


def test_a_line_that_a_full_disk_cut_off_is_passed_over(tmp_path: Path) -> None:
    diary = Diary(tmp_path, "nightly")
    diary.add(Entry(10.0, 11.0, "ended", "20261120-200000-abcd", 0))
    with (tmp_path / "schedules" / "nightly.jsonl").open("a") as file:
        file.write('{"due": 99')
    assert diary.last() == 10.0
