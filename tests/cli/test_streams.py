"""Where words go: pipes that close, disks that are full, terminals, and processes that are told to end."""

from __future__ import annotations

import io
import json
import os
import pty
import re
import shlex
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any, TextIO, cast

import pytest

from fleet.cli.app import run
from fleet.simulator.messages import Reply, Request

Lab = Any
Shell = Any

FLEET = (sys.executable, "-m", "fleet")


@pytest.fixture
def deaf() -> Iterator[int]:
    """A pipe to write to that nobody reads."""
    reader, writer = os.pipe()
    os.close(reader)
    yield writer
    os.close(writer)


def run_to(stream: TextIO, shell: Shell, *words: object, stderr: TextIO | None = None) -> int:
    """Runs a command whose stdout, and stderr where it is given, is that stream."""
    with shell.patch.context() as patch:
        patch.setattr(sys, "stdout", stream)
        if stderr is not None:
            patch.setattr(sys, "stderr", stderr)
        return run([str(word) for word in words])


def test_a_reader_who_leaves_early_is_no_error(lab: Lab, shell: Shell, deaf: int) -> None:
    number = lab.apply().said[0].removeprefix("run ")
    for words in (["ls", "-o", "json"], ["show", "plan.json"], ["report", number, "--run-dir", lab.runs]):
        with os.fdopen(os.dup(deaf), "w") as stream:
            assert run_to(stream, shell, *words) == 0
    assert "rror" not in shell.capture.readouterr().err


@pytest.mark.row(52)
def test_a_process_whose_reader_left_early_ends_quietly(lab: Lab, deaf: int) -> None:
    done = subprocess.run([*FLEET, "ls", "-o", "json"], stdout=deaf, stderr=subprocess.PIPE, check=False)
    assert (done.returncode, done.stderr) == (0, b"40 of 40 notebooks in 2 scopes\n")


@pytest.mark.row(52)
def test_a_run_goes_on_when_nobody_listens_and_its_exit_code_is_right(
    lab: Lab, shell: Shell, deaf: int
) -> None:
    plan, row = lab.plan(lab.pick(2)), lab.old()[0]
    del lab.cloud.world.notebooks[row.id]
    with os.fdopen(os.dup(deaf), "w") as out, os.fdopen(os.dup(deaf), "w") as err:
        code = run_to(out, shell, "apply", plan, "--yes", "--run-dir", lab.runs, stderr=err)
    assert (code, lab.writes) == (5, ["UpdateNotebook"])


def test_a_report_that_cannot_be_written_does_not_change_the_exit_code_of_its_run(
    lab: Lab, shell: Shell
) -> None:
    plan, row = lab.plan(lab.pick(2)), lab.old()[0]
    del lab.cloud.world.notebooks[row.id]
    shell.capture.readouterr()
    with open("/dev/full", "w") as full:
        assert run_to(full, shell, "apply", plan, "--yes", "--run-dir", lab.runs) == 5
    said = shell.capture.readouterr().err.splitlines()
    assert "fleet: cannot write to stdout: no space left on device" in said
    (folder,) = lab.runs.iterdir()
    again = said[-1].removeprefix("see what became of it: fleet ")
    assert f"report {folder.name} --config" in again
    assert shell(*shlex.split(again)).code == 0


