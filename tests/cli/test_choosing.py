"""Choosing among what a selector picks: lists of ids, exclusions, samples, and why one is in or out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from fleet.core.planning.plan_file import load_plan

Lab = Any
Shell = Any

MISSING = "00000000-0000-0000-0000-000000000000"
IMAGES, FLAVORS = "ListImage", "ListFlavors"


def ids(shell: Shell, *words: object) -> list[str]:
    """What `fleet ls` picks."""
    result = shell("ls", "-o", "id", *words)
    assert result.code == 0, result.err
    return str(result.out).split()


def asked(lab: Lab) -> set[str]:
    """The operations that the cloud got so far."""
    return {record.operation for record in lab.cloud.log}


def test_the_catalogue_is_read_only_for_who_asks(lab: Lab, shell: Shell) -> None:
    everybody = ids(shell, "-s", 'image.name != "x" && flavor != "x"')
    assert asked(lab) & {IMAGES, FLAVORS} == set()
    gpus = ids(shell, "-s", 'flavor.category == "GPU"')
    assert asked(lab) & {IMAGES, FLAVORS} == {FLAVORS}
    world = lab.cloud.world
    machines = {flavor.id for flavor in world.flavors.values() if flavor.category == "GPU"}
    assert {*gpus} == {id for id in everybody if world.notebooks[id].flavor in machines}
    assert 0 < len(gpus) < len(everybody)


def test_columns_of_the_catalogue_are_filled_from_it(lab: Lab, shell: Shell) -> None:
    rows = shell("ls", "-c", "id,flavor.vcpus,image.visibility", "-o", "json").json
    assert asked(lab) >= {IMAGES, FLAVORS}
    world = lab.cloud.world
    for row in rows:
        notebook = world.notebooks[row["id"]]
        flavor = world.flavors.get(notebook.flavor)  # one made to measure is in no catalogue
        assert row["flavor.vcpus"] == (flavor.vcpus if flavor else None)
        assert row["image.visibility"] == notebook.image.visibility


def test_a_list_of_ids_narrows_the_selection(lab: Lab, shell: Shell) -> None:
    some = sorted(lab.cloud.world.notebooks)[:3]
    text = "# some\n" + "".join(f"{id}  # one\n" for id in some)
    assert sorted(ids(shell, "--ids", shell.write("ids.txt", text))) == some
    result = shell("ls", "-o", "id", "--ids", "-", stdin=text)
    assert sorted(result.out.split()) == some
    one = ids(shell, "--ids", "ids.txt", "-s", f'id == "{some[1]}"')
    assert one == [some[1]]


def test_an_id_of_the_list_that_no_scope_holds_is_named(lab: Lab, shell: Shell) -> None:
    shell.write("ids.txt", f"{MISSING}\n")
    assert f"no scope holds a notebook with id {MISSING}" in shell.refused("ls", "--ids", "ids.txt")
    shell.write("ids.txt", "nb-1\n")
    assert shell.refused("ls", "--ids", "ids.txt").startswith("fleet: ids.txt:1: id: 'nb-1' is not a UUID")
    assert "cannot read this list of ids" in shell.refused("ls", "--ids", "no.txt")


def test_exclusions_add_up(lab: Lab, shell: Shell) -> None:
    rows = lab.cloud.world.notebooks.values()
    kept = {row.id for row in rows if row.status == "STOPPED" and row.feature == "NOTEBOOK"}
    words = ("--exclude", 'status == "RUNNING"', "--exclude", 'status != "STOPPED"')
    assert {*ids(shell, *words)} == kept
    said = shell.refused("ls", "--exclude", 'stat == "X"', lines=3)
    assert said.startswith("fleet: --exclude: no field 'stat'; did you mean status?")


def test_the_same_seed_picks_the_same_and_a_larger_limit_more_of_them(lab: Lab, shell: Shell) -> None:
    few, more = ids(shell, "--limit", 5, "--seed", 7), ids(shell, "--limit", "50%", "--seed", 7)
    assert (len(few), len(more)) == (5, 20)
    assert {*few} < {*more}
    assert few == ids(shell, "--limit", 5, "--seed", 7)
    assert {*few} != {*ids(shell, "--limit", 5, "--seed", 8)}
    assert shell("ls", "--count", "--limit", 5).out == "5\n"


@pytest.mark.parametrize(
    ("words", "problem"),
    [
        (("--limit", "0"), "--limit: 0 would let nothing happen; give at least 1 or 1%"),
        (("--limit", "ten"), "--limit: 'ten' is neither a number nor a percentage such as 5%"),
        (("--seed", "7"), "--seed: chooses a sample; give its limit too, such as --limit 10%"),
    ],
)
def test_a_sample_that_cannot_be_drawn_is_refused(
    lab: Lab, shell: Shell, words: tuple[str, ...], problem: str
) -> None:
    assert shell.refused("ls", *words) == f"fleet: {problem}\n"
    assert lab.cloud.log == []


def planned(path: Path) -> set[str]:
    return {change.id for change in load_plan(path.read_bytes(), "plan").changes}


def test_a_job_file_and_the_command_line_narrow_together(lab: Lab, shell: Shell) -> None:
    old = [row.id for row in lab.old()]
    first, second, third, _ = old
    (shell.folder / "jobs").mkdir()
    (shell.folder / "jobs" / "ids.txt").write_text("\n".join(old[:3]))
    lab.job("with:", f"ids: ids.txt\nexclude: id == '{first}'\nwith:", name="jobs/job.yaml")
    plan = lab.plan(Path("jobs/job.yaml"))
    assert planned(plan) == {second, third}
    shown = shell("show", plan).out
    assert "select: only from a list of 3 ids\n" in shown
    assert f"select: without: id == '{first}'\n" in shown
    words = ("plan", "jobs/job.yaml", "-o", plan, "--exclude", f"id == '{third}'")
    assert shell(*words).code == 0
    assert planned(plan) == {second}


def test_a_job_file_can_ask_for_a_sample_and_the_command_line_for_another(lab: Lab, shell: Shell) -> None:
    lab.job("with:", "limit: 2\nseed: 3\nwith:")
    plan = lab.plan()
    two = planned(plan)
    assert "select: a sample of 2 with seed 3 of the 4 then selected\n" in shell("show", plan).out
    assert len(two) == 2
    assert shell("plan", "job.yaml", "-o", plan, "--limit", "75%").code == 0
    assert len(planned(plan)) == 3
    assert two < planned(plan)
    result = shell("run", "job.yaml", "--limit", 1, "--yes", "--run-dir", lab.runs, "-o", "json")
    assert result.json["counts"]["changed"] == 1
    assert {row["id"] for row in result.json["rows"]} < two


def test_a_list_that_the_job_file_names_is_checked_with_it(lab: Lab, shell: Shell) -> None:
    lab.job("with:", "ids: ids.txt\nwith:")
    assert "ids.txt: cannot read this list of ids" in shell.refused("validate", "job.yaml")


def test_why_one_is_in_or_out_is_told_term_by_term(lab: Lab, shell: Shell) -> None:
    row = lab.old()[0]
    select = 'status == "RUNNING" || image.name.startsWith("pytorch1.8")'
    words = ("ls", "--explain", row.id, "-s", select, "--exclude", f'name != "{row.name}"', "--limit", 1)
    result = shell(*words)
    lines = result.out.splitlines()
    assert result.code == 0
    assert lines[0].startswith(f"{row.name} (lab-")
    assert lines[1:6] == [
        "in   select",
        "     true   any of",
        '     false    status == "RUNNING"    [status = "STOPPED"]',
        f'     true     image.name.startsWith("pytorch1.8")    [image.name = "{row.image.name}"]',
        "in   exclude",
    ]
    assert lines[6] == f'     false  name != "{row.name}"    [name = "{row.name}"]'
    assert lines[7].startswith("in   a sample of 1 with seed 0: number 1 of 1")
    assert lines[0].endswith(": in")


def test_one_that_the_server_would_filter_out_is_explained_all_the_same(lab: Lab, shell: Shell) -> None:
    row = lab.old()[0]
    lines = shell("ls", "--explain", row.id, "-s", 'status == "RUNNING"').out.splitlines()
    assert lines[0].endswith(": out")
    assert lines[1:] == ["out  select", '     false  status == "RUNNING"    [status = "STOPPED"]']
    assert MISSING in shell.refused("ls", "--explain", MISSING)
    assert "'nb-1' is not a UUID" in shell.refused("ls", "--explain", "nb-1")


def test_a_plan_explains_the_jobs_own_answer_too(lab: Lab, shell: Shell) -> None:
    lab.job("rollout:", "guards: {protect: has(tags.keep)}\nrollout:")
    row, running = lab.old()[0], lab.old("RUNNING")[0]
    before = shell.files
    lines = shell("plan", "job.yaml", "--explain", row.id).out.splitlines()
    assert lines[0].endswith(": in")
    assert lines[-3:] == [
        "in   protected by guards.protect",
        f"     false  has(tags.keep)    [tags = {json.dumps(row.tags)}]",
        "in   the job would change image_id",
    ]
    row.tags["keep"] = "yes"
    row.touch(0)
    lines = shell("plan", "job.yaml", "--explain", row.id).out.splitlines()
    assert (lines[0].endswith(": out"), lines[-3]) == (True, "out  protected by guards.protect")
    lines = shell("plan", "job.yaml", "--explain", running.id).out.splitlines()
    assert (lines[0].endswith(": out"), lines[1]) == (True, "out  select")
    assert (lab.writes, shell.files) == ([], before)


def test_a_notebook_of_a_scope_that_the_job_does_not_name_is_out_for_that(lab: Lab, shell: Shell) -> None:
    lab.job("select:", "scopes: [lab-a]\nselect:")
    elsewhere = shell("ls", "-o", "id", "--scope", "lab-b").out.split()[0]
    result = shell("plan", "job.yaml", "--explain", elsewhere)
    assert (result.code, result.out.splitlines()) == (
        0,
        [
            f"{lab.cloud.world.notebooks[elsewhere].name} (lab-b, {elsewhere}): out",
            "out  scope lab-b is not among the job's scopes",
        ],
    )
    shell.write("ids.txt", elsewhere)  # also when a list names it
    assert shell("plan", "job.yaml", "--ids", "ids.txt", "--explain", elsewhere).out == result.out
    lost = shell.refused("plan", "job.yaml", "--explain", MISSING)
    assert lost == f"fleet: no scope holds a notebook with id {MISSING}; correct the id\n"


def test_ls_explains_for_the_scopes_that_it_is_asked_for_alone(lab: Lab, shell: Shell) -> None:
    own = ids(shell, "--scope", "lab-a")
    words = ("ls", "--explain", own[0], "--limit", "50%")
    assert f" of {len(own)}, " in shell(*words, "--scope", "lab-a").out
    assert " of 40, " in shell(*words).out
    for command in (words, ("ls", "-s", f'id == "{own[0]}"')):
        assert shell.refused(*command, "--scope", "lab-b") == (
            f"fleet: scope lab-b holds no notebook with id {own[0]}; correct the id, or ask other scopes\n"
        )
    gone = shell.refused("ls", "--explain", MISSING, "--scope", "lab-a", "--scope", "lab-b")
    assert gone.startswith(f"fleet: none of lab-a, lab-b holds a notebook with id {MISSING}; correct the id,")


def test_a_sample_larger_than_what_is_selected_is_all_of_it(lab: Lab, shell: Shell) -> None:
    plan = shell("plan", "job.yaml", "--limit", 60).out
    assert "select: a sample of 60 with seed 0: all 4 then selected\n" in plan
    explained = shell("plan", "job.yaml", "--limit", 60, "--explain", lab.old()[0].id).out
    assert re.search(r"a sample of 60 with seed 0: number \d of 4, the first 4 are in it", explained)


def test_the_id_to_explain_may_be_written_in_capitals(lab: Lab, shell: Shell) -> None:
    row = lab.old()[0]
    for words in (("ls",), ("plan", "job.yaml")):
        assert shell(*words, "--explain", row.id.upper()).out == shell(*words, "--explain", row.id).out


def test_a_job_that_skips_the_notebook_says_why(lab: Lab, shell: Shell) -> None:
    lab.job("disruption: restart", "disruption: none")
    lab.job('status == "STOPPED"', "true")
    shell.write("job.yaml", (shell.folder / "job.yaml").read_text().replace("restart", "none"))
    running = lab.old("RUNNING")[0]
    lines = shell("plan", "job.yaml", "--explain", running.id).out.splitlines()
    assert lines[-1] == (
        "out  the job: skipped, is RUNNING and would have to be stopped; rollout.disruption is none"
    )
