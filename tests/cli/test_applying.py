"""fleet apply, run and resume: the question, the exit codes, and what a run leaves behind."""

from __future__ import annotations

import io
import json
import os
import re
import signal
import sys
import time
from typing import Any, cast

import pytest

from fleet.cli.app import run
from fleet.simulator.messages import Reply, Request

Lab = Any
MakeLab = Any
Shell = Any

RUN_ID = re.compile(r"run \d{8}-\d{6}-[0-9a-z]{4}")


def outcomes(jsonl: str) -> dict[str, str]:
    """The outcome of each notebook by id."""
    return {row["id"]: row["outcome"] for row in map(json.loads, jsonl.splitlines())}


def test_a_plan_is_performed_and_reported(lab: Lab) -> None:
    ids = [row.id for row in lab.old()]
    result = lab.apply(lab.plan(), "-o", "jsonl")
    assert result.code == 0
    assert RUN_ID.fullmatch(result.said[0])
    assert outcomes(result.out) == dict.fromkeys(ids, "changed")
    assert all(lab.cloud.world.notebooks[id].image.name.startswith("pytorch2.6") for id in ids)
    assert lab.writes == ["UpdateNotebook"] * len(ids)
    run = lab.runs / result.said[0].removeprefix("run ")
    assert {"plan.json", "journal.db", "log.jsonl"} < {path.name for path in run.iterdir()}
    assert {path.stat().st_mode & 0o777 for path in run.iterdir()} == {0o600}
    assert (run.stat().st_mode & 0o777, run.parent.stat().st_mode & 0o777) == (0o700, 0o700)


def test_a_running_notebook_is_stopped_changed_and_started_again(lab: Lab) -> None:
    result = lab.apply(lab.plan(lab.pick(2, "RUNNING")), "-o", "json")
    assert (result.code, result.json["counts"]["changed"]) == (0, 2)
    assert sorted(lab.writes) == ["StartNotebook"] * 2 + ["StopNotebook"] * 2 + ["UpdateNotebook"] * 2
    assert {row["run_state"]["after"] for row in result.json["rows"]} == {"RUNNING"}


def test_progress_is_single_lines_without_colour_when_nobody_watches(lab: Lab) -> None:
    result = lab.apply()
    count = len(lab.old("STOPPED"))
    assert count == 0
    assert "\x1b" not in result.err + result.out
    assert re.match(r"[.\d]+s wave 1/1 starts; 0/4 ended; ", result.said[1])
    assert result.said[-1].endswith("; finished")
    assert all(re.match(r"\d\S* wave 1/1", line) for line in result.said[1:])


@pytest.mark.parametrize("form", ["table", "json", "jsonl", "csv"])
def test_stdout_holds_the_report_and_nothing_else(lab: Lab, shell: Shell, form: str) -> None:
    result = shell("run", "job.yaml", "--run-dir", lab.runs, "-o", form, stdin="4\n")
    assert result.code == 0
    again = shell("report", result.run, "--run-dir", lab.runs, "-o", form)
    assert (again.code, again.out, again.err) == (0, result.out, "")


@pytest.mark.row(44)
@pytest.mark.parametrize("command", ["apply", "run"])
def test_the_right_number_is_the_permission(lab: Lab, shell: Shell, command: str) -> None:
    what = lab.plan() if command == "apply" else "job.yaml"
    result = shell(command, what, "--run-dir", lab.runs, stdin="4\n")
    assert (result.code, len(lab.writes)) == (0, 4)
    assert result.said[0].startswith("plan torch (image-migration)")
    asked = result.said.index("type 4 to change 4 notebooks: ")
    assert result.said[asked + 1] == f"run {result.run}"


@pytest.mark.parametrize("answer", ["", "\n", "3\n", "y\n", "yes\n", "4 5\n", "44\n", "\x004\n"])
@pytest.mark.parametrize("command", ["apply", "run"])
def test_any_other_answer_changes_nothing(lab: Lab, shell: Shell, command: str, answer: str) -> None:
    what = lab.plan() if command == "apply" else "job.yaml"
    result = shell(command, what, "--run-dir", lab.runs, stdin=answer)
    assert (result.code, result.out) == (4, "")
    assert result.said[-1] == "fleet: not confirmed; nothing was sent (--confirm 4 does not ask)"
    assert [line for line in result.said if line.startswith("run ")] == []
    assert (lab.writes, lab.runs.exists()) == ([], False)


