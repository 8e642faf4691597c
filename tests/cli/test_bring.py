"""fleet start and stop: a debt paid by hand."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, cast

import pytest

from fleet.journal.claims import Claims
from fleet.journal.lock import RunLock
from fleet.settings import claims_file
from fleet.simulator.messages import Reply, Request

Lab = Any
MakeLab = Any
Shell = Any

LEASE = ("--duration", 7_200_000, "--type", "IDLE")


def scope_of(lab: Lab, row: Any) -> tuple[str, str]:
    """The option that names the notebook's scope."""
    projects = [project.id for project in lab.cloud.identity.projects]
    return "--scope", f"lab-{'ab'[projects.index(row.project)]}"


def test_a_notebook_is_started_with_its_lease_and_stopped_again(lab: Lab, shell: Shell) -> None:
    row = lab.old()[0]
    result = shell("start", row.id, *scope_of(lab, row), *LEASE)
    assert (result.code, result.out, result.err) == (0, f"{row.name} is RUNNING\n", "")
    assert lab.writes == ["StartNotebook"]
    (start,) = (record for record in lab.cloud.log if record.operation == "StartNotebook")
    assert start.query == {"duration": "7200000", "type": "IDLE"}
    result = shell("stop", row.id, *scope_of(lab, row))
    assert (result.code, result.out) == (0, f"{row.name} is STOPPED\n")
    assert lab.writes == ["StartNotebook", "StopNotebook"]


@pytest.mark.parametrize(
    ("words", "sent"),
    [
        ("1h30m", "5400000"),
        ("3d", "259200000"),
        (3_600_001, "3600001"),
    ],
)
def test_a_lease_is_given_as_a_person_writes_it_or_in_milliseconds(
    lab: Lab, shell: Shell, words: object, sent: str
) -> None:
    row = lab.old()[0]
    assert shell("start", row.id, *scope_of(lab, row), "--duration", words).code == 0
    (start,) = (record for record in lab.cloud.log if record.operation == "StartNotebook")
    assert start.query["duration"] == sent


def test_automatic_stop_can_be_switched_off(lab: Lab, shell: Shell) -> None:
    row = lab.old()[0]
    assert shell("start", row.id, *scope_of(lab, row), "--duration", -1).code == 0
    assert not row.lease.enable


def test_what_is_there_already_is_left_alone(lab: Lab, shell: Shell) -> None:
    stopped, running = lab.old()[0], lab.old("RUNNING")[0]
    assert shell("stop", stopped.id, *scope_of(lab, stopped)).code == 0
    assert shell("start", running.id, *scope_of(lab, running), *LEASE).code == 0
    assert lab.writes == []


def test_a_start_that_fails_is_told_with_the_cloud_s_reason(make_lab: MakeLab, shell: Shell) -> None:
    lab = make_lab("[{kind: failing-start, reason: no room}]")
    row = lab.old()[0]
    said = shell.refused("start", row.id, *scope_of(lab, row), *LEASE, code=3)
    assert said.startswith(f"fleet: {row.name} is START_FAILED")
    assert "not RUNNING" in said
    assert "no room" in said


def test_a_notebook_that_is_not_there_is_told(lab: Lab, shell: Shell) -> None:
    said = shell.refused("stop", "00000000-0000-0000-0000-000000000000", "--scope", "lab-a", code=1)
    assert "does not exist" in said


@pytest.mark.parametrize("id", ["x", "../../v1/other", "f9937afa-4451-42db-a76b-72d624749f6g"])
def test_an_id_that_is_none_is_refused_and_nothing_is_sent(lab: Lab, shell: Shell, id: str) -> None:
    assert "is not a UUID such as" in shell.refused("stop", id, "--scope", "lab-a")
    assert "is not a UUID such as" in shell.refused("start", id, "--scope", "lab-a", *LEASE)
    assert lab.cloud.log == []


@pytest.mark.parametrize("duration", [0, -2, 3_599_999, 259_200_001, "59m", "3d1s"])
def test_a_lease_that_the_cloud_would_refuse_is_not_sent(lab: Lab, shell: Shell, duration: object) -> None:
    row = lab.old()[0]
    said = shell.refused("start", row.id, *scope_of(lab, row), "--duration", duration)
    assert (
        said == f"fleet: --duration: {duration} is neither -1 nor from 1h to 3d (3600000 to 259200000 ms)\n"
    )
    assert lab.cloud.log == []


def test_ctrl_c_says_that_the_start_may_be_under_way(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    row, handle = lab.old()[0], lab.cloud.handle

    def heard(request: Request, now: float) -> Reply:
        reply = cast(Reply, handle(request, now))
        if request.method == "POST":
            os.kill(os.getpid(), signal.SIGINT)
        return reply

    monkeypatch.setattr(lab.cloud, "handle", heard)
    said = shell.refused("start", row.id, *scope_of(lab, row), *LEASE, code=6)
    assert said.startswith("fleet: interrupted; what was sent goes on, look with: fleet ls")


def test_a_start_whose_answer_was_lost_is_settled_by_looking(make_lab: MakeLab, shell: Shell) -> None:
    lab = make_lab("[{kind: lost-answer, match: {operation: StartNotebook}, times: 1, applied: true}]")
    row = lab.old()[0]
    assert shell("start", row.id, *scope_of(lab, row), *LEASE).code == 0
    assert row.status == "RUNNING"


def test_what_is_waited_for_is_told_on_stderr(make_lab: MakeLab, shell: Shell) -> None:
    busy = "{kind: refusal, match: {operation: StopNotebook}, times: 1, status: 400, code: ModelArts.6357}"
    lab = make_lab(f"[{busy}]")
    row = lab.old("RUNNING")[0]
    result = shell("stop", row.id, *scope_of(lab, row))
    assert (result.code, result.out) == (0, f"{row.name} is STOPPED\n")
    assert result.err == "waiting: it is RUNNING, the cloud is busy with it\n"
    assert lab.writes == ["StopNotebook"] * 2


def test_a_notebook_that_a_live_run_claims_is_left_to_it(lab: Lab, shell: Shell, tmp_path: Path) -> None:
    row, folder = lab.old()[0], tmp_path / "20261130-081500-k3f9"
    folder.mkdir()
    key = (f"{lab.url} {row.project}", row.id)
    with ExitStack() as stack:
        stack.callback(RunLock(folder).release)
        claims = stack.enter_context(closing(Claims(claims_file(os.environ))))
        claims.take([key], folder.name, folder, 1000.0, lambda folder, keys: ())
        for words in (("start", row.id, *LEASE), ("stop", row.id)):
            said = shell.refused(*words, *scope_of(lab, row), code=4)
            assert f"run {folder.name} is working on it" in said
            assert f"fleet cancel {folder.name}" in said
    assert lab.cloud.log == []
