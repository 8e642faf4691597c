"""A person at the terminal of a run, who approves a wave by typing its number."""

from __future__ import annotations

import os
import termios
from functools import partial
from typing import TextIO

import anyio

from fleet.engine.approvals import Approvals, nobody

LOOK_AGAIN = 1.0  # seconds between looks whether the run is in the foreground again


def is_attended(terminal: TextIO) -> bool:
    """Whether a person can type an answer: a terminal, and the run in its foreground."""
    try:
        return terminal.isatty() and os.tcgetpgrp(terminal.fileno()) == os.getpgrp()
    except (OSError, ValueError):
        return False


async def heed_terminal(terminal: TextIO, approvals: Approvals) -> None:
    """Passes on what is typed while a wave is asked about, until the terminal is closed.

    What was typed before the question answers nothing. A run in the background leaves the terminal alone:
    reading it would stop the process.
    """
    approvals.attended = partial(is_attended, terminal)
    try:
        await _pass_on(terminal, approvals)
    finally:
        approvals.attended = nobody


async def _pass_on(terminal: TextIO, approvals: Approvals) -> None:
    number = terminal.fileno()
    while True:
        wave = await approvals.question()
        if is_attended(terminal):
            termios.tcflush(number, termios.TCIFLUSH)
        while approvals.asked == wave:
            if not await _is_readable(terminal):
                continue
            line = os.read(number, 1024)
            if not line:
                return
            if line.strip() == str(wave).encode():
                approvals.approve(wave)


async def _is_readable(terminal: TextIO) -> bool:
    """Whether a line waits for us, as soon as one does, or a second later."""
    if not is_attended(terminal):
        await anyio.sleep(LOOK_AGAIN)
        return False
    with anyio.move_on_after(LOOK_AGAIN):
        await anyio.wait_readable(terminal.fileno())
        return is_attended(terminal)
    return False
