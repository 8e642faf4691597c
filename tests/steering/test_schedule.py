"""A scheduler in a process of its own: it runs jobs, survives their failures and ends when told to."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable

import pytest

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
