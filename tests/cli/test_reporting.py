"""fleet report and runs, from journals alone."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from fleet.core.events import Began, Ended, Outcome, RunStarted
from fleet.core.planning.plan import Stage
from fleet.core.planning.plan_file import load_plan
from fleet.journal.writer import InlineJournal
from fleet.service.running import open_run
from tests.plans import make_change, make_plan

Lab = Any
Shell = Any


@pytest.fixture
def run(lab: Lab) -> str:
    """The id of a run that is over."""
    said: str = lab.apply().said[0]
    return said.removeprefix("run ")


def test_a_run_is_found_by_id_by_its_beginning_and_by_its_folder(lab: Lab, shell: Shell, run: str) -> None:
    lab.cloud.log.clear()
    full = shell("report", run, "--run-dir", lab.runs)
    assert [line.split()[4] for line in full.out.splitlines()[1:5]] == ["changed"] * 4
    for name in (run[:12], run[:-2]):
        assert shell("report", name, "--run-dir", lab.runs) == full
    (shell.folder / "fleet.toml").unlink()
    assert shell("report", lab.runs / run).out == full.out.replace(f" --config {shell.folder}/fleet.toml", "")
    assert lab.cloud.log == []


def test_the_configuration_names_the_folder_of_the_runs(lab: Lab, shell: Shell, run: str) -> None:
    assert "no such run" in shell.refused("report", run)
    shell.write("fleet.toml", lab.config() + '\n[run]\ndir = "runs"\n')
    assert shell("report", run).code == 0
    assert [found["run"] for found in shell("runs", "-o", "json").json] == [run]


def test_without_a_configuration_runs_live_in_the_home_folder(lab: Lab, shell: Shell) -> None:
    said = shell("apply", lab.plan(), "--yes").said[0]
    (shell.folder / "fleet.toml").unlink()
    (found,) = shell("runs", "-o", "json").json
    assert (f"run {found['run']}", found["dir"].startswith(str(shell.folder / "home"))) == (said, True)


def test_each_form_has_a_row_for_each_notebook(lab: Lab, shell: Shell, run: str) -> None:
    ids = {row["id"] for row in shell("report", run, "--run-dir", lab.runs, "-o", "json").json["rows"]}
    lines = shell("report", run, "--run-dir", lab.runs, "-o", "jsonl").out.splitlines()
    table = shell("report", run, "--run-dir", lab.runs, "-o", "csv").out
    assert len(ids) == 4
    assert {json.loads(line)["id"] for line in lines} == ids
    assert {row["id"] for row in csv.DictReader(io.StringIO(table, newline=""))} == ids


def test_runs_are_listed_with_what_became_of_them(lab: Lab, shell: Shell, run: str) -> None:
    (found,) = shell("runs", "--run-dir", lab.runs, "-o", "json").json
    about = {"run", "job", "state", "started_at", "finished_at", "counts", "dir"}
    assert {*found} == about | {"stages", "between_stages"}
    assert (found["stages"], found["between_stages"]) == (0, {})
    assert (found["run"], found["job"], found["state"]) == (run, "torch", "finished")
    assert (found["counts"]["changed"], found["dir"]) == (4, str(lab.runs / run))
    header, line = shell("runs", "--run-dir", lab.runs).out.splitlines()
    assert header.split() == ["run", "job", "state", "started", "notebooks"]
    assert line.split()[:3] == [run, "torch", "finished"]
    assert line.endswith("4 selected: 4 changed")


def test_the_stages_of_a_run_are_listed_with_those_that_are_done(lab: Lab, shell: Shell) -> None:
    first = make_change(0)
    second = make_change(1, id=first.id, wave=2, stage=2, follows=0)
    plan = make_plan(first, second, stages=(Stage(1, 1, 0.0), Stage(2, 2, 60.0)))
    folder = open_run(lab.runs, "20261130-081500-k3f9", plan, InlineJournal)
    for event in (RunStarted(1001.0, folder.run, plan.digest), Began(0, 1010.0)):
        folder.journal.note(event)
    folder.journal.note(Ended(0, 1020.0, Outcome.CHANGED))
    folder.close()
    (line,) = shell("runs", "--run-dir", lab.runs).out.splitlines()[1:]
    assert line.endswith("1 selected: 1 not-started; stage 1 done: 1 notebook; 2 stages in all")
    (found,) = shell("runs", "--run-dir", lab.runs, "-o", "json").json
    assert (found["stages"], found["between_stages"]) == (2, {"1": 1})


def test_no_runs_are_an_empty_list(shell: Shell) -> None:
    assert shell("runs", "-o", "json").json == []
    assert shell("runs").out.split() == ["run", "job", "state", "started", "notebooks"]


def test_a_run_that_goes_on_can_be_reported(lab: Lab, shell: Shell) -> None:
    plan = load_plan(lab.plan().read_bytes(), "plan.json")
    folder = open_run(lab.runs, "20261130-081500-k3f9", plan)
    try:
        told = shell("report", folder.run, "--run-dir", lab.runs, "-o", "json").json
        (listed,) = shell("runs", "--run-dir", lab.runs, "-o", "json").json
    finally:
        folder.journal.close()
    assert (told["state"], {row["outcome"] for row in told["rows"]}) == ("running", {None})
    assert listed["state"] == "running"
    told = shell("report", folder.run, "--run-dir", lab.runs, "-o", "json").json
    assert (told["state"], told["counts"]["not-started"]) == ("interrupted", 4)


@pytest.mark.parametrize(
    ("name", "complaint"),
    [
        ("20991130", "20991130: no such run in"),
        ("../../etc", "'../../etc' is not a run id, nor the beginning of one"),
        ("x" * 300, "is not a run id, nor the beginning of one; see: fleet runs"),
        ("", "'' is not a run id"),
    ],
)
def test_a_run_that_is_not_there_is_named(
    lab: Lab, shell: Shell, run: str, name: str, complaint: str
) -> None:
    for command in ("report", "resume"):
        assert complaint in shell.refused(command, name, "--run-dir", lab.runs)


def test_a_beginning_that_several_runs_share_is_not_guessed(lab: Lab, shell: Shell, run: str) -> None:
    other = lab.apply().said[0].removeprefix("run ")
    said = shell.refused("report", "20", "--run-dir", lab.runs)
    assert "2 runs begin so" in said
    assert run in said
    assert other in said


@pytest.mark.parametrize("content", [b"", b"\x00" * 5000, b"SQLite format 3\x00" + b"\xff" * 5000])
def test_a_journal_that_is_none_is_named(lab: Lab, shell: Shell, run: str, content: bytes) -> None:
    folder = lab.runs / run
    for path in folder.iterdir():
        if path.name.startswith("journal.db"):
            path.unlink()
    (folder / "journal.db").write_bytes(content)
    for command in ("report", "resume"):
        assert "journal.db" in shell.refused(command, run, "--run-dir", lab.runs, code=1)
    (listed,) = shell("runs", "--run-dir", lab.runs, "-o", "json").json
    assert listed["state"] == "journal lost"


def test_a_folder_of_runs_that_is_a_file_is_named(lab: Lab, shell: Shell) -> None:
    assert "job.yaml: Not a directory" in shell.refused("runs", "--run-dir", "job.yaml")


@pytest.mark.row(42)
@pytest.mark.security("escapes")
def test_a_name_from_the_cloud_cannot_play_with_the_terminal(lab: Lab, shell: Shell) -> None:
    lab.old()[0].name = "\x1b]0;evil\x07\u202e=cmd()"
    said = lab.apply().said[0].removeprefix("run ")
    for form in ("table", "json", "jsonl", "csv"):
        out = shell("report", said, "--run-dir", lab.runs, "-o", form).out
        assert not {"\x1b", "\x07", "\u202e"} & {*out}
