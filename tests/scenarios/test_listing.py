"""The fleet moves while it is read: never a plan with a hole, and notebooks on their way are waited for."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import CallError, Exit, GuardError, Meaning, UsageError
from fleet.simulator.faults import FailingStart, load_faults
from fleet.simulator.states import Cause, Status

if TYPE_CHECKING:
    from fleet.simulator.world import Notebook
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime

STOPPED_ONES = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8") && status == "STOPPED"
with: {to: {name: pytorch2.6}}
"""


@pytest.mark.row(40)
async def test_a_row_deleted_between_two_pages_leaves_no_hole(world: MakeLab) -> None:
    lab = await world(running=60)
    newest = max(lab.notebooks, key=lambda row: row.create_at)
    others = {row.id for row in lab.notebooks} - {newest.id}
    lab.when("ListAllNotebooks", lambda: lab.cloud.world.remove(newest))
    plan = await lab.plan()
    assert {change.id for change in plan.changes} == others
    assert sum(record.operation == "ListAllNotebooks" for record in lab.cloud.log) == 6


@pytest.mark.row(40)
async def test_a_row_that_comes_while_the_fleet_is_read_is_in_the_plan(world: MakeLab) -> None:
    lab = await world(running=60)
    late = lab.notebooks[0]
    lab.cloud.world.remove(late)
    lab.when("ListAllNotebooks", lambda: lab.cloud.world.add([late]))
    plan = await lab.plan()
    assert late.id in {change.id for change in plan.changes}


def restless(lab: Lab, notebook: Notebook) -> None:
    """Somebody renames the notebook at every page that is read."""

    def rename() -> None:
        lab.edit(notebook, name=f"{notebook.name}x")

    lab.when("ListAllNotebooks", rename, times=100)


@pytest.mark.row(40)
async def test_a_fleet_that_never_holds_still_gets_no_plan(world: MakeLab) -> None:
    lab = await world(running=3)
    notebook = lab.notebooks[1]
    restless(lab, notebook)
    named = pytest.RaisesExc(
        GuardError, match=f"1 selected notebooks .* such as {notebook.id}; .*--accept-churn"
    )
    with pytest.RaisesGroup(named, flatten_subgroups=True):
        await lab.plan()
    assert GuardError.exit is Exit.STOPPED_BY_GUARD
    assert sum(record.operation == "ListAllNotebooks" for record in lab.cloud.log) == 4


async def test_accepted_churn_is_left_out_as_skipped(world: MakeLab) -> None:
    lab = await world(running=3)
    notebook = lab.notebooks[1]
    restless(lab, notebook)
    plan = await lab.plan(accept_churn=True)
    run = await lab.apply(plan)
    assert run.row(notebook).outcome == "skipped"
    assert run.row(notebook).reason == "kept changing while the fleet was read"
    assert sorted(run.outcomes) == ["changed", "changed", "skipped"]
    assert run.calls(notebook) == []


async def test_an_id_that_does_not_exist_is_told_before_anything_is_planned(world: MakeLab) -> None:
    lab = await world(running=2)
    known, missing = lab.notebooks[0].id, "f9937afa-4451-42db-a76b-72d624749f66"
    job = f"""\
job: image-migration
name: torch
select: id in ["{known}", "{missing}"]
with: {{to: {{name: pytorch2.6}}}}
"""
    with pytest.raises(UsageError, match=missing) as caught:
        await lab.plan(job)
    assert known not in str(caught.value)


@pytest.mark.row(39)
@pytest.mark.parametrize(
    ("status", "calls", "back"),
    [
        (Status.STARTING, ["stop", "put", "start"], Status.RUNNING),
        (Status.CREATING, ["stop", "put", "start"], Status.RUNNING),
        (Status.SNAPSHOTTING, ["stop", "put", "start"], Status.RUNNING),
        (Status.STOPPING, ["put"], Status.STOPPED),
    ],
)
async def test_a_notebook_on_its_way_is_waited_for(
    world: MakeLab, status: Status, calls: list[str], back: Status
) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.put_into(notebook, status)
    run = await lab.go()
    assert (run.outcomes, run.calls()) == (["changed"], calls)
    assert notebook.status is back
    assert run.findings() == []
    assert len([record for record in run.log if record.status == 400]) == 0


