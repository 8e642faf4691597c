"""fleet plan, show, validate and schema."""

from __future__ import annotations

import errno
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from fleet.cli.planview import plan_lines
from fleet.core.events import Outcome
from fleet.core.planning.plan import Settled
from fleet.core.planning.plan_file import load_plan
from tests.plans import make_plan

Lab = Any
Shell = Any


def test_a_plan_is_shown_and_written_and_nothing_is_sent_that_writes(lab: Lab, shell: Shell) -> None:
    result = shell("plan", "job.yaml", "-o", "plan.json")
    assert (result.code, lab.writes) == (0, [])
    command = f"fleet apply {shell.folder}/plan.json --config {shell.folder}/fleet.toml"
    assert result.err == f"plan written; next: {command}\n"
    plan = load_plan((shell.folder / "plan.json").read_bytes(), "plan.json")
    assert [change.id for change in sorted(plan.changes, key=lambda change: change.id)] == [
        row.id for row in lab.old()
    ]
    assert all(change.name in result.out for change in plan.changes)
    assert (shell.folder / "plan.json").stat().st_mode & 0o777 == 0o600


def test_showing_a_plan_again_shows_the_same_and_sends_nothing(lab: Lab, shell: Shell) -> None:
    first = shell("plan", "job.yaml", "-o", "plan.json")
    lab.cloud.log.clear()
    (shell.folder / "fleet.toml").unlink()
    again = shell("show", "plan.json")
    assert (again.code, again.out, again.err) == (0, first.out, "")
    assert shell("show", "plan.json", "--format", "json").out == (shell.folder / "plan.json").read_text()
    assert "--format: 'xml' is neither" in shell.refused("show", "plan.json", "--format", "xml")
    assert lab.cloud.log == []


def test_a_long_plan_shows_its_first_rows_unless_all_are_asked_for(lab: Lab, shell: Shell) -> None:
    lab.job('startsWith("pytorch1.8") && status == "STOPPED"', 'startsWith("")')
    with (shell.folder / "job.yaml").open("a") as job:
        job.write("guards: {max_share: 100%}\n")
    short, long = shell("plan", "job.yaml").out, shell("plan", "job.yaml", "--all").out
    assert "more (--all shows every row)" in short
    assert "--all" not in long
    assert len(long.splitlines()) > len(short.splitlines())


def test_changes_to_make_are_exit_2_when_asked_for(lab: Lab, shell: Shell) -> None:
    assert shell("plan", "job.yaml").code == 0
    assert shell("plan", "job.yaml", "--detailed-exitcode").code == 2
    lab.job("pytorch1.8", "no-such")
    result = shell("plan", "job.yaml", "--detailed-exitcode")
    assert result.code == 0
    assert result.out.endswith("\nnothing to do\n")


@pytest.mark.row(44)
def test_too_many_targets_are_exit_4_and_leave_no_plan(lab: Lab, shell: Shell) -> None:
    lab.job("rollout:", "guards: {max_targets: 1}\nrollout:")
    said = shell.refused("plan", "job.yaml", "-o", "plan.json", code=4)
    assert "guards.max_targets is 1: narrow the selector" in said
    assert "plan.json" not in shell.files


def test_what_is_left_out_is_told_with_the_reason(lab: Lab, shell: Shell) -> None:
    row = lab.old()[0]
    row.tags["keep"] = "true"
    lab.job("rollout:", "guards: {protect: has(tags.keep)}\nrollout:")
    lines = [line.split() for line in shell("plan", "job.yaml").out.splitlines()]
    assert ["1", "skipped", row.name, "protected", "by", "guards.protect"] in lines


