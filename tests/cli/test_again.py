"""fleet undo and retry: plans that come from a run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest

from fleet.core.planning.plan_file import load_plan
from fleet.simulator.messages import Reply, Request

Lab = Any
Shell = Any


def test_a_run_can_be_taken_back(lab: Lab, shell: Shell) -> None:
    before = {row.id: row.image.id for row in lab.old()}
    number = lab.apply().said[0].removeprefix("run ")
    lab.cloud.log.clear()
    result = shell("undo", number, "--run-dir", lab.runs, "-o", "back.json")
    assert (result.code, lab.writes) == (0, [])
    options = f"--config {shell.folder}/fleet.toml --run-dir {lab.runs}"
    assert result.err == f"plan written; next: fleet apply {shell.folder}/back.json {options}\n"
    assert lab.apply("back.json").code == 0
    assert {id: lab.cloud.world.notebooks[id].image.id for id in before} == before


def test_what_failed_can_be_planned_again(lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, unlucky, handle = lab.plan(), lab.old()[0].id, lab.cloud.handle

    def refuse(request: Request, now: float) -> Reply:
        if request.method == "PUT" and unlucky in request.path:
            return Reply(400, b'{"error_code": "ModelArts.0104", "error_msg": "not today"}')
        return cast(Reply, handle(request, now))

    monkeypatch.setattr(lab.cloud, "handle", refuse)
    result = lab.apply(plan)
    monkeypatch.setattr(lab.cloud, "handle", handle)
    number = result.said[0].removeprefix("run ")
    assert result.code == 3
    assert shell("retry", number, "--failed", "--run-dir", lab.runs, "-o", "again.json").code == 0
    again = load_plan((shell.folder / "again.json").read_bytes(), "again.json")
    assert [change.id for change in again.changes] == [unlucky]
    assert lab.apply("again.json").code == 0


@pytest.mark.parametrize(
    ("command", "faults"), [("undo", "[]"), ("retry", "[{kind: failing-start, times: 1}]")]
)
def test_the_plan_says_what_is_lost_by_the_stop_as_that_of_the_run_did(
    make_lab: Callable[..., Lab], shell: Shell, command: str, faults: str
) -> None:
    lab = make_lab(faults)
    run = lab.apply(lab.plan(lab.pick(1, "RUNNING")))
    told = "a stop keeps only what is under /home/ma-user/work/: packages installed elsewhere are lost"
    assert told in " ".join(shell("show", shell.folder / "plan.json").out.split())
    again = shell(command, run.said[0].removeprefix("run "), "--run-dir", lab.runs)
    assert again.code == 0
    assert told in " ".join(again.out.split())


@pytest.mark.parametrize("command", ["undo", "retry"])
def test_a_run_that_is_not_there_is_named_and_nothing_is_sent(lab: Lab, shell: Shell, command: str) -> None:
    assert "no such run in" in shell.refused(command, "20991130", "--run-dir", lab.runs)
    assert lab.cloud.log == []


def test_retry_tells_of_the_stranded_ones_and_what_brings_them_home(
    make_lab: Callable[..., Lab], shell: Shell
) -> None:
    lab = make_lab("[{kind: failing-start, times: 2}]")
    stranded = lab.old("RUNNING")[0]
    number = lab.apply(lab.plan(lab.pick(1, "RUNNING"))).said[0].removeprefix("run ")
    told = shell("retry", number, "--run-dir", lab.runs, "--config", "fleet.toml")
    assert (told.code, told.out) == (64, "")
    count, command, refusal = told.said
    assert count == ("1 notebook was left stranded and will not be planned; unless it is back by now, first:")
    assert refusal.endswith("no notebook ended as failed or not-started or drifted; nothing to try again")
    assert command.endswith(f" --config {shell.folder}/fleet.toml")
    assert shell(*command.split()[1:]).code == 0
    assert lab.cloud.world.notebooks[stranded.id].status == "RUNNING"


def test_of_many_stranded_ones_the_first_are_named_and_the_rest_counted(
    make_lab: Callable[..., Lab], shell: Shell
) -> None:
    lab = make_lab("[{kind: failing-start}]", notebooks=120)
    number = lab.apply(lab.plan(lab.pick(7, "RUNNING"))).said[0].removeprefix("run ")
    told = shell("retry", number, "--run-dir", lab.runs).said
    assert told[0].startswith("7 notebooks were left stranded")
    assert [line.startswith("  fleet start --scope") for line in told[1:6]] == [True] * 5
    options = f"--config {shell.folder}/fleet.toml --run-dir {lab.runs}"
    assert told[6] == f"  and 2 more: fleet report {number} {options}"


def test_undo_names_the_command_for_a_stranded_one(make_lab: Callable[..., Lab], shell: Shell) -> None:
    lab = make_lab("[{kind: failing-start, times: 2}]")
    number = lab.apply(lab.plan(lab.pick(1, "RUNNING"))).said[0].removeprefix("run ")
    result = shell("undo", number, "--run-dir", lab.runs, "--all")
    count, command = result.said
    assert (result.code, count.partition(" and ")[0]) == (0, "1 notebook was left stranded")
    assert command.startswith("  fleet start --scope")
    assert "left away by the run: bring it back first with: fleet start --scope" in result.out
