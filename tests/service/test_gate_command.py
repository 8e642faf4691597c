"""The gate's command, as a real process: what it is told, what its end means, and that it is never left."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from fleet.core.errors import UsageError
from fleet.core.rollout import GateCommand
from fleet.core.wave_gate import Finding
from fleet.service.gate_command import require_program, run_command

Script = Callable[[str], str]


@pytest.fixture
def script(tmp_path: Path) -> Script:
    """Writes an executable shell script and gives its path."""

    def write(text: str) -> str:
        path = tmp_path / "check.sh"
        path.write_text(f"#!/bin/sh\n{text}\n")
        path.chmod(0o700)
        return str(path)

    return write


@pytest.mark.parametrize(
    ("text", "finding", "reason"),
    [
        ("exit 0", Finding.GO, "exit code 0"),
        ("echo fine; exit 0", Finding.GO, "exit code 0: fine"),
        ("echo a; echo '5 % errors' >&2; echo; exit 1", Finding.STOP, "exit code 1: 5 % errors"),
        ("exit 2", Finding.INCONCLUSIVE, "exit code 2"),
        ("kill -9 $$", Finding.INCONCLUSIVE, "killed by signal 9"),
    ],
)
async def test_the_exit_code_decides_and_the_last_line_is_told(
    script: Script, text: str, finding: Finding, reason: str
) -> None:
    check = await run_command(GateCommand((script(text),)), {})
    assert check.finding is finding
    assert f"({reason})" in check.reason


async def test_no_shell_reads_the_arguments(tmp_path: Path) -> None:
    words = ("print", "$HOME; touch x", "a b")
    code = "import sys; print(sys.argv[1:])"
    check = await run_command(GateCommand((sys.executable, "-c", code, *words)), {})
    assert str(list(words)) in check.reason


async def test_the_program_sees_the_environment_and_what_it_is_told(
    script: Script, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CITY", "Bern")
    path = script('echo "$CITY $FLEET_RUN $FLEET_WAVE"')
    check = await run_command(GateCommand((path,)), {"FLEET_RUN": "r1", "FLEET_WAVE": "2"})
    assert "exit code 0: Bern r1 2" in check.reason


async def test_there_is_nothing_to_read_for_it(script: Script) -> None:
    check = await run_command(GateCommand((script("read line && exit 1; exit 0"),)), {})
    assert check.finding is Finding.GO


async def test_a_program_that_takes_too_long_is_killed_with_all_that_it_started(
    script: Script, tmp_path: Path
) -> None:
    pids = tmp_path / "pids"
    path = script(f"sleep 600 & echo $! $$ > {shlex.quote(str(pids))}; wait")
    began = time.monotonic()
    check = await run_command(GateCommand((path,), timeout=0.5), {})
    assert check.finding is Finding.INCONCLUSIVE
    assert "took longer than 0.5s" in check.reason
    assert time.monotonic() - began < 10.0
    for pid in map(int, pids.read_text().split()):
        assert _is_gone(pid)


async def test_a_program_is_killed_when_the_run_is_cancelled(script: Script, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    path = script(f"echo $$ > {shlex.quote(str(pids))}; exec sleep 600")

    async with anyio.create_task_group() as group:
        group.start_soon(run_command, GateCommand((path,)), {})
        while not (pids.exists() and pids.read_text()):  # noqa: ASYNC110 - only the file tells
            await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert _is_gone(int(pids.read_text()))


def _is_gone(pid: int) -> bool:
    """Whether the process is dead, now or within seconds; its parent may not have asked yet."""
    state, deadline = Path(f"/proc/{pid}/stat"), time.monotonic() + 5.0
    while time.monotonic() < deadline:
        if not state.exists() or state.read_text().rpartition(")")[2].split()[0] == "Z":
            return True
        time.sleep(0.01)
    return False


async def test_what_the_program_leaves_running_holds_nobody_up(script: Script, tmp_path: Path) -> None:
    pids = tmp_path / "pids"
    path = script(f"sleep 600 & echo $! > {shlex.quote(str(pids))}; echo done; exit 0")
    check = await run_command(GateCommand((path,), timeout=60.0), {})
    os.kill(int(pids.read_text()), 9)
    assert "exit code 0: done" in check.reason


async def test_of_much_output_only_the_end_is_kept(script: Script) -> None:
    path = script("head -c 3000000 /dev/zero | tr '\\0' 'x'; echo; printf 'the \\033[31mend'; exit 1")
    check = await run_command(GateCommand((path,)), {})
    assert "exit code 1: the \\x1b[31mend" in check.reason


async def test_a_program_that_cannot_be_run_is_inconclusive(tmp_path: Path) -> None:
    for command, problem in ((str(tmp_path / "none"), "No such file"), (str(tmp_path), "Permission denied")):
        check = await run_command(GateCommand((command,)), {})
        assert check.finding is Finding.INCONCLUSIVE
        assert problem in check.reason


def test_a_missing_program_is_told_before_the_run(tmp_path: Path, script: Script) -> None:
    require_program(None)
    require_program(GateCommand((script("exit 0"),)))
    require_program(GateCommand(("sh", "-c", "exit 0")))
    with pytest.raises(UsageError, match=r"rollout\.gate\.command: there is no program \./missing\.sh"):
        require_program(GateCommand(("./missing.sh",)))
