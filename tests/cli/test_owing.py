"""What a run left stopped is known to every later command: nobody takes it for the user's wish."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
from typing import Any, cast

import pytest

from fleet.settings import claims_file
from fleet.simulator.messages import Reply, Request

Lab = Any
Shell = Any


class Left:
    """A run that was ended at once: one notebook is stopped and owed, another was not begun."""

    def __init__(self, lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
        self.lab, self.shell = lab, shell
        self.job = lab.pick(2, "RUNNING")
        self.job.write_text(self.job.read_text().replace("rollout: {", "rollout: {concurrency: 1, "))
        self.plan = lab.plan(self.job)
        self.sent: set[str] = set()
        handle = lab.cloud.handle

        def twice(request: Request, now: float) -> Reply:
            """Ctrl-C at the first stop, and again at the first start, which is lost."""
            kind = request.path.rsplit("/", 1)[-1]
            if kind == "start":
                reply = Reply(503, b"")
            else:
                reply = cast(Reply, handle(request, now))
            if kind in ("stop", "start") and kind not in self.sent:
                self.sent.add(kind)
                os.kill(os.getpid(), signal.SIGINT)
            return reply

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
    assert owed["reason"] == (
        f"stopped by run {left.run}, which owes it: fleet resume {left.run} --run-dir {left.lab.runs}"
    )
    assert left.status == "STOPPED"


def test_the_command_that_it_names_pays_and_then_nothing_is_claimed(left: Left) -> None:
    _, rows = left.again("run", left.job)
    command = rows[left.owed["id"]]["reason"].partition(": fleet ")[2]
    assert left.shell(*command.split()).err.startswith(f"run {left.run}\n")
    assert left.status == "RUNNING"
    with sqlite3.connect(claims_file(os.environ)) as connection:
        assert connection.execute("SELECT count(*) FROM claim").fetchone() == (0,)
    connection.close()


def test_what_was_brought_back_by_hand_is_owed_no_longer(left: Left) -> None:
    assert left.shell(*left.owed["fix"].split()[1:]).code == 0
    assert left.status == "RUNNING"
    code, rows = left.again("run", left.job)
    assert code == 0
    assert {row["outcome"] for row in rows.values()} <= {"changed", "unchanged"}
    assert left.status == "RUNNING"
