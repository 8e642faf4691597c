"""A scheduler in a process of its own: it runs jobs, survives their failures and ends when told to."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from fleet.journal.lock import is_locked
from fleet.service.diary import Diary, Entry
from tests.steering.lab import PATIENCE, Lab, until

MakeLab = Callable[..., Lab]

pytestmark = [pytest.mark.timeout(4 * PATIENCE), pytest.mark.processes]

SCHEDULE = 'schedule: {at: "* * * * *"}\n'


def scheduled(lab: Lab) -> Diary:
    """The lab's job with a schedule, one of whose times has come already."""
    path = lab.folder / "job.yaml"
    path.write_text(path.read_text() + SCHEDULE)
    diary = Diary(lab.folder / "runs", "torch")
    diary.add(Entry(time.time() - 120, time.time() - 120, "watched from now on"))
    return diary


def test_what_is_due_runs_once_and_its_exit_code_is_handed_on(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=60.0)
    lab.job(2, concurrency=2)
    diary = scheduled(lab)
    words = ("schedule", "once", "job.yaml", "--run-dir", lab.folder / "runs")
    done = lab(*words)
    assert done.code == 0, done.err
    entry = diary.entries()[-2 if "skipped" in diary.entries()[-1].note else -1]
    assert (entry.note, entry.exit) == ("ended", 0)
    assert lab("report", entry.run, "--run-dir", lab.folder / "runs", "-o", "json").counts == {"changed": 2}


def test_a_signal_lets_the_run_under_way_come_home_and_ends_the_scheduler(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=10.0)
    lab.job(3, concurrency=1)
    diary = scheduled(lab)
    process = lab.begin(lab.folder / "runs", "schedule", "run", "job.yaml")
    until(lambda: bool(lab.writes("StopNotebook")))
    process.popen.send_signal(signal.SIGTERM)
    ended = process.end()
    assert ended.code == 0
    assert lab.away() == set()
    entry = next(entry for entry in diary.entries() if entry.note == "ended")
    assert entry.exit == 6


def test_a_job_that_cannot_be_planned_does_not_end_the_scheduler(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=60.0)
    lab.job(1, concurrency=1)
    diary = scheduled(lab)
    path = lab.folder / "job.yaml"
    path.write_text(path.read_text().replace("pytorch2.6", "pytorch9.9"))
    process = lab.begin(lab.folder / "runs", "schedule", "run", "job.yaml")
    until(lambda: diary.entries()[-1].exit is not None)
    assert process.popen.poll() is None
    assert diary.entries()[-1].exit == 64
    process.popen.send_signal(signal.SIGINT)
    assert process.end().code == 0
    assert lab.writes() == []


def test_a_run_that_outlives_its_scheduler_keeps_the_job_to_itself(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=10.0)
    lab.job(2, concurrency=1)
    diary = scheduled(lab)
    process = lab.begin(lab.folder / "runs", "schedule", "run", "job.yaml")
    until(lambda: bool(lab.writes("StopNotebook")))
    process.popen.kill()
    process.popen.wait()
    again = lab("schedule", "once", "job.yaml", "--run-dir", lab.folder / "runs")
    assert again.code == 0, again.err
    (folder,) = {path.parent for path in (lab.folder / "runs").glob("*/journal.db")}
    until(lambda: len(lab.writes("UpdateNotebook")) == 2 and not lab.away())
    assert diary.broken_off() is not None
    until(lambda: not is_locked(folder))  # nothing outlives the test


def test_a_run_that_was_killed_with_its_scheduler_is_resumed(make_lab: MakeLab) -> None:
    lab = make_lab(time_scale=10.0)
    lab.job(2, concurrency=2)
    diary = scheduled(lab)
    process = lab.begin(lab.folder / "runs", "schedule", "run", "job.yaml")
    until(lambda: bool(lab.away()))
    (folder,) = {path.parent for path in (lab.folder / "runs").glob("*/journal.db")}
    process.popen.kill()
    process.popen.wait()
    for child in _working_on(folder):
        os.kill(child, signal.SIGKILL)
    until(lambda: not is_locked(folder))
    words = ("schedule", "once", "job.yaml", "--run-dir", lab.folder / "runs")
    assert lab(*words).code == 0
    assert lab.away() == set()
    assert next(entry.run for entry in diary.entries() if entry.note == "ended") == folder.name


def _working_on(folder: Path) -> list[int]:
    """The processes that hold the journal of the run in the folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            files = {os.readlink(file) for file in (process / "fd").iterdir()}
            if str(folder / "journal.db") in files:
                found.append(int(process.name))
    return found
