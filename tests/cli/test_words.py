"""The words on the command line: help that teaches, and advice for the wrong ones."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from typing import Any, cast

import pytest

from fleet import __version__
from fleet.cli.app import TREE

Shell = Any


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
        ("start x --scope a --duration 5", "--duration: 5 is neither -1 nor from 3600000 to 259200000 ms"),
    ],
)
def test_a_wrong_word_is_one_line_with_advice(shell: Shell, words: str, complaint: str) -> None:
    assert complaint in shell.refused(*words.split())


def test_foreign_bytes_in_a_word_do_not_reach_the_terminal(shell: Shell) -> None:
    assert "\x1b" not in shell.refused("\x1b]0;evil\x07")
    assert "\x1b" not in shell.refused("apply", "\x1b[2J")
