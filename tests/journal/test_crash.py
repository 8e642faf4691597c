"""Real processes: killed, out of room, and an event loop that must not wait for a disk."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from blockbuster import blockbuster_ctx

from fleet.core.events import Event, Slowed
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan
from fleet.journal.lock import is_locked
from fleet.journal.reader import read_journal
from fleet.journal.writer import Journal

RUN = "20261130-081500-k3f9"

PRELUDE = """
import asyncio, resource, sys
from pathlib import Path
from fleet.core.events import Slowed
from fleet.core.planning.plan_file import load_plan
from fleet.journal.errors import JournalWriteError
from fleet.journal.writer import Journal

path = Path(sys.argv[1])
plan = load_plan(path.with_name("plan.json").read_bytes(), "plan.json")
"""

ENDLESS = """
async def main():
    journal = Journal.create(path, plan, "20261130-081500-k3f9")
    async def one(worker):
        for number in range(10**6):
            await journal.commit(Slowed(1.0, f"{worker}", str(number)))
            print(worker, number, flush=True)
    await asyncio.gather(*(one(worker) for worker in range(5)))

asyncio.run(main())
"""

CRAMPED = """
async def main():
    journal = Journal.create(path, plan, "20261130-081500-k3f9")
    resource.setrlimit(resource.RLIMIT_FSIZE, (300_000, resource.RLIM_INFINITY))
    failures = 0
    for number in range(200):
        try:
            await journal.commit(Slowed(1.0, "k", f"{number} " + "x" * 2000))
        except JournalWriteError as error:
            failures += 1
            message = str(error)
    journal.close()
    print(failures, len(journal.unsaved), journal.unsaved[-1].text.split()[0])
    print(message)

asyncio.run(main())
"""


def start(program: str, path: Path, plan: Plan) -> subprocess.Popen[str]:
    path.with_name("plan.json").write_bytes(dump_plan(plan))
    return subprocess.Popen(
        [sys.executable, "-c", PRELUDE + program, path], stdout=subprocess.PIPE, text=True
    )


@pytest.mark.row(48)
def test_nothing_acknowledged_is_lost_when_the_process_is_killed(path: Path, plan: Plan) -> None:
    told = []
    with start(ENDLESS, path, plan) as process:
        assert process.stdout is not None
        for line in process.stdout:
            told.append(line)
            if len(told) == 300:
                assert is_locked(path.parent)
                process.send_signal(signal.SIGKILL)
    told = [line for line in told if line.endswith("\n")]  # the last one may be half a line
    assert not is_locked(path.parent)
    contents = read_journal(path)
    kept = {f"{event.key} {event.text}\n" for event in contents.events if isinstance(event, Slowed)}
    assert set(told) <= kept
    assert contents.damage == ()


@pytest.mark.row(48)
def test_a_killed_run_can_go_on(path: Path, plan: Plan, history: list[Event]) -> None:
    with start(ENDLESS, path, plan) as process:
        assert process.stdout is not None
        process.stdout.readline()
        process.kill()
    before = len(read_journal(path).events)
    journal = Journal.open_for_append(path)
    for event in history:
        journal.note(event)
    journal.close()
    contents = read_journal(path)
    assert list(contents.events[before:]) == history
    assert contents.damage == ()


@pytest.mark.row(45)
def test_out_of_room_the_written_part_stays_sound_and_the_rest_can_be_printed(path: Path, plan: Plan) -> None:
    with start(CRAMPED, path, plan) as process:
        output, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    numbers, message = output.splitlines()
    failures, unsaved, last = (int(number) for number in numbers.split())
    contents = read_journal(path)
    saved = [int(event.text.split()[0]) for event in contents.events if isinstance(event, Slowed)]
    assert saved == list(range(len(saved)))
    assert 0 < len(saved) < 200
    assert len(saved) + unsaved == 200
    assert failures >= unsaved
    assert last == 199
    assert f"fleet resume {RUN}" in message
    assert contents.damage == ()


@pytest.mark.row(68)
async def test_the_event_loop_never_waits_for_the_disk(path: Path, plan: Plan, history: list[Event]) -> None:
    journal = Journal.create(path, plan, RUN)
    with blockbuster_ctx():
        for event in history:
            journal.note(event)
            await journal.commit(event)
    await asyncio.to_thread(journal.close)
    assert len(read_journal(path).events) == 2 * len(history)