def test_what_is_left_out_for_ever_different_reasons_is_told_by_kind() -> None:
    rows = [
        Settled(item, "lab-a", str(item), f"nb-{item}", "", Outcome.SKIPPED, reason)
        for item, reason in enumerate(
            [f"cpu {share}% of 14d" for share in range(300)]
            + [f"flavor f{kind} is gone" for kind in range(25)]
        )
    ]
    lines = list(plan_lines(make_plan(settled=tuple(rows))))
    begin = next(at for at, line in enumerate(lines) if line.startswith("count"))
    assert lines[begin + 1].split() == ["300", "skipped", "nb-0", "cpu", "0%", "of", "14d"]
    assert lines[begin + 20].split()[:3] == ["1", "skipped", "nb-318"]
    assert lines[begin + 21] == "... and 6 more (6 notebooks): see --format json"


def test_the_limits_of_the_rollout_are_told_in_one_spelling(lab: Lab, shell: Shell) -> None:
    rollout = (
        "{waves: [1, 100%], soak: 90s, max_failures: 3, max_unavailable: {fleet: 2, owner: 1}, "
        "deadline: 90m, disruption: restart}"
    )
    lab.job("{disruption: restart, change_deadline: 20s}", rollout)
    out = shell("plan", "job.yaml").out
    assert "notebooks a wave: 1, 3, with 1m30s of soak between them\n" in out
    assert (
        "limits: 20 under way at once; unavailable at most 2 in all, 1 for each owner; 3 failures; "
        "30m for each notebook; 1h30m for all\n"
    ) in out


def test_who_may_connect_before_and_after_is_told_in_full(lab: Lab) -> None:
    plan = load_plan(lab.plan(lab.pick(1)).read_bytes(), "plan.json")
    many = [f"203.0.113.{host}" for host in range(201, 206)]
    ssh = {"service": "SSH", "key_pair_names": ["k"]}
    change = replace(
        plan.changes[0],
        before={"endpoints": [{"service": "NOTEBOOK"}, ssh]},
        after={"endpoints": [{"service": "NOTEBOOK"}, {**ssh, "allowed_access_ips": many}]},
    )
    text = "\n".join(plan_lines(replace(plan, changes=(change,))))
    before, after = (
        "NOTEBOOK for everybody, SSH for everybody",
        f"NOTEBOOK for everybody, SSH for {' '.join(many)}",
    )
    assert f"endpoints: {before} -> {after}" in text


@pytest.mark.row(42)
@pytest.mark.security("escapes")
def test_a_name_from_the_cloud_cannot_play_with_the_terminal(lab: Lab, shell: Shell) -> None:
    lab.old()[0].name = "[red]x\x1b]0;evil\x07\u202e"
    out = shell("plan", "job.yaml").out
    assert "[red]x" in out
    assert not {"\x1b", "\x07", "\u202e"} & {*out}


OLD_PLAN = '{\n"format": 1}\n'


@pytest.mark.row(45)
@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EIO, errno.EDQUOT])
def test_a_full_disk_leaves_the_old_plan_and_no_half_of_the_new_one(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch, error: int
) -> None:
    shell.write("plan.json", OLD_PLAN)
    before = shell.files

    def full(_: int) -> None:
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(os, "fsync", full)
    said = shell.refused("plan", "job.yaml", "-o", "plan.json")
    assert said == f"fleet: plan.json: cannot write the plan: {os.strerror(error).lower()}\n"
    assert (shell.folder / "plan.json").read_text() == OLD_PLAN
    assert shell.files == before


@pytest.mark.parametrize(
    ("place", "why"),
    [
        ("nowhere/plan.json", "no such file or directory"),
        ("job.yaml/plan.json", "not a directory"),
        (".", "not a regular file"),
        ("/dev/full", "not a regular file"),
        ("x" * 300, "file name too long"),
    ],
)
def test_a_place_that_takes_no_plan_is_named(lab: Lab, shell: Shell, place: str, why: str) -> None:
    before = shell.files
    assert f"{place}: cannot write the plan: {why}" in shell.refused("plan", "job.yaml", "-o", place)
    assert shell.files == before