@pytest.mark.parametrize("status", [Status.STARTING, Status.STOPPING])
async def test_a_notebook_whose_way_ends_elsewhere_is_skipped(world: MakeLab, status: Status) -> None:
    lab = await world(running=1, faults=[FailingStart()])
    (notebook,) = lab.notebooks
    lab.put_into(notebook, status)
    notebook.outcome = Cause.FAILED
    run = await lab.go()
    end = {Status.STARTING: "START_FAILED", Status.STOPPING: "ERROR"}[status]
    assert (run.outcomes, run.calls(), run.report.exit) == (["skipped"], [], Exit.DONE)
    assert run.only.reason.startswith(f"status {end}")


@pytest.mark.row(40)
@pytest.mark.parametrize(
    "fault",
    [
        "kind: moving-rows, how: created, rows: 2, times: 1",
        "kind: moving-rows, how: deleted, rows: 2, times: 1",
        "kind: moving-rows, how: reordered, times: 2",
    ],
)
async def test_whatever_moves_between_the_pages_the_plan_holds_every_notebook_once(
    world: MakeLab, fault: str
) -> None:
    lab = await world(stopped=130, faults=load_faults(f"[{{{fault}}}]"))
    plan = await lab.plan(STOPPED_ONES)
    planned = [change.id for change in plan.changes]
    there = {notebook.id for notebook in lab.notebooks if notebook.status is Status.STOPPED}
    assert len(planned) == len(set(planned))
    assert set(planned) == there


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("kind: empty-page", marks=pytest.mark.row(40)),
        pytest.param("kind: repeated-page", marks=pytest.mark.row(41)),
    ],
)
async def test_a_list_that_does_not_come_to_its_end_gets_no_plan(world: MakeLab, fault: str) -> None:
    lab = await world(stopped=130, faults=load_faults(f"[{{{fault}}}]"))
    with pytest.RaisesGroup(CallError, flatten_subgroups=True) as caught:
        await lab.plan()
    (error,) = caught.value.exceptions
    assert isinstance(error, CallError)
    assert error.meaning is Meaning.ODD
    assert len(lab.cloud.log) < 200


@pytest.mark.parametrize(
    "fault",
    [
        pytest.param("kind: empty-page", marks=pytest.mark.row(40)),
        pytest.param("kind: repeated-page", marks=pytest.mark.row(41)),
    ],
)
async def test_one_bad_page_costs_a_pass_and_not_the_plan(world: MakeLab, fault: str) -> None:
    lab = await world(stopped=130, faults=load_faults(f"[{{{fault}, times: 1}}]"))
    plan = await lab.plan(STOPPED_ONES)
    assert {change.id for change in plan.changes} == {notebook.id for notebook in lab.notebooks}
    pages = [record for record in lab.cloud.log if record.operation == "ListAllNotebooks"]
    assert len(pages) == 2 + 3 + 3  # the pass that broke at its second page, and two whole ones


async def test_a_selected_notebook_that_is_not_in_the_last_pass_keeps_its_row(world: MakeLab) -> None:
    lab = await world(running=3)
    flicker = lab.notebooks[1]

    def comes_or_goes() -> None:
        gone = flicker.id not in lab.cloud.world.notebooks
        (lab.cloud.world.add([flicker]) if gone else lab.cloud.world.remove(flicker))

    lab.when("ListAllNotebooks", comes_or_goes, times=3)
    plan = await lab.plan(accept_churn=True)
    assert flicker.id not in lab.cloud.world.notebooks
    assert len(plan.changes) == 2
    assert [(row.id, row.outcome, row.reason) for row in plan.settled] == [
        (flicker.id, "skipped", "kept changing while the fleet was read")
    ]
