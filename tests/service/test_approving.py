"""A person types the number of the wave: a real process on a terminal of its own."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress

import pytest

# Asks about wave 3, then about wave 4; says what it asks, and what became of it.
PROGRAM = """
import fcntl, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
import anyio
from fleet.engine.approvals import Approvals
from fleet.service.approving import heed_terminal

async def main():
    approvals = Approvals()
    async with anyio.create_task_group() as group:
        group.start_soon(heed_terminal, sys.stdin, approvals)
        await anyio.wait_all_tasks_blocked()
        assert approvals.attended()
        print("ready", flush=True)
        await anyio.sleep(0.2)
        for wave in (3, 4):
            group.start_soon(say, wave)
            await approvals.approval(wave)
            print("approved", wave, flush=True)
        group.cancel_scope.cancel()
    assert not approvals.attended()

async def say(wave):
    await anyio.sleep(0.1)
    print("asked", wave, flush=True)

anyio.run(main)
"""


class Terminal:
    """The other end of the process's terminal."""

    def __init__(self, number: int) -> None:
        self._number = number
        self._heard = ""

    def type(self, text: str) -> None:
        os.write(self._number, text.encode())

    def until(self, word: str) -> str:
        """What the process said up to that word."""
        while word not in self._heard:
            readable, _, _ = select.select([self._number], [], [], 20.0)
            assert readable, f"{word!r} did not come: {self._heard!r}"
            self._heard += os.read(self._number, 4096).decode()
        before, _, self._heard = self._heard.partition(word)
        return before

    def until_quiet(self) -> str:
        """What is said until nothing comes for a moment; what was typed is echoed."""
        while select.select([self._number], [], [], 0.3)[0]:
            self._heard += os.read(self._number, 4096).decode()
        said, self._heard = self._heard, ""
        return said


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM], stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True
    )
    os.close(theirs)
    try:
        yield Terminal(ours)
        assert process.wait(20.0) == 0
    finally:
        process.kill()
        process.wait()
        with suppress(OSError):
            os.close(ours)


def test_the_number_of_the_wave_approves_it_and_nothing_else_does(terminal: Terminal) -> None:
    terminal.until("ready")
    terminal.type("3\n")  # before the question: answers nothing
    terminal.until("asked 3")
    terminal.type("yes\n4\n\n33\n")
    assert "approved" not in terminal.until_quiet()
    terminal.type(" 3 \n")
    terminal.until("approved 3")
    terminal.until("asked 4")
    terminal.type("4\n")
    terminal.until("approved 4")