def test_an_answer_that_cannot_be_read_is_none(lab: Lab, shell: Shell) -> None:
    plan, unreadable = lab.plan(), (shell.folder / "answer").open("w")
    for stdin in (unreadable, io.TextIOWrapper(io.BytesIO(b"\xff\n"), encoding="utf-8")):
        with stdin, shell.patch.context() as patch:
            patch.setattr(sys, "stdin", stdin)
            assert run(["apply", str(plan), "--run-dir", str(lab.runs)]) == 4
    assert (lab.writes, lab.runs.exists()) == ([], False)


def test_one_notebook_is_asked_for_in_the_singular(lab: Lab, shell: Shell) -> None:
    result = shell("run", lab.pick(1), "--run-dir", lab.runs, stdin="x")
    assert "type 1 to change 1 notebook: \n" in result.err


@pytest.mark.row(44)
def test_nothing_to_do_asks_nothing_and_is_done(lab: Lab, shell: Shell) -> None:
    lab.job("pytorch1.8", "no-such")
    result = shell("run", "job.yaml", "--run-dir", lab.runs)
    assert (result.code, lab.writes) == (0, [])
    assert "0 selected" in result.out


def refuse_updates(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on every PUT is invalid to the cloud."""
    handle = lab.cloud.handle

    def refuse(request: Request, now: float) -> Reply:
        if request.method != "PUT":
            return cast(Reply, handle(request, now))
        return Reply(400, b'{"error_code": "ModelArts.0104", "error_msg": "The image is too old."}')

    monkeypatch.setattr(lab.cloud, "handle", refuse)


def test_refused_updates_are_exit_3_and_tell_why(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = lab.plan()
    refuse_updates(lab, monkeypatch)
    result = lab.apply(plan, "-o", "json")
    assert (result.code, result.json["counts"]["failed"]) == (3, 4)
    assert all("The image is too old." in row["reason"] for row in result.json["rows"])


def test_as_many_failures_as_allowed_are_exit_4_and_the_rest_is_not_started(
    lab: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.job("rollout: {", "rollout: {max_failures: 1, ")
    plan = lab.plan()
    refuse_updates(lab, monkeypatch)
    result = lab.apply(plan, "-o", "json")
    counts = result.json["counts"]
    assert (result.code, counts["failed"], counts["not-started"]) == (4, 1, 3)


def test_a_notebook_that_somebody_changed_is_exit_5_and_left_alone(lab: Lab) -> None:
    plan, row = lab.plan(lab.pick(1)), lab.old()[0]
    row.image = other = next(i for i in lab.cloud.world.images.values() if i.name.startswith("tensorflow"))
    row.touch(int(time.time() * 1000))
    result = lab.apply(plan, "-o", "jsonl")
    assert (result.code, outcomes(result.out), lab.writes) == (5, {row.id: "drifted"}, [])
    assert row.image is other


def test_a_notebook_that_somebody_deleted_is_exit_5(lab: Lab) -> None:
    plan, row = lab.plan(lab.pick(1)), lab.old()[0]
    del lab.cloud.world.notebooks[row.id]
    result = lab.apply(plan, "-o", "jsonl")
    assert (result.code, outcomes(result.out)) == (5, {row.id: "gone"})


def test_a_notebook_that_does_not_start_again_is_exit_7_with_the_command_that_helps(
    make_lab: MakeLab, shell: Shell
) -> None:
    lab = make_lab("[{kind: failing-start, times: 2}]")
    plan, row = lab.plan(lab.pick(1, "RUNNING")), lab.old("RUNNING")[0]
    result = lab.apply(plan, "-o", "jsonl")
    (told,) = map(json.loads, result.out.splitlines())
    assert (result.code, told["outcome"], told["debt"]) == (7, "stranded", True)
    assert told["fix"].startswith("fleet start ")
    assert row.id in told["fix"]


def interrupt_at(lab: Lab, monkeypatch: pytest.MonkeyPatch, method: str) -> None:
    """Ctrl-C once, at the first request with this method."""
    handle, methods = lab.cloud.handle, [method]

    def heard(request: Request, now: float) -> Reply:
        reply = cast(Reply, handle(request, now))
        if request.method in methods:
            methods.clear()
            os.kill(os.getpid(), signal.SIGINT)
        return reply

    monkeypatch.setattr(lab.cloud, "handle", heard)


@pytest.mark.row(50)
def test_ctrl_c_lets_notebooks_come_home_is_exit_6_and_can_be_resumed(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.job("rollout: {", "rollout: {concurrency: 1, ")
    plan = lab.plan()
    interrupt_at(lab, monkeypatch, "PUT")
    result = lab.apply(plan, "-o", "json")
    counts = result.json["counts"]
    assert (result.code, counts["changed"], counts["not-started"]) == (6, 1, 3)
    assert "SIGINT received" in result.json["reason"]
    run = result.said[0].removeprefix("run ")
    resumed = shell("resume", run, "--run-dir", lab.runs, "-o", "json")
    assert resumed.said[0] == f"run {run}"
    assert (resumed.code, resumed.json["counts"]["changed"]) == (0, 4)
    assert lab.writes == ["UpdateNotebook"] * 4


def test_ctrl_c_before_a_run_begins_changes_nothing(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_at(lab, monkeypatch, "GET")
    result = shell("run", "job.yaml", "--yes", "--run-dir", lab.runs)
    assert (result.code, result.out, result.err) == (1, "", "fleet: interrupted\n")
    assert (lab.writes, lab.runs.exists()) == ([], False)


def test_a_finished_run_has_nothing_to_resume(lab: Lab, shell: Shell) -> None:
    run = lab.apply().said[0].removeprefix("run ")
    lab.cloud.log.clear()
    resumed = shell("resume", run, "--run-dir", lab.runs, "-o", "json")
    assert (resumed.code, resumed.json["counts"]["changed"], lab.writes) == (0, 4, [])


def test_a_resume_that_is_refused_names_no_run(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab.job("rollout: {", "rollout: {concurrency: 1, ")
    plan = lab.plan()
    interrupt_at(lab, monkeypatch, "PUT")
    run = lab.apply(plan).run
    shell.write("fleet.toml", lab.config().replace("cn-north-4", "cn-north-1"))
    told = shell.refused("resume", run, "--run-dir", lab.runs)
    assert "region is cn-north-1 in the configuration" in told
    shell.write("fleet.toml", lab.config())
    told = shell.refused("resume", run, "--run-dir", lab.runs, "--log-file", shell.folder)
    assert "cannot write the log: is a directory" in told
    assert shell("resume", run, "--run-dir", lab.runs).said[0] == f"run {run}"


def test_the_log_goes_where_it_is_told_and_tells_more_at_debug(lab: Lab, shell: Shell) -> None:
    result = lab.apply(lab.plan(), "--debug", "--log-file", "log.jsonl")
    events = [json.loads(line)["event"] for line in (shell.folder / "log.jsonl").read_text().splitlines()]
    assert result.code == 0
    assert {"run started", "intended", "answered", "change ended", "run ended"} <= {*events}
    assert not (lab.runs / result.said[0].removeprefix("run ") / "log.jsonl").exists()


@pytest.mark.row(46)
@pytest.mark.parametrize("option", ["--log-file", "--run-dir"])
def test_a_place_that_takes_no_log_or_run_stops_everything_before_the_first_write(
    lab: Lab, shell: Shell, option: str
) -> None:
    plan, before = lab.plan(), {"fleet.toml", "job.yaml", "plan.json"}
    result = shell("apply", plan, "--yes", "--run-dir", lab.runs, option, shell.folder / "job.yaml" / "x")
    assert result.code in (1, 64)
    assert len(result.said) == 1
    assert result.err.startswith(f"fleet: {shell.folder}/job.yaml/x")
    assert (lab.writes, shell.files) == ([], before)