def test_a_run_that_wrote_and_of_which_nothing_can_be_told_does_not_end_as_if_it_had_not(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, handle = lab.plan(lab.pick(1)), lab.cloud.handle

    def losing_the_journal(request: Request, now: float) -> Reply:
        if request.method == "PUT":
            for file in lab.runs.glob("*/journal.db"):
                file.unlink()
        return cast(Reply, handle(request, now))

    monkeypatch.setattr(lab.cloud, "handle", losing_the_journal)
    result = shell("apply", plan, "--yes", "--run-dir", lab.runs)
    assert (lab.writes, result.code) == (["UpdateNotebook"], 7)
    assert "there is no journal" in result.err


def test_a_full_disk_behind_stdout_is_one_line(shell: Shell) -> None:
    with open("/dev/full", "w") as full:
        assert run_to(full, shell, "schema") == 1
    assert shell.capture.readouterr().err == "fleet: cannot write to stdout: no space left on device\n"


def test_streams_that_the_caller_closed_do_no_harm(lab: Lab) -> None:
    command = f"exec {sys.executable} -m fleet apply {lab.plan()} --run-dir {lab.runs} <&- >&- 2>&-"
    assert subprocess.run(["sh", "-c", command], check=False).returncode == 4
    assert lab.writes == []


def test_a_stream_that_knows_ascii_only_gets_escapes(lab: Lab, shell: Shell) -> None:
    lab.old()[0].name = "训练"
    written = io.BytesIO()
    stream = io.TextIOWrapper(written, encoding="ascii")
    assert run_to(stream, shell, "ls", "-c", "name") == 0
    assert rb"\u8bad\u7ec3" in written.getvalue()


def on_terminal(shell: Shell, *words: object) -> bytes:
    """What a command writes to stdout when that is a terminal."""
    leader, follower = pty.openpty()
    pieces: list[bytes] = []
    reader = threading.Thread(target=lambda: pieces.extend(until_closed(leader)))
    reader.start()
    with os.fdopen(follower, "w") as terminal:
        run_to(terminal, shell, *words)
    reader.join()
    os.close(leader)
    return b"".join(pieces)


def until_closed(leader: int) -> Iterator[bytes]:
    """What comes until the other end is closed, which a terminal tells by an error."""
    with suppress(OSError):
        while piece := os.read(leader, 65536):
            yield piece


@pytest.mark.parametrize(
    ("environment", "colored"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
    ],
)
def test_a_terminal_gets_colour_unless_it_is_refused(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], colored: bool
) -> None:
    number = lab.apply(lab.plan(lab.pick(1))).said[0].removeprefix("run ")
    monkeypatch.delenv("NO_COLOR", raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert (b"\x1b[" in on_terminal(shell, "report", number, "--run-dir", lab.runs)) is colored


@pytest.mark.parametrize("command", ["report", "watch"])
def test_a_terminal_gets_the_rows_that_need_a_person_and_all_if_asked(
    make_lab: Callable[..., Lab], shell: Shell, command: str
) -> None:
    lab = make_lab(notebooks=800)
    plan = lab.plan()
    changes = json.loads(plan.read_bytes())["changes"]
    number = lab.apply(plan, "--confirm", len(changes)).run
    words = (command, number, "--run-dir", lab.runs)
    rows, more, _ = on_terminal(shell, *words).decode().partition(f"and {len(changes)} more, ")
    assert more
    assert not any(change["id"] in rows for change in changes)
    for whole in (on_terminal(shell, *words, "--all").decode(), shell(*words).out):
        assert all(change["id"] in whole for change in changes)


@pytest.mark.parametrize("command", ["apply", "resume"])
def test_at_the_end_of_a_large_run_a_terminal_gets_the_rows_that_need_a_person(
    make_lab: Callable[..., Lab], shell: Shell, command: str
) -> None:
    lab = make_lab(notebooks=800)
    plan, base = lab.plan(), ("--run-dir", lab.runs)
    ids = [change["id"] for change in json.loads(plan.read_bytes())["changes"]]
    assert len(ids) > 40
    for deleted in ids[:2]:
        del lab.cloud.world.notebooks[deleted]
    words: tuple[object, ...] = ("apply", plan, "--confirm", len(ids), *base)
    if command == "resume":
        words = ("resume", shell(*words).run, *base)
    shown = on_terminal(shell, *words).decode().replace("\r\n", "\n")
    (folder,) = lab.runs.iterdir()
    rows, _, summary = shown.partition("\n\n")
    plain = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in rows.splitlines()]
    assert [line.split()[2] for line in plain[1:]] == ids[:2]
    first = summary.splitlines()[0]
    assert first.startswith(
        f"and {len(ids) - 2} more, {len(ids) - 2} changed: fleet report {folder.name} --all --config /"
    )
    assert first.endswith(f" --run-dir {lab.runs}")


