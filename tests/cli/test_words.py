"""The words on the command line: help that teaches, and advice for the wrong ones."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from fleet import __version__
from fleet.cli.app import TREE
from fleet.cli.commands import COMMANDS as COMMON
from fleet.cli.commands import SCHEDULE

Shell = Any

ROOT = Path(__file__).parents[2]


def commands(group: Any, *path: str) -> Iterator[str]:
    """Every command by the words that call it, such as "schedule run"."""
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, *path, name)
        else:
            yield " ".join((*path, name))


COMMANDS = tuple(commands(cast(Any, TREE)))


def test_there_are_commands_for_the_whole_road() -> None:
    assert {"ls", "plan", "show", "apply", "run", "resume", "report", "runs", "start", "stop"} < {*COMMANDS}


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_says_what_it_sends_and_writes(shell: Shell, command: str) -> None:
    result = shell(*command.split(), "--help")
    assert (result.code, result.err) == (0, "")
    assert re.search(r"\b(write|send)s?\b", result.out, re.IGNORECASE)
    assert result.out.startswith(f"Usage: fleet {command}")


def parsed(line: str) -> str:
    """The command of an example, whose words it must accept."""
    program, *words = shlex.split(line.partition(" > ")[0])
    assert program == "fleet"
    path, command = [], cast(Any, TREE)
    while hasattr(command, "commands"):
        path.append(words.pop(0))
        command = command.commands[path[-1]]
    command.make_context(path[-1], words)
    return " ".join(path)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_ends_with_an_example_that_the_command_accepts(
    shell: Shell, command: str
) -> None:
    example = shell(*command.split(), "--help").out.splitlines()[-1]
    assert example.startswith("  Example: fleet ")
    assert parsed(example.removeprefix("  Example: ")) == command


def test_the_help_shows_the_road_with_commands_that_are_accepted(shell: Shell) -> None:
    road = [line[4:] for line in shell("--help").out.splitlines() if line.startswith("    fleet ")]
    commands = [parsed(re.split(r" {2,}", line)[0]) for line in road]
    assert commands == ["ls", "validate", "plan", "apply", "status", "resume", "report", "undo"]


def test_the_help_names_every_command_in_a_line_that_is_not_cut(shell: Shell) -> None:
    for command in COMMANDS:
        *group, name = command.split()
        lines = shell(*group, "--help").out.splitlines()
        line = next(line for line in lines if line.startswith(f"  {name} "))
        assert line.endswith(".")
        assert not line.endswith("...")


LISTED = {**COMMON, **{f"schedule {name}": lazy for name, lazy in SCHEDULE.items()}}


@pytest.mark.parametrize("command", LISTED)
def test_what_the_help_lists_of_a_command_is_how_its_own_help_begins(command: str) -> None:
    found = cast(Any, TREE)
    for word in command.split():
        found = found.commands[word]
    assert found.help.splitlines()[0] == LISTED[command].summary


@pytest.mark.parametrize("words", ["--help", "--version", "schedule --help", "status --help", "runs"])
def test_who_only_looks_does_not_wait_for_http_and_the_simulator(words: str, tmp_path: Path) -> None:
    script = (
        "import sys; from fleet.cli.app import run; run(sys.argv[1:]);"
        "print([name for name in ('aiohttp', 'fleet.client.api', 'fleet.simulator', 'structlog')"
        " if name in sys.modules], file=sys.stderr)"
    )
    environment = {**os.environ, "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script, *words.split()],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={**environment, "PYTHONPATH": str(ROOT)},
    )
    assert done.stderr == "[]\n"


def test_the_help_names_every_exit_code(shell: Shell) -> None:
    told = " ".join(shell("--help").out.split()).partition("Exit codes: ")[2]
    assert re.findall(r"(\d+) [a-z]", told) == ["0", "1", "2", "3", "4", "5", "6", "7", "64"]


def test_no_command_shows_the_help_and_is_a_wrong_use(shell: Shell) -> None:
    result = shell()
    assert (result.code, result.err) == (64, "")
    assert result.out.startswith("Usage: fleet")


def test_the_version_is_told(shell: Shell) -> None:
    assert shell("--version").out == f"notebook-fleet {__version__}\n"


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("aply x", "no such command 'aply'; did you mean 'apply'?; see: fleet --help"),
        ("frobnicate", "no such command 'frobnicate'; see: fleet --help"),
        ("plan j --outptu x", "no such option: --outptu; did you mean --output?; see: fleet plan --help"),
        ("apply p --yess", "no such option: --yess; did you mean --yes?; see: fleet apply --help"),
        ("--confg x ls", "no such option: --confg; did you mean --config?; see: fleet --help"),
        ("ls -z", "no such option: -z; see: fleet ls --help"),
        ("ls --scope", "option '--scope' requires an argument; see: fleet --help"),
        ("apply", "missing argument 'PLAN'; see: fleet apply --help"),
        ("plan a b", "got unexpected extra argument(s) (b); see: fleet plan --help"),
        ("start x --scope a", "missing option '--duration'; see: fleet start --help"),
        ("report x -o xml", "'xml' is not one of 'table', 'json', 'jsonl', 'csv'; see: fleet report --help"),
        ("simulate --port 99999", "must be less than or equal to 65535; see: fleet simulate --help"),
        ("simulate --port x", "must be a valid integer"),
        ("simulate --notebooks -1", "must be greater than or equal to 0"),
        ("ls -o xml", "--output: 'xml' is none of table, json, jsonl, csv, id"),
        ("ls -c nam", "--columns: there is no field 'nam'; did you mean name?"),
        ("ls -c", "option '-c' requires an argument"),
        ("ls --columns=", "--columns: there is no field ''; see: fleet ls --fields"),
        ("runs -o xml", "--output: 'xml' is neither table nor json"),
        (
            "start x --scope a --duration soon",
            "--duration: 'soon' is not a duration such as 90s",
        ),
        (
            "start x --scope a --duration 5",
            "--duration: 5 is neither -1 nor from 1h to 3d",
        ),
    ],
)
def test_a_wrong_word_is_one_line_with_advice(shell: Shell, words: str, complaint: str) -> None:
    assert complaint in shell.refused(*words.split())


def test_foreign_bytes_in_a_word_do_not_reach_the_terminal(shell: Shell) -> None:
    assert "\x1b" not in shell.refused("\x1b]0;evil\x07")
    assert "\x1b" not in shell.refused("apply", "\x1b[2J")
