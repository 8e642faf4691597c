"""Runs the program of a wave's gate or of a notice: without a shell, for a bounded time.

Only its last words are kept.
"""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from subprocess import DEVNULL, PIPE, STDOUT

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process

from fleet.core.duration import duration
from fleet.core.errors import UsageError
from fleet.core.rollout import GateCommand
from fleet.core.text import clean
from fleet.core.wave_gate import Check, check_of, no_check

LAST_WORDS = 4096  # bytes of output that are kept
GRACE = 1.0  # seconds for output that is still on its way when the program has ended


def require_program(gate: GateCommand | None) -> None:
    """Raises UsageError when the program cannot be found: better before the first wave than after it."""
    if gate is not None and shutil.which(gate.command[0]) is None:
        raise UsageError(
            f"rollout.gate.command: there is no program {clean(gate.command[0])}, seen from this folder; "
            "check its path, and that it may be executed"
        )


async def run_command(gate: GateCommand, environment: Mapping[str, str]) -> Check:
    """What the program found; inconclusive when it cannot be run or takes longer than its time."""
    ended = await run_program(gate.command, gate.timeout, environment)
    return no_check(ended) if isinstance(ended, str) else check_of(*ended)


async def run_program(
    command: Sequence[str],
    at_most: float,
    environment: Mapping[str, str],
    given: bytes | None = None,
    secrets: Collection[str] = (),
) -> tuple[int, str] | str:
    """The exit code of a program and its last line of output, or why there is none after `at_most` seconds.

    It inherits our folder and our environment but for what holds one of the `secrets`, and has nothing to
    read but what is `given`; it is killed with all that it started when its time is over or the run ends.
    """
    inherited = {name: value for name, value in os.environ.items() if value not in secrets}
    try:
        process = await anyio.open_process(
            command,
            stdin=DEVNULL if given is None else PIPE,
            stderr=STDOUT,
            env={**inherited, **environment},
            start_new_session=True,
        )
    except OSError as error:
        return f"cannot be run: {error.strerror}"
    async with process:
        try:
            with anyio.move_on_after(at_most):
                return await _listen(process, given)
            return f"took longer than {duration(at_most)}"
        finally:
            _kill(process)


async def _listen(process: Process, given: bytes | None) -> tuple[int, str]:
    """The exit code and the last line of output. What the program left running may hold the pipe open."""
    tail = bytearray()
    async with anyio.create_task_group() as group:
        if process.stdout is not None:
            group.start_soon(_keep_tail, process.stdout, tail)
        if process.stdin is not None and given is not None:
            group.start_soon(_hand_over, process.stdin, given)
        code = await process.wait()
        group.cancel_scope.deadline = anyio.current_time() + GRACE
    lines = tail.decode(errors="replace").split("\n")
    return code, clean(next((line.strip() for line in reversed(lines) if line.strip()), ""))


async def _hand_over(stdin: ByteSendStream, given: bytes) -> None:
    with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):  # it need not read all of it
        await stdin.send(given)
        await stdin.aclose()


async def _keep_tail(output: ByteReceiveStream, tail: bytearray) -> None:
    async for piece in output:
        tail += piece
        del tail[:-LAST_WORDS]


def _kill(process: Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