def test_a_link_to_a_plan_stays_a_link(lab: Lab, shell: Shell) -> None:
    real = shell.write("real.json", OLD_PLAN)
    link = shell.folder / "plan.json"
    link.symlink_to(real)
    assert shell("plan", "job.yaml", "-o", link).code == 0
    assert link.is_symlink()
    assert load_plan(real.read_bytes(), "real").changes


def test_a_valid_job_is_said_so_without_configuration_or_a_request(lab: Lab, shell: Shell) -> None:
    (shell.folder / "fleet.toml").unlink()
    result = shell("validate", "job.yaml")
    assert (result.code, result.out, result.err) == (0, "", "job.yaml: a valid job file\n")
    assert lab.cloud.log == []


def test_the_schema_accepts_the_job_and_refuses_a_wrong_one(lab: Lab, shell: Shell) -> None:
    schema = shell("schema").json
    job = yaml.safe_load(Path(shell.folder / "job.yaml").read_text())
    jsonschema.validate(job, schema)
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate({**job, "selekt": "true"}, schema)


def altered(plan: Path, change: str, value: object) -> Path:
    raw = json.loads(plan.read_text())
    raw[change] = value
    plan.write_text(json.dumps(raw))
    return plan


@pytest.mark.row(55)
@pytest.mark.parametrize("command", [("show",), ("apply", "--yes")])
@pytest.mark.parametrize(
    ("field", "value", "complaint"),
    [
        ("job", "other", "the plan was altered after it was sealed; plan again"),
        ("digest", "", "the plan was altered after it was sealed; plan again"),
        ("format", 2, "not a plan of format 1; make one with: fleet plan JOB -o FILE"),
    ],
)
def test_an_altered_plan_is_refused(
    lab: Lab, shell: Shell, command: tuple[str, ...], field: str, value: object, complaint: str
) -> None:
    plan = altered(lab.plan(), field, value)
    lab.cloud.log.clear()
    assert complaint in shell.refused(*command, plan)
    assert lab.cloud.log == []


@pytest.mark.parametrize("command", [("show",), ("apply", "--yes")])
@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "not a plan file (no JSON)"),
        (b"\x00\xff\x1b[2J" * 100, "not a plan file (no JSON)"),
        (b"[" * 100_000, "not a plan file (no JSON)"),
        (b'{"a":' * 100_000, "not a plan file (no JSON)"),
        (b"[]", "not a plan of format 1"),
        (b"{}", "not a plan of format 1"),
        (b'{"format": 1}', "the plan was altered"),
        (b"1" * 5000, "not a plan"),
    ],
)
def test_a_file_that_is_no_plan_is_refused(
    shell: Shell, command: tuple[str, ...], content: bytes, complaint: str
) -> None:
    plan = shell.write("plan.json", content)
    assert complaint in shell.refused(*command, plan)


def test_a_plan_for_another_project_is_not_applied(lab: Lab, shell: Shell) -> None:
    plan = lab.plan()
    lab.cloud.log.clear()
    mine = lab.cloud.identity.projects[0].id
    shell.write("fleet.toml", lab.config().replace(mine, "f" * 32))
    said = shell.refused("apply", plan, "--yes", "--run-dir", lab.runs)
    assert (
        f"scope lab-a: project_id is {'f' * 32} in the configuration, but the plan was made for {mine}"
        in said
    )
    shell.write("fleet.toml", lab.config(("lab-c", "lab-b")))
    assert "scope lab-a: unknown scope" in shell.refused("apply", plan, "--yes", "--run-dir", lab.runs)
    assert (lab.cloud.log, lab.runs.exists()) == ([], False)


@pytest.mark.parametrize("command", ["plan", "validate", "run", "show", "apply"])
@pytest.mark.parametrize(("path", "why"), [("nowhere", "no such file or directory"), (".", "is a directory")])
def test_a_missing_file_and_a_folder_are_named(shell: Shell, command: str, path: str, why: str) -> None:
    assert f"fleet: {path}: cannot read this " in (said := shell.refused(command, path))
    assert said.endswith(f": {why}\n")