def test_at_the_end_of_a_large_run_a_file_gets_every_row(make_lab: Callable[..., Lab], shell: Shell) -> None:
    lab = make_lab(notebooks=800)
    plan = lab.plan()
    ids = [change["id"] for change in json.loads(plan.read_bytes())["changes"]]
    applied = lab.apply(plan, "--confirm", len(ids))
    resumed = shell("resume", applied.run, "--run-dir", lab.runs)
    for rows, _, summary in (result.out.partition("\n\n") for result in (applied, resumed)):
        assert {line.split()[2] for line in rows.splitlines()[1:]} == set(ids)
        assert " more, " not in summary


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_simulator_introduces_itself_serves_and_ends(shell: Shell, number: signal.Signals) -> None:
    words = ["simulate", "--notebooks", "5", "--request-log", "requests.jsonl"]
    with subprocess.Popen([*FLEET, *words], stdout=subprocess.PIPE, text=True) as simulator:
        assert simulator.stdout is not None
        told = json.loads(simulator.stdout.readline())
        keys = f'access_key = "{told["access_key"]}"\nsecret_key = "{told["secret_key"]}"\n'
        scopes = [
            f'[[scope]]\nname = "s{number}"\nregion = "{told["region"]}"\nproject_id = "{project}"\n'
            f'endpoint = "{told["base_url"]}"\ncredentials = "c"\nrate = "5000/s"\n'
            for number, project in enumerate(told["projects"])
        ]
        shell.write("fleet.toml", "".join([*scopes, f'[credentials.c]\nkind = "aksk"\n{keys}']))
        counted = shell("ls", "--count")
        simulator.send_signal(number)
        assert simulator.wait(10) == 0
    assert (counted.code, counted.out) == (0, "5\n")
    logged = (shell.folder / "requests.jsonl").read_text().splitlines()
    assert "ListAllNotebooks" in {json.loads(line)["operation"] for line in logged}
    assert told["secret_key"] not in "".join(logged)


def test_a_taken_port_and_a_wrong_host_are_one_line(lab: Lab, shell: Shell) -> None:
    port = lab.url.rpartition(":")[2]
    assert f"cannot listen on 127.0.0.1:{port}: " in shell.refused("simulate", "--port", port)
    assert "choose another --host or --port" in shell.refused("simulate", "--host", "256.0.0.1")
    assert "cannot write the request log" in shell.refused("simulate", "--request-log", "fleet.toml/x")


def test_rows_that_are_too_wide_for_a_terminal_break_between_words(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TERM", "xterm")
    leader, follower = pty.openpty()
    termios.tcsetwinsize(follower, (24, 80))
    with os.fdopen(follower, "w") as terminal:
        run_to(terminal, shell, "ls", "-s", f'id == "{lab.old()[0].id}"')
        shown = os.read(leader, 65536).decode().split("\r\n")
        plan = lab.plan(lab.pick(1))
        run_to(terminal, shell, "show", plan)
        shown += os.read(leader, 65536).decode().split("\r\n")
        report = lab.apply(plan)
        run_to(terminal, shell, "report", report.said[0].removeprefix("run "), "--run-dir", lab.runs)
        table, _, summary = os.read(leader, 65536).decode().partition("\r\n\r\n")
    os.close(leader)
    visible = [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in [*shown, *table.split("\r\n")]]
    assert max(map(len, visible)) <= 80
    assert " ".join(shell("show", plan).out.split()) in " ".join(" ".join(visible).split())
    assert f"to take the changes back: fleet undo {report.said[0][4:]}" in summary
