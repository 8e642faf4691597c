"""fleet schedule: run jobs when their times come, and see when that is."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from subprocess import DEVNULL, PIPE
from typing import Annotated

import anyio
import typer
from anyio.abc import Process
from anyio.streams.text import TextReceiveStream

from fleet.cli.files import read_text
from fleet.cli.output import folded, say, say_lines, write, write_lines
from fleet.cli.session import CLOCK, ConfigOption, RunDirOption, require_places, runs_folder
from fleet.core.errors import Exit, FleetError, UsageError
from fleet.core.jobfiles.jobfile import JobFile, read_job
from fleet.core.scheduling.calendar import told, told_span
from fleet.core.scheduling.schedule import Schedule
from fleet.report.aligned import aligned
from fleet.report.as_json import instant
from fleet.service.diary import Diary, Entry
from fleet.service.jobs import job_type
from fleet.service.scheduling import Ended, Task, keep
from fleet.service.scheduling import once as run_once

JobsArgument = Annotated[list[Path], typer.Argument(metavar="JOB...", help="Job files with a schedule.")]
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
SPANS = 3  # windows shown
HEAD = 1000  # characters in which a run names itself

_RUN = re.compile(r"^run (\d{8}-\d{6}-[0-9a-z]{4})\n", re.MULTILINE)


def run(
    context: typer.Context, jobs: JobsArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> int:
    """Run jobs when their times come, until told to end.

    Each run is a process of its own, as if `fleet run JOB --yes` had been typed: it writes to the cloud what
    its plan says, within the job's guards and windows. A job that may change many must say so itself
    (guards.confirm_over). Job files are read anew for every run. Ctrl-C or SIGTERM: runs under way are told
    the same and come home, then this ends.
    """
    tasks = _to_run(context, config, run_dir, jobs)
    return anyio.run(_keep, tasks, Runs(_words(context, config, run_dir)))


def once(
    context: typer.Context, jobs: JobsArgument, run_dir: RunDirOption = None, config: ConfigOption = None
) -> int:
    """Run what has come due since the last time, then end.

    For cron or a systemd timer. The first call only notes from when on times are watched. Writes to the
    cloud what the plans say. Its exit code is the largest of the runs.
    """
    tasks = _to_run(context, config, run_dir, jobs)
    ended = anyio.run(_once, tasks, Runs(_words(context, config, run_dir)))
    if not ended:
        _tell("nothing to run now")
    return max((one.exit for one in ended), default=Exit.DONE)


def next_times(
    jobs: JobsArgument,
    count: Annotated[int, typer.Option("-n", "--count", min=1, max=1000, help="So many times a job.")] = 5,
) -> None:
    """Show when jobs come next, and when their windows are open.

    Sends nothing, writes nothing.
    """
    now = CLOCK.wall()
    rows = []
    for _, file, schedule in _all_scheduled(jobs):
        rows += [(file.name, "begins", told(at, schedule.timezone)) for at in schedule.next(now, count)]
        if file.rollout.calendar:
            spans = zip(file.rollout.calendar.spans(now), range(SPANS), strict=False)
            rows += [(file.name, "changes", told_span(span, schedule.timezone)) for span, _ in spans]
    write_lines(folded(aligned(("job", "what", "when"), rows), sys.stdout))


def history(
    context: typer.Context,
    jobs: JobsArgument,
    output: Annotated[str, typer.Option("-o", "--output", help="table or jsonl.")] = "table",
    run_dir: RunDirOption = None,
    config: ConfigOption = None,
) -> None:
    """Show what became of every time that came due.

    Sends nothing, writes nothing.
    """
    tasks = _tasks(jobs, runs_folder(context, config, run_dir))
    rows = [(task, entry) for task in tasks for entry in task.diary.entries()]
    if output == "jsonl":
        write("".join(json.dumps(_plain(task.job, entry)) + "\n" for task, entry in rows))
    elif output == "table":
        cells = [_cells(task, entry) for task, entry in rows]
        write_lines(folded(aligned(("job", "due", "at", "what", "run", "exit"), cells), sys.stdout))
    else:
        raise UsageError(f"--output: {output!r} is neither table nor jsonl")


def _plain(job: str, entry: Entry) -> dict[str, object]:
    """The entry as a script reads it, with `due` and `at` in RFC 3339."""
    times = {"due": instant(entry.due), "at": instant(entry.at)}
    return {"job": job, **times, "what": entry.note, "run": entry.run or None, "exit": entry.exit}


def _cells(task: Task, entry: Entry) -> tuple[str, ...]:
    """The entry for a person, by the clock of the schedule, as `next_times` tells it."""
    code = "" if entry.exit is None else str(entry.exit)
    due, at = (told(moment, task.schedule.timezone) for moment in (entry.due, entry.at))
    return (task.job, due, at, entry.note, entry.run, code)


def _tasks(jobs: Sequence[Path], base: Path) -> list[Task]:
    """A task for every job file. Raises UsageError when some are wrong or two have the same name."""
    tasks: dict[str, Task] = {}
    for path, file, schedule in _all_scheduled(jobs):
        if file.name in tasks:
            raise UsageError(f"{path}: {tasks[file.name].file} is named {file.name} too; name one otherwise")
        tasks[file.name] = Task(path, file.name, schedule, Diary(base, file.name))
    return list(tasks.values())


def _to_run(
    context: typer.Context, config: Path | None, run_dir: Path | None, jobs: Sequence[Path]
) -> list[Task]:
    """The tasks, where their runs can be kept."""
    base = runs_folder(context, config, run_dir)
    tasks = _tasks(jobs, base)
    require_places(base)
    return tasks


def _all_scheduled(jobs: Sequence[Path]) -> list[tuple[Path, JobFile, Schedule]]:
    """The job files and their schedules. Raises UsageError with what is wrong in any of them."""
    found, problems = [], []
    for path in jobs:
        try:
            found.append((path, *_scheduled(path)))
        except UsageError as error:
            problems.append(str(error))
    if problems:
        raise UsageError("\n".join(problems))
    return found


def _scheduled(path: Path) -> tuple[JobFile, Schedule]:
    """The job file and its schedule. Raises UsageError for one without, or that is wrong otherwise."""
    file, _ = read_job(read_text(path, "job file"), str(path), job_type)
    if file.schedule is None:
        raise UsageError(f'{path}: has no schedule; add one, such as: schedule: {{at: "0 20 * * FRI"}}')
    return file, file.schedule


def _words(context: typer.Context, config: Path | None, run_dir: Path | None) -> tuple[str, ...]:
    """The options that a run of ours gets."""
    given = config or context.obj
    found = ("--config", os.path.abspath(given)) if given else ()
    return (*found, *(("--run-dir", os.path.abspath(run_dir)) if run_dir else ()))


def _tell(text: str) -> None:
    say_lines([f"{instant(CLOCK.wall())} {text}"])


async def _keep(tasks: Sequence[Task], runs: Runs) -> int:
    ending = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(runs.heed, ending)
        _tell(f"{len(tasks)} jobs are watched; Ctrl-C ends this")
        await keep(tasks, CLOCK, runs, _tell, ending)
        group.cancel_scope.cancel()
    return Exit.DONE


async def _once(tasks: Sequence[Task], runs: Runs) -> list[Ended]:
    ending = anyio.Event()
    async with anyio.create_task_group() as group:
        group.start_soon(runs.heed, ending)
        ended = await run_once(tasks, CLOCK, runs, _tell, ending)
        group.cancel_scope.cancel()
    return ended


class Runs:
    """Starts runs, each as a process of its own, and hands signals on to them."""

    def __init__(self, words: Sequence[str]) -> None:
        self._words = words
        self._processes: set[Process] = set()

    async def __call__(self, task: Task, lock: int, again: str, named: Callable[[str], None]) -> Ended:
        """Runs the job, or the run `again`, to its end. What it says goes where ours goes."""
        what = ["resume", again] if again else ["run", str(task.file), "--yes"]
        try:
            process = await anyio.open_process(
                [sys.executable, "-m", "fleet", *what, *self._words],
                stdin=DEVNULL,
                stdout=None,
                stderr=PIPE,
                start_new_session=True,
                pass_fds=[lock],
            )
        except OSError as error:
            raise FleetError(f"no process can be started: {error.strerror}") from None
        self._processes.add(process)
        try:
            async with process:
                run = await _relay(process, (lambda _: None) if again else named)
                return Ended(run, await process.wait())
        finally:
            self._processes.discard(process)

    async def heed(self, ending: anyio.Event) -> None:
        """Sets `ending` at the first signal; this and every further one goes on to the runs under way."""
        with anyio.open_signal_receiver(*SIGNALS) as signals:
            async for number in signals:
                ending.set()
                for process in self._processes:
                    process.send_signal(number)


async def _relay(process: Process, named: Callable[[str], None]) -> str:
    """Repeats what the run says, and tells the id that it names. Returns that, empty if it never said any."""
    head, run = "", ""
    if process.stderr is not None:
        async for text in TextReceiveStream(process.stderr, errors="replace"):
            say(text)
            head = (head + text)[:HEAD]
            if not run and (found := _RUN.search(head)):
                run = found[1]
                named(run)
    return run
