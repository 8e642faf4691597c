"""A command that is printed does what it says, whatever the working folder it is typed in."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

Lab = Any
Shell = Any


def printed(text: str, command: str) -> list[str]:
    """The words of the one command of that name in the text."""
    (found,) = re.findall(rf"fleet ({command} .*)", text)
    return shlex.split(found)


def elsewhere(shell: Shell) -> Path:
    """Goes to another folder."""
    other: Path = shell.folder / "elsewhere"
    other.mkdir(exist_ok=True)
    shell.patch.chdir(other)
    return other


@pytest.mark.parametrize(
    "words",
    [
        ["--run-dir", "runs"],
        ["--run-dir", "runs", "--config", "fleet.toml"],
        ["--run-dir", "elsewhere/../runs"],
    ],
)
def test_the_command_that_takes_a_run_back_works_in_any_folder(
    lab: Lab, shell: Shell, words: list[str]
) -> None:
    lab.plan(lab.pick(1))
    other = elsewhere(shell)
    shell.patch.chdir(shell.folder)
    result = shell("apply", "plan.json", "--yes", *words)
    shell.patch.chdir(other)
    undo = printed(result.out, "undo")
    assert undo[-4:] == ["--config", str(shell.folder / "fleet.toml"), "--run-dir", str(lab.runs)]
    assert shell(*undo).code == 0


def test_the_command_that_applies_a_plan_works_in_any_folder(lab: Lab, shell: Shell) -> None:
    told = shell("plan", lab.pick(1), "-o", "plan.json").err
    elsewhere(shell)
    assert shell(*printed(told, "apply"), "--yes", "--run-dir", lab.runs).code == 0


def test_what_holds_in_every_folder_is_not_printed(lab: Lab, shell: Shell) -> None:
    own = shell.folder / "home/.config/notebook-fleet"
    own.mkdir(parents=True)
    (shell.folder / "fleet.toml").rename(own / "fleet.toml")
    out = shell("run", lab.pick(1), "--yes").out
    assert not {"--config", "--run-dir"} & {*printed(out, "undo")}


def test_a_run_named_by_its_folder_is_found_again_from_elsewhere(lab: Lab, shell: Shell) -> None:
    run = lab.apply(lab.plan(lab.pick(1))).run
    shell.patch.chdir(lab.runs / run)
    out = shell("report", ".", "--config", "../../fleet.toml").out
    elsewhere(shell)
    assert shell(*printed(out, "undo")).code == 0


def test_a_report_needs_no_configuration_that_is_right(lab: Lab, shell: Shell) -> None:
    run = lab.apply(lab.plan(lab.pick(1))).run
    shell.write("fleet.toml", "nonsense")
    assert f"--run-dir {lab.runs}" in shell("report", run, "--run-dir", "runs").out


def test_a_plan_with_nothing_to_do_names_no_next_command(lab: Lab, shell: Shell) -> None:
    told = shell("plan", lab.job('status == "STOPPED"', 'name == "nobody"'), "-o", "plan.json").err
    assert told == "plan written\n"
