"""fleet status and set: what is under way, of runs that live and of runs that were killed; wrong words."""

from __future__ import annotations

import json
import os
import socket
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from fleet.cli.standing import screen
from fleet.core.events import (
    Began,
    Ended,
    Held,
    Intended,
    Late,
    Outcome,
    OutOfReach,
    RunStarted,
    Step,
    WaveStarted,
)
from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import dump_plan, load_plan
from fleet.journal.lock import RunLock
from fleet.journal.sqlite import JournalFile
from fleet.service.asking import ADDRESS, Answer
from fleet.service.following import look_at

Lab = Any
Shell = Any

RUN = "20261130-081500-k3f9"
BEGAN = datetime(2026, 11, 30, 8, 15, tzinfo=UTC).timestamp()


@pytest.fixture
def plan(lab: Lab) -> Plan:
    """Three notebooks that are to be restarted; a change may take twenty seconds."""
    path = lab.plan(lab.pick(3, "RUNNING"))
    return load_plan(path.read_bytes(), str(path))


@pytest.fixture
def killed(lab: Lab, plan: Plan) -> Path:
    """The folder of a run that was killed: one notebook being stopped, one late, one owed for good."""
    folder: Path = lab.runs / RUN
    folder.mkdir(mode=0o700, parents=True)
    (folder / "plan.json").write_bytes(dump_plan(plan))
    journal = JournalFile.create(folder / "journal.db", plan, RUN)
    first, second, third = (change.item for change in plan.changes)
    journal.save(
        [
            RunStarted(BEGAN, RUN, plan.digest),
            WaveStarted(BEGAN, 1, 3),
            *(Began(item, BEGAN) for item in (first, second, third)),
            Intended(third, BEGAN + 1.0, Step.STOP, 1),
            Ended(third, BEGAN + 2.0, Outcome.STRANDED, "stays stopped", debt=True),
            Intended(second, BEGAN + 3.0, Step.STOP, 1),
            Late(second, BEGAN + 25.0),
            OutOfReach(BEGAN + 25.0, "h", "cannot connect to h", BEGAN + 20.0),
            Held(BEGAN + 29.0, "lab-a", "8 of 50 calls failed"),
            Intended(first, BEGAN + 30.0, Step.STOP, 1),
        ]
    )
    journal.close()
    return folder


@pytest.fixture
def alive(killed: Path) -> Iterator[None]:
    """The same, as if its process lived."""
    lock = RunLock(killed)
    yield
    lock.release()


def status(shell: Shell, lab: Lab, *more: str) -> Any:
    return shell("status", RUN, "--run-dir", lab.runs, *more)


@pytest.mark.usefixtures("alive")
def test_the_status_of_a_run_that_lives_names_what_is_under_way(lab: Lab, shell: Shell, plan: Plan) -> None:
    told = status(shell, lab, "-o", "json").json
    first, second, third = plan.changes
    assert told["debts"] == 3
    assert [one["id"] for one in told["changes"]] == [second.id, first.id]
    assert told["changes"][0] == {
        "scope": second.scope,
        "id": second.id,
        "name": second.name,
        "wave": 1,
        "step": "stop sent",
        "since": "2026-11-30T08:15:03.000Z",
        "deadline": "2026-11-30T08:15:45.000Z",
        "debt": True,
    }
    assert told["changes"][1]["deadline"] == "2026-11-30T08:15:20.000Z"
    assert {debt["id"] for debt in told["owed"]} == {first.id, second.id, third.id}
    assert next(debt for debt in told["owed"] if debt["id"] == third.id) == {
        "scope": third.scope,
        "id": third.id,
        "name": third.name,
        "since": "2026-11-30T08:15:01.000Z",
        "fix": f"fleet start --scope {third.scope} {third.id} --duration {_left(told, third.id)}",
    }


def _left(told: Any, id: str) -> str:
    """The rest of the command that pays the debt; its numbers are the plan's business."""
    (fix,) = [debt["fix"] for debt in told["owed"] if debt["id"] == id]
    return str(fix).partition("--duration ")[2]


@pytest.mark.usefixtures("alive")
def test_the_screen_has_a_row_for_each_change_under_way_and_leaves_debts_to_the_run(
    lab: Lab, shell: Shell, plan: Plan
) -> None:
    first, second, third = plan.changes
    lines = status(shell, lab, "--config", "fleet.toml").out.splitlines()
    at = lines.index("under way:")
    assert lines[at + 1].split() == ["notebook", "scope", "wave", "step", "since", "deadline", "debt"]
    assert lines[at + 2].startswith(f"  {second.name}")
    assert " stop sent " in lines[at + 2]
    assert " 11-30 08:15:03Z (" in lines[at + 2]
    assert " 11-30 08:15:45Z (" in lines[at + 2]
    assert lines[at + 2].endswith("stopped by us")
    assert lines[at + 3].startswith(f"  {first.name}")
    (owed,) = [line for line in lines if line.startswith("owed: ")]
    assert owed.startswith(f"owed: {third.name}: the run itself brings it back; ")
    assert "fleet start" not in "".join(lines)


@pytest.mark.usefixtures("killed")
def test_the_status_of_a_killed_run_names_what_it_left_and_how_to_go_on(lab: Lab, shell: Shell) -> None:
    told = status(shell, lab, "-o", "json").json
    assert (told["live"], len(told["changes"]), len(told["owed"])) == (False, 2, 3)
    assert {one["deadline"] for one in told["changes"]} == {None}
    assert (told["elapsed_s"], told["debts"]) == (30.0, 3)
    lines = status(shell, lab).out.splitlines()
    assert lines[0].endswith(": interrupted after 30s")
    assert "left unfinished:" in lines
    config = f"--config {shell.folder}/fleet.toml"
    options = f"{config} --run-dir {lab.runs}"
    at = lines.index(f"3 owed, all brought back by: fleet resume {RUN} {options}; or each by its command:")
    owed = lines[at + 1 : at + 4]
    assert all(line.startswith("owed: ") and ": fleet start --scope " in line for line in owed)
    assert all(line.endswith(f" {config}") for line in owed)
    assert f"to go on where it stopped: fleet resume {RUN} {options}" in lines


