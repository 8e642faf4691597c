"""What a run left stopped is known to every later command: nobody takes it for the user's wish."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import time
from contextlib import closing
from typing import Any, cast

import pytest

from fleet.core.planning.plan_file import load_plan
from fleet.journal.runs import JOURNAL
from fleet.simulator.messages import Reply, Request

Lab = Any
Shell = Any


class Left:
    """A run that was ended at once: one notebook is stopped and owed, another was not begun."""

    def __init__(self, lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.shell = lab, shell
        ids = [lab.old("RUNNING")[0].id, lab.old("STOPPED")[0].id]
        self.job = lab.job('image.name.startsWith("pytorch1.8") && status == "STOPPED"', f"id in {ids}")
        self.job.write_text(self.job.read_text().replace("rollout: {", "rollout: {concurrency: 1, "))
        self.plan = lab.plan(self.job)
        self.signals: list[str] = []
        handle = lab.cloud.handle

        def twice(request: Request, now: float) -> Reply:
            """Ctrl-C at the stop, and again at the look after it, whose answer is lost, so no PUT follows."""
            stop, sent = request.path.endswith("/stop"), bool(self.signals)
            reply = cast(Reply, handle(request, now))
            if (stop or sent) and len(self.signals) < 2:
                self.signals.append(request.path)
                os.kill(os.getpid(), signal.SIGINT)
            return Reply(503, b"") if sent else reply

        monkeypatch.setattr(lab.cloud, "handle", twice)
        result = lab.apply(self.plan, "-o", "jsonl")
        monkeypatch.setattr(lab.cloud, "handle", handle)
        self.run = result.run
        rows = [json.loads(line) for line in result.out.splitlines()]
        (self.owed,) = [row for row in rows if row["debt"]]
        (self.free,) = [row for row in rows if not row["debt"]]
        assert (result.code, self.owed["outcome"], self.free["outcome"]) == (7, "stranded", "not-started")
        assert self.status == "STOPPED"
        lab.cloud.log.clear()

    @property
    def reason(self) -> str:
        """Why later runs leave out what is owed."""
        options = f"--run-dir {self.lab.runs} --config {self.shell.folder}/fleet.toml"
        return f"stopped by run {self.run}, which owes it: fleet resume {self.run} {options}"

    @property
    def status(self) -> str:
        return str(self.lab.cloud.world.notebooks[self.owed["id"]].status)

    def again(self, *words: object) -> tuple[int, dict[str, Any]]:
        """The exit code of a later run, and its rows by notebook."""
        result = self.shell(*words, "--yes", "--run-dir", self.lab.runs, "-o", "jsonl")
        return result.code, {row["id"]: row for row in map(json.loads, result.out.splitlines())}


@pytest.fixture
def left(lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> Left:
    return Left(lab, shell, monkeypatch)


@pytest.mark.parametrize("command", ["run", "apply"])
def test_a_later_run_leaves_out_what_is_owed_and_says_what_to_do(left: Left, command: str) -> None:
    code, rows = left.again(command, left.job if command == "run" else left.plan)
    owed = rows[left.owed["id"]]
    assert (code, owed["outcome"], rows[left.free["id"]]["outcome"]) == (4, "not-started", "changed")
    assert owed["reason"] == left.reason
    assert left.status == "STOPPED"


def test_an_apply_of_a_plan_whose_run_is_open_names_the_way_to_go_on_with_it(left: Left) -> None:
    options = f"--run-dir {left.lab.runs} --config {left.shell.folder}/fleet.toml"
    words = (
        f"run {left.run} of this plan has ended and owes 1 notebook, which another leaves alone; "
        f"to go on with it instead: fleet resume {left.run} {options}"
    )
    asked = left.shell("apply", left.plan, "--run-dir", left.lab.runs, stdin="no\n")
    assert asked.said.index(words) < asked.said.index("type 2 to change 2 notebooks: ")
    other = left.shell("run", left.job, "--run-dir", left.lab.runs, stdin="no\n")
    assert words not in other.said  # a plan of its own
    unasked = left.shell("apply", left.plan, "--yes", "--run-dir", left.lab.runs)
    assert unasked.said[:2] == [f"run {unasked.run}", words]
    assert left.shell(*words.partition(": fleet ")[2].split()).code == 0
    assert left.status == "RUNNING"
    assert words not in left.shell("apply", left.plan, "--yes", "--run-dir", left.lab.runs).said


def test_an_apply_of_a_plan_whose_runs_journal_is_damaged_sends_nobody_to_resume(left: Left) -> None:
    with closing(sqlite3.connect(left.lab.runs / left.run / JOURNAL)) as journal, journal:
        journal.execute("UPDATE event SET crc = crc + 1 WHERE seq = 3")
    said = left.shell("apply", left.plan, "--run-dir", left.lab.runs, stdin="no\n").said
    (told,) = (line for line in said if line.startswith(f"run {left.run} of this plan"))
    assert told.startswith(f"run {left.run} of this plan has a damaged journal and owes 2 notebooks")
    assert "resume" not in told
    assert f"fleet recover {left.run}" in told


def test_a_plan_says_what_is_owed_of_it(left: Left) -> None:
    check = f"1 of the notebooks selected: {left.reason}"
    assert check in " ".join(left.shell("plan", left.job).out.split())


def give_the_new_value(left: Left) -> None:
    """Somebody changes what is owed as the job wants it, and leaves it stopped."""
    world = left.lab.cloud.world
    planned = load_plan(left.plan.read_bytes(), "plan.json").changes
    (new,) = {change.after["image_id"] for change in planned if change.id == left.owed["id"]}
    notebook = world.notebooks[left.owed["id"]]
    notebook.image = world.images[new]
    notebook.touch(int(time.time() * 1000))


def test_one_that_has_its_new_value_and_is_owed_is_not_called_unchanged(left: Left) -> None:
    give_the_new_value(left)
    code, told = left.again("run", left.job)
    row = told[left.owed["id"]]
    assert (code, row["outcome"], row["reason"]) == (4, "not-started", left.reason)
    assert told[left.free["id"]]["outcome"] == "changed"


def test_a_run_that_finds_only_what_is_owed_is_no_success_and_names_the_command(left: Left) -> None:
    give_the_new_value(left)
    left.job.write_text(left.job.read_text().replace(left.free["id"], left.owed["id"]))
    result = left.shell("run", left.job, "--yes", "--run-dir", left.lab.runs)
    assert (result.code, left.lab.writes) == (4, [])
    assert f": halted after 0s: 1 left out: {left.reason}\n" in result.out
    assert f"fleet resume {result.run}" not in result.out
    (command,) = {left.reason.partition(": fleet ")[2]}
    assert left.shell(*command.split()).code == 0
    assert left.status == "RUNNING"
