"""The belts of a plan and of a run: how many, what share, whom never, and who says the number."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO

import pytest

from fleet.core.planning.plan_file import load_plan

Lab = Any
MakeLab = Any
Shell = Any

RUNNING = ('status == "STOPPED"', 'status == "RUNNING" && has(tags.lot)')


@pytest.fixture
def large(make_lab: MakeLab) -> Lab:
    """117 notebooks in a list, 31 of them running on the old image: more than may be any part of a fleet."""
    lab = make_lab(notebooks=120)
    chosen = lab.old("RUNNING")
    assert len(chosen) == 31
    for row in chosen:
        row.tags["lot"] = "1"
    lab.job(*RUNNING)
    return lab


def guarded(lab: Lab, guards: str) -> None:
    path = lab.shell.folder / "job.yaml"
    path.write_text(f"{path.read_text()}guards: {guards}\n")


@pytest.mark.parametrize(("share", "code"), [("27%", 0), ("26%", 4)])
def test_the_share_is_one_of_all_notebooks_whatever_the_server_filters_out(
    large: Lab, shell: Shell, share: str, code: int
) -> None:
    guarded(large, f"{{max_share: {share}}}")
    result = shell("plan", "job.yaml", "-o", "plan.json")
    assert result.code == code
    assert ("plan.json" in shell.files) is (code == 0)
    if code:
        assert result.err == (
            "fleet: 31 of all 117 notebooks would change, guards.max_share is 26%: narrow the selector, "
            'raise the limit in the job file, or for this plan alone: --override max_share --reason "WHY"\n'
        )


def test_half_of_the_fleet_is_the_most_unless_the_job_says_otherwise(large: Lab, shell: Shell) -> None:
    large.job('image.name.startsWith("pytorch1.8") && status == "STOPPED"', "true")
    said = shell.refused("plan", "job.yaml", code=4)
    assert "of all 117 notebooks would change, guards.max_share is 50%" in said
    guarded(large, "{max_share: 100%}")
    assert shell("plan", "job.yaml").code == 0


def test_a_few_notebooks_may_be_all_there_are(lab: Lab, shell: Shell) -> None:
    guarded(lab, "{max_share: 1%}")
    assert shell("plan", "job.yaml").code == 0


def test_an_override_is_sealed_with_its_reason_and_shown(large: Lab, shell: Shell) -> None:
    guarded(large, "{max_targets: 30, confirm_over: 100}")
    assert "--override max_targets" in shell.refused("plan", "job.yaml", code=4)
    words = ("--override", "max_targets", "--override", "max_share", "--reason", "agreed in CHG-7")
    assert shell("plan", "job.yaml", "-o", "plan.json", *words).code == 0
    plan = load_plan((shell.folder / "plan.json").read_bytes(), "plan.json")
    told = "31 notebooks would change, guards.max_targets is 30; overridden: agreed in CHG-7"
    assert plan.overrides == {"max_targets": told}
    assert f"\nguards.max_targets is lifted: {told}\n" in shell("show", "plan.json").out
    report = shell("apply", "plan.json", "--yes", "--run-dir", large.runs, "-o", "json").json
    assert report["overrides"] == {"max_targets": told}
    summary = shell("report", report["run"], "--run-dir", large.runs).out
    assert f"guards.max_targets is lifted: {told}\n" in summary


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--override", "max_target", "--reason", "x"), "no limit 'max_target'; did you mean max_targets?"),
        (("--override", "max_targets"), "--override max_targets: say why"),
        (("--reason", "x"), "--reason: explains an override; name the limit"),
    ],
)
@pytest.mark.parametrize("command", ["plan", "run"])
def test_an_override_without_name_or_reason_sends_nothing(
    lab: Lab, shell: Shell, command: str, words: tuple[str, ...], problem: str
) -> None:
    assert problem in shell.refused(command, "job.yaml", *words)
    assert lab.cloud.log == []


def test_what_the_configuration_protects_is_left_alone_by_every_job(lab: Lab, shell: Shell) -> None:
    row, other = lab.old()[:2]
    row.tags["keep"], other.tags["mine"] = "yes", "yes"
    shell.write("fleet.toml", lab.config() + "\n[guards]\nprotect = 'has(tags.keep)'\n")
    guarded(lab, "{protect: has(tags.mine)}")
    result = lab.apply(None, "-o", "json")
    reasons = {row["id"]: row["reason"] for row in result.json["rows"] if row["outcome"] == "skipped"}
    assert reasons == {
        row.id: "protected by the configuration's guards",
        other.id: "protected by guards.protect",
    }
    explained = shell("plan", "job.yaml", "--explain", row.id).out
    assert "\nout  protected by the configuration's guards\n" in explained
    run = lab.runs / result.run
    for changed in lab.cloud.world.notebooks.values():
        changed.tags["keep"] = "yes"
        changed.touch(1)
    undone = shell("undo", run.name, "--run-dir", lab.runs, "-o", "back.json")
    assert undone.code == 0
    assert re.search(r"^2 +skipped +\S+ +protected by the configuration's guards$", undone.out, re.MULTILINE)


def test_a_protection_that_is_no_selector_is_a_mistake_in_the_configuration(lab: Lab, shell: Shell) -> None:
    shell.write("fleet.toml", lab.config() + "\n[guards]\nprotect = 'tag'\n")
    assert shell.refused("ls").startswith("fleet: fleet.toml: guards.protect: not a selector: no field 'tag'")
    shell.write("fleet.toml", lab.config() + "\n[guards]\nprotected = 'true'\n")
    assert "did you mean protect?" in shell.refused("ls")


@pytest.mark.parametrize("command", ["apply", "run"])
def test_many_are_not_changed_by_a_yes_that_nobody_can_be_asked_about(
    large: Lab, shell: Shell, command: str
) -> None:
    what = large.plan() if command == "apply" else "job.yaml"
    said = shell.refused(command, what, "--yes", "--run-dir", large.runs, code=4)
    assert said == (
        "fleet: 31 notebooks would change, more than guards.confirm_over (20), so --yes is not enough; "
        "repeat with --confirm 31, or raise the limit in the job file\n"
    )
    assert (large.writes, large.runs.exists()) == ([], False)


@pytest.mark.parametrize("command", ["apply", "run"])
@pytest.mark.parametrize(("number", "code"), [(4, 0), (3, 4), (5, 4)])
def test_the_number_of_notebooks_is_the_permission_without_a_question(
    lab: Lab, shell: Shell, command: str, number: int, code: int
) -> None:
    guarded(lab, "{confirm_over: 3}")
    what = lab.plan() if command == "apply" else "job.yaml"
    result = shell(command, what, "--confirm", number, "--run-dir", lab.runs)
    assert (result.code, len(lab.writes)) == (code, 4 if code == 0 else 0)
    if code:
        assert result.err == f"fleet: 4 notebooks would change, --confirm says {number}; nothing was sent\n"


@contextmanager
def terminal(typed: str) -> Iterator[TextIO]:
    """Somebody at a keyboard."""
    master, slave = os.openpty()
    os.write(master, typed.encode())
    with os.fdopen(slave) as stdin, os.fdopen(master):
        yield stdin


@pytest.mark.parametrize(("answer", "written"), [("4\n", 4), ("y\n", 0)])
def test_at_a_terminal_many_are_asked_about_in_spite_of_a_yes(
    lab: Lab, shell: Shell, monkeypatch: pytest.MonkeyPatch, answer: str, written: int
) -> None:
    guarded(lab, "{confirm_over: 3}")
    with terminal(answer) as stdin:
        monkeypatch.setattr(io, "StringIO", lambda _: stdin)
        result = shell("run", "job.yaml", "--yes", "--run-dir", lab.runs, "-o", "jsonl")
    assert "type 4 to change 4 notebooks: " in result.err
    assert (result.code == 0, len(lab.writes)) == (written > 0, written)


def test_a_few_need_no_more_than_a_yes(lab: Lab, shell: Shell) -> None:
    guarded(lab, "{confirm_over: 4}")
    assert shell("run", "job.yaml", "--yes", "--run-dir", lab.runs).code == 0
