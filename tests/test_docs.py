"""The README and the examples keep up with the program: commands, options, exit codes, files."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from fleet.cli.app import TREE, run
from fleet.core.errors import Exit
from fleet.core.jobfiles.jobfile import read_job
from fleet.service.jobs import GROUP, job_type
from fleet.settings import load_settings

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
EXAMPLES = sorted((ROOT / "jobs" / "examples").glob("*.yaml"))
COMMANDS = cast(Any, TREE).commands


def blocks(language: str) -> list[str]:
    """The fenced blocks of the README in one language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def command_lines() -> Iterator[str]:
    """What the README calls the program with: in shell blocks, and between backticks."""
    for block in blocks("sh"):
        for line in re.split(r"\n|&&|\|", block.replace("\\\n", " ")):
            if found := re.match(r"\s*(?:\$ )?(?:\S*/)?fleet (.*)", line):
                yield found[1]
    yield from re.findall(r"`fleet ([^`]+)`", README)


def wrong_words(line: str) -> list[str]:
    """The command or the options of a line that the program does not have."""
    words = shlex.split(line, comments=True)
    command = next((word for word in words if not word.startswith("-")), "")
    known = [option for parameter in TREE.params for option in parameter.opts]
    if command in COMMANDS:
        known += [option for parameter in COMMANDS[command].params for option in parameter.opts]
        known += ["--help"]
    wrong = [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]
    return wrong if not command or command in COMMANDS else [command, *wrong]


@pytest.mark.parametrize("line", [*command_lines()])
def test_a_command_in_the_readme_is_one_that_the_program_has(line: str) -> None:
    assert wrong_words(line) == []


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("aply x", ["aply"]),
        ("ls --selekt x", ["--selekt"]),
        ("--cnfg x ls", ["--cnfg", "x"]),
        ("plan JOB -z", ["-z"]),
        ("--config x plan", ["x"]),
        ("plan JOB -o PLAN --config=x  # -y", []),
    ],
)
def test_a_wrong_word_in_the_readme_would_be_noticed(line: str, wrong: list[str]) -> None:
    assert sorted(wrong_words(line)) == sorted(wrong)


@pytest.mark.parametrize("command", COMMANDS)
def test_the_readme_tells_of_every_command(command: str) -> None:
    assert re.search(rf"`fleet {command}\b", README)


@pytest.mark.parametrize("code", Exit)
def test_the_readme_names_every_exit_code(code: Exit) -> None:
    assert re.search(rf"^\| {code.value} \| \w", README, re.MULTILINE)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.name)
def test_an_example_is_a_valid_job_file(path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["validate", str(path)]) == 0
    assert capsys.readouterr().err == f"{path}: a valid job file\n"


def test_every_job_type_has_an_example() -> None:
    told = {yaml.safe_load(path.read_text())["job"] for path in EXAMPLES}
    assert told == {point.name for point in entry_points(group=GROUP)}


def test_the_job_files_in_the_readme_are_valid() -> None:
    texts = blocks("yaml")
    assert texts
    for text in texts:
        read_job(text, "README.md", job_type)


def test_the_configurations_in_the_readme_are_valid(tmp_path: Path) -> None:
    texts = blocks("toml")
    assert texts
    for text in texts:
        path = tmp_path / "fleet.toml"
        path.write_text(text)
        path.chmod(0o600)
        assert load_settings(path, environ={}, home=tmp_path, cwd=tmp_path).names
