"""fleet recover: a run whose journal is destroyed still has its plan, and the cloud knows the rest."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import sqlite3
import time
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from fleet.core.events import Ended, Event, Intended, Outcome, Step
from fleet.core.planning.plan_file import load_plan
from fleet.journal.lock import RunLock
from fleet.journal.rows import ADD_EVENT, event_record
from fleet.journal.runs import JOURNAL, PLAN
from fleet.service.running import claim, open_run
from fleet.settings import claims_file, load_settings
from fleet.simulator import life
from fleet.simulator.messages import Reply, Request
from fleet.simulator.states import Status
from fleet.simulator.world import HOUR_MS

Lab = Any
Shell = Any

RUN = "20261130-081500-k3f9"
IDS = 4


@dataclass
class Broken:
    """A run that broke off half-way: three notebooks are stopped and owed, two hold the new value.

    The first ran and was updated, the next two ran and were not, the last was stopped and is updated.
    """

    lab: Lab
    shell: Shell
    run: str = RUN
    notebooks: list[Any] = field(init=False)
    job: Path = field(init=False)
    plan: Path = field(init=False)

    def __post_init__(self) -> None:
        self.notebooks = [*self.lab.old("RUNNING")[:3], self.lab.old("STOPPED")[0]]
        for one in self.notebooks[:3]:
            one.lease.grant(5 * HOUR_MS, "IDLE", int(time.time() * 1000))
            one.rendered = None
        select = 'image.name.startsWith("pytorch1.8") && status == "STOPPED"'
        self.job = self.lab.job(select, f"id in {[one.id for one in self.notebooks]}")
        self.plan = self.lab.plan(self.job)

    @property
    def folder(self) -> Path:
        return Path(self.lab.runs / self.run)

    @property
    def options(self) -> str:
        return f"--config {self.shell.folder}/fleet.toml --run-dir {self.lab.runs}"

    @property
    def statuses(self) -> list[str]:
        return [str(one.status) for one in self.notebooks]

    @property
    def updated(self) -> int:
        return sum(not one.image.name.startswith("pytorch1.8") for one in self.notebooks)

    def break_off(self) -> None:
        """As a process that is killed leaves its run, its claims and the notebooks."""
        plan = load_plan(self.plan.read_bytes(), "plan.json")
        specs = load_settings(
            self.shell.folder / "fleet.toml", environ={}, home=self.shell.folder, cwd=self.shell.folder
        ).scopes(scope.name for scope in plan.scopes)
        opened = open_run(self.lab.runs, self.run, plan)
        claimed = claim(opened, plan, specs, claims_file(os.environ), time.time())
        assert claimed.claims is not None
        claimed.claims.close()
        claimed.journal.close()
        world, now = self.lab.cloud.world, time.time()
        new = {change.id: world.images[change.after["image_id"]] for change in plan.changes}
        for one in self.notebooks[:3]:
            life.enter(world, one, Status.STOPPED, now)
        for one in (self.notebooks[0], self.notebooks[3]):
            self.put(one, new[one.id])
        self.lab.cloud.log.clear()

    def put(self, one: Any, image: Any) -> None:
        one.image = image
        one.touch(int(time.time() * 1000))

    def destroy(self) -> None:
        """The journal is overwritten from its first byte on."""
        self.delete()
        (self.folder / JOURNAL).write_bytes(b"rubbish " * 5000)

    def delete(self) -> None:
        """The journal is deleted."""
        for file in self.folder.glob(f"{JOURNAL}*"):
            file.unlink()

    def spoil(self) -> None:
        """The journal has a gap; it proves only that the first notebook is owed and the last was changed."""
        first, last = (self.item(self.notebooks[number].id) for number in (0, 3))
        now = time.time()
        with closing(sqlite3.connect(self.folder / JOURNAL, isolation_level=None)) as connection:
            connection.execute("INSERT INTO event VALUES (1, '{}', 0)")
            events: tuple[Event, ...] = Intended(first, now, Step.STOP, 1), Ended(last, now, Outcome.CHANGED)
            rows = [event_record(seq, event) for seq, event in enumerate(events, 2)]
            connection.executemany(ADD_EVENT, rows)

    def item(self, id: str) -> int:
        """Its number in the plan."""
        changes = load_plan(self.plan.read_bytes(), "plan.json").changes
        return next(change.item for change in changes if change.id == id)

    def recover(self, *options: object) -> Any:
        return self.shell("recover", self.run, "--run-dir", self.lab.runs, *options)

    def rows(self) -> dict[str, dict[str, Any]]:
        """What is found, by notebook."""
        return {row["id"]: row for row in map(json.loads, self.recover("-o", "jsonl").out.splitlines())}

    def start(self, told: str) -> None:
        """Types every start that was printed."""
        for command in re.findall(r"^  .*: fleet (start .*)$", told, re.MULTILINE):
            assert self.shell(*shlex.split(command)).code == 0


DAMAGE = pytest.mark.parametrize("damage", [Broken.destroy, Broken.delete], ids=["rubbish", "deleted"])


@pytest.fixture
def broken(lab: Lab, shell: Shell) -> Broken:
    made = Broken(lab, shell)
    made.break_off()
    return made


@pytest.fixture
def lost(broken: Broken) -> Broken:
    broken.destroy()
    return broken


@pytest.mark.row(47)
def test_where_a_journal_is_destroyed_the_printed_commands_bring_everything_back(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    broken = Broken(lab, shell)
    refused, signals, handle = [one.id for one in broken.notebooks[1:3]], [0], lab.cloud.handle

    def dying(request: Request, now: float) -> Reply:
        """Nothing is started, two are not updated; with all that stopped, Ctrl-C comes twice."""
        put = request.method == "PUT"
        unheard = request.path.endswith("/start") or (put and any(id in request.path for id in refused))
        reply = Reply(503, b"") if unheard else cast(Reply, handle(request, now))
        if broken.updated == 2 and {*broken.statuses} == {"STOPPED"} and signals[0] < 2:
            signals[0] += 1
            os.kill(os.getpid(), signal.SIGINT)
        return reply

    monkeypatch.setattr(lab.cloud, "handle", dying)
    result = lab.apply(broken.plan)
    monkeypatch.setattr(lab.cloud, "handle", handle)
    broken.run = result.run
    broken.destroy()
    lab.cloud.log.clear()

    found = broken.recover()
    rows = broken.rows()
    assert (found.code, lab.writes) == (7, [])
    assert [rows[one.id]["holds"] for one in broken.notebooks] == [
        "new value",
        "old value",
        "old value",
        "new value",
    ]
    (shell.folder / "elsewhere").mkdir()
    shell.patch.chdir(shell.folder / "elsewhere")
    broken.start(found.out)
    assert broken.statuses == ["RUNNING"] * 3 + ["STOPPED"]
    now = time.time() * 1000
    for one in broken.notebooks[:3]:
        assert one.lease.type == "IDLE"
        assert 4.9 * HOUR_MS < one.lease.create_at + one.lease.duration - now <= 5 * HOUR_MS
    again = broken.recover("--config", shell.folder / "fleet.toml")
    assert (again.code, "fleet start" in again.out) == (0, False)
    assert lab.writes == ["StartNotebook"] * 3


def test_the_table_has_a_row_for_each_and_adds_up(lost: Broken) -> None:
    lines = lost.recover().out.splitlines()
    assert lines[0].split() == ["scope", "name", "id", "holds", "run", "state", "reason"]
    assert {line.split()[2] for line in lines[1 : IDS + 1]} == {one.id for one in lost.notebooks}
    assert sum("RUNNING > STOPPED" in line for line in lines) == 3
    assert f"run {lost.run}, job torch, as the cloud shows it now" in lines
    assert "4 planned: 2 new value, 2 old value" in lines
    assert "3 ran when the plan was made and do not now; by whose hand, nobody can tell" in lines
    off = "it keeps other runs off what its last process was still to change"
    assert lines[-1] == f"once nothing is owed remove {lost.folder}: {off}"


def test_programs_get_the_same_as_json(lost: Broken) -> None:
    document = lost.recover("-o", "json").json
    assert {*document} == {"run", "job", "exit", "counts", "rows"}
    assert (document["run"], document["job"], document["exit"]) == (lost.run, "torch", 7)
    assert {word: number for word, number in document["counts"].items() if number} == {
        "new value": 2,
        "old value": 2,
    }
    rows = lost.rows()
    assert {row["id"]: row for row in document["rows"]} == rows
    row = rows[lost.notebooks[0].id]
    assert row["after"] == row["planned"] != row["before"]
    assert row["run_state"] == {"before": "RUNNING", "after": "STOPPED"}
    assert row["fix"].endswith(f" --type IDLE --config {lost.shell.folder}/fleet.toml")
    assert rows[lost.notebooks[3].id]["fix"] == ""


@DAMAGE
@pytest.mark.parametrize("command", ["report", "status", "resume", "watch", "pause", "retry", "undo"])
def test_commands_that_need_the_journal_name_the_one_that_does_not(
    broken: Broken, damage: Any, command: str
) -> None:
    damage(broken)
    result = broken.shell(command, broken.run, "--run-dir", broken.lab.runs)
    assert (result.code, result.out) == (1, "")
    told = result.said[-1]
    assert told.endswith(f"; see what the run left with: fleet recover {broken.run} {broken.options}")
    assert [line for line in result.said if line != f"run {broken.run}"] == [told]
    assert broken.lab.cloud.log == []
    words = shlex.split(told.partition(": fleet ")[2])
    assert broken.shell(*words).code == 7


def test_a_run_is_recovered_by_its_folder_when_only_the_plan_is_left(broken: Broken) -> None:
    for file in broken.folder.iterdir():
        if file.name != PLAN:
            file.unlink()
    assert broken.shell("recover", broken.folder).code == 7
    broken.shell.patch.chdir(broken.folder)
    assert f"run {broken.run}, " in broken.shell("recover", ".", "--config", "../../fleet.toml").out


def test_the_list_of_runs_says_that_the_journal_is_lost_and_counts_nothing(lost: Broken) -> None:
    _, line = lost.shell("runs", "--run-dir", lost.lab.runs).out.splitlines()
    assert line.split() == [lost.run, "torch", "journal", "lost", "?"]
    (found,) = lost.shell("runs", "--run-dir", lost.lab.runs, "-o", "json").json
    assert (found["state"], found["counts"]) == ("journal lost", {})


def test_a_sound_journal_is_said_to_know_more(broken: Broken) -> None:
    result = broken.recover()
    report, resume = (f"fleet {name} {broken.run} {broken.options}" for name in ("report", "resume"))
    assert (result.code, result.said) == (
        7,
        [f"its journal is not lost; these know more: {report}; {resume}"],
    )
    assert "once nothing is owed" not in result.out
    assert broken.shell(*shlex.split(report)[1:]).out.startswith("scope ")


@pytest.mark.row(47)
def test_a_damaged_journal_is_no_circle_of_commands(broken: Broken) -> None:
    broken.spoil()
    shell, base = broken.shell, ("--run-dir", broken.lab.runs)
    refused = shell.refused("resume", broken.run, *base, code=1)
    command = f"fleet recover {broken.run} {broken.options}"
    assert refused.endswith(f"see what the run left with: {command}\n")
    report = shell("report", broken.run, *base)
    assert f"nobody can go on with it: {command}\n" in report.out
    assert "fleet resume" not in report.out + shell("status", broken.run, *base).out
    assert "fleet resume" not in shell("pause", broken.run, *base).err

    later = shell("apply", broken.plan, "--yes", *base, "-o", "jsonl")
    held = {row["id"]: row["reason"] for row in map(json.loads, later.out.splitlines())}
    assert broken.lab.writes == []
    for one in broken.notebooks[:3]:
        assert f"fleet recover {broken.run} --run-dir {broken.lab.runs}" in held[one.id]
        assert held[one.id].endswith(f"when it owes nothing, remove {broken.folder}")
    assert "recover" not in held[broken.notebooks[3].id]

    found = shell(*shlex.split(command)[1:])
    assert (found.code, len(found.out.splitlines()[1:4])) == (7, 3)
    assert "3 planned: 1 new value, 2 old value" in found.out
    assert broken.notebooks[3].id not in found.out
    told = "1 of which it proves that nothing is owed are left out: fleet report"
    assert found.said[0].startswith(f"its journal is damaged (event row 1: wrong checksum); {told}")
    off = "it keeps other runs off what its last process was still to change"
    freed = f"once nothing is owed remove {broken.folder}: {off}"
    assert found.out.splitlines()[-1] == freed
    broken.start(found.out)
    assert broken.statuses == ["RUNNING"] * 3 + ["STOPPED"]
    again = broken.recover()
    assert (again.code, again.out.splitlines()[-1]) == (0, freed)
    shutil.rmtree(broken.folder)
    after = shell("apply", broken.lab.plan(broken.job), "--yes", *base)
    assert (after.code, broken.updated) == (0, 4)


def test_a_run_that_goes_on_is_left_alone(broken: Broken) -> None:
    lock = RunLock(broken.folder)
    try:
        told = broken.shell.refused("recover", broken.run, "--run-dir", broken.lab.runs, code=1)
    finally:
        lock.release()
    assert told.endswith(
        f"goes on, and brings its notebooks home itself; see: fleet status {broken.run} {broken.options}\n"
    )
    assert broken.lab.cloud.log == []


def test_what_is_gone_or_holds_another_value_is_told_with_its_own_exit_code(lost: Broken) -> None:
    world = lost.lab.cloud.world
    third = ("pytorch1.8", "pytorch2.6")
    lost.start(lost.recover().out)
    life.delete(world, lost.notebooks[0], time.time())
    lost.put(lost.notebooks[1], next(one for one in world.images.values() if not one.name.startswith(third)))
    result = lost.recover("-o", "jsonl")
    rows = {row["id"]: row for row in map(json.loads, result.out.splitlines())}
    assert result.code == 5
    assert [rows[one.id]["holds"] for one in lost.notebooks] == [
        "gone",
        "mixed or other value",
        "old value",
        "new value",
    ]
    assert rows[lost.notebooks[1].id]["reason"].startswith("image_id is ")


def test_where_the_cloud_does_not_answer_every_row_says_so(lost: Broken) -> None:
    lost.shell.write("fleet.toml", lost.lab.config(secret="wrong"))
    result = lost.recover()
    assert result.code == 7
    rows = result.out.splitlines()[1 : IDS + 1]
    assert all("unreachable" in row and "> ?" in row and "not authenticated" in row for row in rows)


def test_a_configuration_that_points_elsewhere_is_refused(lost: Broken) -> None:
    lost.shell.write("fleet.toml", lost.lab.config(url="http://127.0.0.1:9"))
    told = lost.shell.refused("recover", lost.run, "--run-dir", lost.lab.runs)
    assert "endpoint is http://127.0.0.1:9 in the configuration" in told


def test_a_plan_that_was_altered_tells_nothing(lost: Broken) -> None:
    plan = lost.folder / PLAN
    plan.write_bytes(plan.read_bytes().replace(b'"torch"', b'"touch"'))
    told = lost.shell.refused("recover", lost.run, "--run-dir", lost.lab.runs)
    assert told.startswith(f"fleet: {plan}: the plan was altered")
    assert lost.lab.cloud.log == []


def test_a_form_that_there_is_not_is_a_wrong_use(shell: Shell) -> None:
    told = shell.refused("recover", "20261130-081500-k3f9", "-o", "csv")
    assert told == "fleet: --output: 'csv' is none of table, json, jsonl\n"


@DAMAGE
def test_later_runs_leave_its_notebooks_alone_until_its_folder_is_removed(
    broken: Broken, damage: Any
) -> None:
    damage(broken)
    told = broken.shell("apply", broken.plan, "--yes", "--run-dir", broken.lab.runs, "-o", "jsonl")
    reasons = [json.loads(line)["reason"] for line in told.out.splitlines()]
    assert (broken.lab.writes, len(reasons)) == ([], IDS)
    command = f"fleet recover {broken.run} --run-dir {broken.lab.runs}"
    assert all(command in reason and str(broken.folder) in reason for reason in reasons)
    shutil.rmtree(broken.folder)
    plan = broken.lab.plan(broken.job)
    assert broken.shell("apply", plan, "--yes", "--run-dir", broken.lab.runs).code == 0