@pytest.mark.usefixtures("killed")
def test_who_takes_a_killed_run_back_is_told_what_is_open_and_what_stranded(lab: Lab, shell: Shell) -> None:
    stranded, command, opened, *commands = shell("undo", RUN, "--run-dir", lab.runs).said
    assert stranded.startswith("1 notebook was left stranded and will not be planned")
    assert opened == (
        "2 notebooks were left stopped, as the run broke off, and will not be planned; "
        "unless they are back by now, first:"
    )
    assert all(one.startswith("  fleet start --scope ") for one in (command, *commands[:2]))
    options = f"--config {shell.folder}/fleet.toml --run-dir {lab.runs}"
    assert commands[2] == f"  or all, and what is left of the run besides: fleet resume {RUN} {options}"


@pytest.mark.parametrize("command", ["status", "resume", "pause"])
def test_the_socket_of_a_killed_run_is_removed_by_the_next_command(
    lab: Lab, shell: Shell, killed: Path, command: str
) -> None:
    with tempfile.TemporaryDirectory(prefix="left-", dir="/tmp") as place:
        path = Path(place) / f"{RUN}.sock"
        with socket.socket(socket.AF_UNIX) as left:
            left.bind(str(path))
        (killed / ADDRESS).write_bytes(os.fsencode(path))
        shell(command, RUN, "--run-dir", lab.runs)
        assert (path.exists(), (killed / ADDRESS).exists()) == (False, False)


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        ("--rate fast", "rate 'fast' is not a count and a window; write it as 60/min, 10/s"),
        (f"--rate {'5' * 50}/s", "is not a count and a window"),
        ("", "nothing to set; give --rate or --concurrency"),
        ("--scope lab-a --concurrency 3", "nothing to set; give --rate or --concurrency"),
        ("--concurrency 0", "must be greater than or equal to 1"),
        ("--concurrency 1001", "must be less than or equal to 1000"),
        ("--concurrency x", "must be a valid integer"),
    ],
)
@pytest.mark.usefixtures("alive")
def test_wrong_values_for_set_are_wrong_use(lab: Lab, shell: Shell, words: str, complaint: str) -> None:
    told = shell.refused("set", RUN, "--run-dir", lab.runs, *words.split())
    assert complaint in told


@pytest.mark.usefixtures("killed")
def test_a_run_that_is_over_cannot_be_set_which_is_no_wrong_use(lab: Lab, shell: Shell) -> None:
    told = shell.refused("set", RUN, "--run-dir", lab.runs, "--rate", "5/s", code=1)
    options = f"--config {shell.folder}/fleet.toml --run-dir {lab.runs}"
    assert f"is not going on and owes 3 notebooks; go on with: fleet resume {RUN} {options}\n" in told


def test_a_run_that_finished_cannot_be_steered_and_has_a_report(lab: Lab, shell: Shell) -> None:
    run = lab.apply(lab.plan(lab.pick(1))).run
    for command in ("pause", "cancel", "approve"):
        told = shell.refused(command, run, "--run-dir", lab.runs, code=1)
        assert f"is not going on; see: fleet report {run} --config " in told


@pytest.mark.usefixtures("killed")
def test_the_status_tells_why_the_cloud_did_not_answer_and_how_long(lab: Lab, shell: Shell) -> None:
    assert status(shell, lab, "-o", "json").json["out_of_reach"] == ["cannot connect to h, for 10s"]
    assert "no answer: cannot connect to h, for 10s" in status(shell, lab).out.splitlines()


def test_the_status_of_a_run_that_is_over_has_nothing_under_way(lab: Lab, shell: Shell) -> None:
    run = lab.apply().run
    told = json.loads(shell("status", run, "--run-dir", lab.runs, "-o", "json").out)
    assert (told["changes"], told["owed"], told["state"]) == ([], [], "finished")
    assert "under way" not in shell("status", run, "--run-dir", lab.runs).out


@pytest.mark.usefixtures("alive")
def test_the_screen_names_the_limit_that_binds_and_what_requests_wait_for(killed: Path) -> None:
    words = {"binding": ("concurrency 3",), "waits": {"host, reads": "8 without an answer"}}
    lines = [*screen(look_at(killed, BEGAN + 89.0), Answer(done=True, text="", **words), BEGAN + 89.0)]
    assert "the next change waits for: concurrency 3" in lines
    assert "requests of host, reads wait: 8 without an answer" in lines
    assert "held: lab-a: 8 of 50 calls failed, held for 1m" in lines


@pytest.mark.usefixtures("alive")
def test_while_a_run_is_paused_its_next_change_waits_for_the_end_of_that_and_of_nothing_else(
    killed: Path,
) -> None:
    answer = Answer(done=True, text="", paused=True, binding=("concurrency 3",))
    found = [
        line for line in screen(look_at(killed, BEGAN), answer, BEGAN) if line.startswith("the next change")
    ]
    assert found == [
        f"the next change waits for the end of the pause: fleet resume {look_at(killed, BEGAN).report.run}"
    ]


def test_nobody_is_held_by_a_run_that_was_killed(killed: Path) -> None:
    assert not any(line.startswith("held: ") for line in screen(look_at(killed, BEGAN), None, BEGAN))
