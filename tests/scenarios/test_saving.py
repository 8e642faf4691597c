"""`save_first` from the job file to the report: the environment is an image before anything is stopped."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any, cast

import pytest

from fleet.core.errors import Exit, UsageError
from fleet.core.events import Outcome
from fleet.journal.reader import read_journal
from fleet.journal.runs import JOURNAL
from fleet.service.again import past_run, retry_order, undo_order
from fleet.service.planning import plan_job
from fleet.simulator.faults import LostAnswer, Match, Refused, ServerError, SlowAnswer, Throttled
from fleet.simulator.routing import Operation
from fleet.simulator.states import Cause, Status

if TYPE_CHECKING:
    from fleet.core.planning.plan import Plan
    from fleet.simulator.faults import Fault
    from fleet.simulator.world import Image
    from tests.scenarios.conftest import Lab, MakeLab, Run

pytestmark = pytest.mark.looptime

SAVING = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}, save_first: true}
rollout: {disruption: restart}
"""
STEPS = {"CreateImage", "StopNotebook", "UpdateNotebook", "StartNotebook", "RenewLease"}
CREATE = Match(operation=Operation.CREATE_IMAGE)
NO_STOP = "; nothing was stopped"


def saved(lab: Lab) -> list[Image]:
    """The images that environments were saved as."""
    return [image for image in lab.cloud.world.images.values() if image.name.startswith("before-")]


async def test_what_runs_is_saved_first_and_the_rest_is_as_without(world: MakeLab) -> None:
    lab = await world(running=3, stopped=2)
    plan = await lab.plan(SAVING)
    (told,) = [check for check in plan.checks if "saved as images" in check]
    first = next(change.save for change in plan.changes if change.save)
    assert told == (
        "3 environments are saved as images first, in the organization lab of scope lab-a (guessed from the "
        "saved images that are there; save_to names another), with names like "
        f"{first.removeprefix('lab/')}; that takes minutes, costs space"
    )
    assert [bool(change.save) for change in plan.changes].count(True) == 3
    run = await lab.apply(plan)
    assert (run.outcomes, run.report.exit, run.findings()) == (["changed"] * 5, Exit.DONE, [])
    for notebook in lab.notebooks:
        row, ran = run.row(notebook), run.row(notebook).run_state_before == "RUNNING"
        assert run.calls(notebook) == (["save", "stop", "put", "start"] if ran else ["put"])
        assert row.calls.save == ran
        change = next(one for one in plan.changes if one.id == notebook.id)
        assert row.reason == (f"its environment was saved as {change.save}" if ran else "")
    assert {image.status for image in saved(lab)} == {"ACTIVE"}
    assert {f"{image.namespace}/{image.name}" for image in saved(lab)} == {
        change.save for change in plan.changes if change.save
    }
    stops = {record.notebook: record.at for record in run.log if record.operation == "StopNotebook"}
    assert min(stops.values()) >= min(image.update_at for image in saved(lab)) / 1000


async def test_an_environment_is_saved_in_the_workspace_of_its_notebook(world: MakeLab) -> None:
    lab = await world(running=2)
    lab.specs = [replace(spec, workspaces=()) for spec in lab.specs]
    here, there = lab.notebooks
    there.workspace_id, there.rendered = lab.cloud.world.workspaces[1]["id"], None
    run = await lab.go(SAVING)
    assert (run.outcomes, run.findings()) == (["changed"] * 2, [])
    assert {image.workspace_id for image in saved(lab)} == {here.workspace_id, there.workspace_id}
    assert len(saved(lab)) == 2


async def test_nothing_is_saved_unless_asked_for(world: MakeLab) -> None:
    lab = await world(running=1)
    run = await lab.go()
    assert (run.calls(), saved(lab), run.only.reason) == (["stop", "put", "start"], [], "")


@pytest.mark.parametrize(
    "fault",
    [
        LostAnswer(match=CREATE, times=1, applied=True),
        ServerError(match=CREATE, times=1, applied=True),
        SlowAnswer(match=CREATE, times=1, seconds=45.0),
    ],
    ids=["lost", "500", "too late"],
)
async def test_an_environment_that_was_saved_without_an_answer_is_saved(world: MakeLab, fault: Fault) -> None:
    lab = await world(running=1, faults=[fault])
    run = await lab.go(SAVING)
    assert (run.outcomes, run.calls()) == (["changed"], ["save", "stop", "put", "start"])
    assert run.findings() == []


@pytest.mark.parametrize(
    "fault",
    [
        LostAnswer(match=CREATE, applied=False),
        ServerError(match=CREATE, applied=False, status=503),
        Refused(match=CREATE, code="ModelArts.0112", status=403, message="no"),
        Refused(match=CREATE, code="ModelArts.6357", status=400, message="busy"),
    ],
    ids=["lost", "503", "forbidden", "busy"],
)
async def test_an_environment_that_cannot_be_saved_is_not_stopped(world: MakeLab, fault: Fault) -> None:
    lab = await world(running=2, faults=[fault])
    run = await lab.go(SAVING)
    assert (run.outcomes, run.report.exit, run.findings()) == (["failed"] * 2, Exit.SOME_FAILED, [])
    assert sorted(run.calls()) == ["save", "save"]
    for row in run.report.rows:
        assert row.reason.startswith("the environment could not be saved: ")
        assert row.reason.endswith(NO_STOP)
    assert saved(lab) == []


async def test_a_throttled_save_is_let_through_later(world: MakeLab) -> None:
    lab = await world(running=1, faults=[Throttled(match=CREATE, times=1, limit=5, seconds=10)])
    run = await lab.go(SAVING)
    assert run.outcomes == ["changed"]
    assert run.calls(applied=True) == ["save", "stop", "put", "start"]


async def test_an_image_that_comes_to_nothing_is_no_reason_to_stop(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("CreateImage", lambda: setattr(notebook, "outcome", Cause.FAILED))
    run = await lab.go(SAVING)
    assert (run.outcomes, run.calls(), notebook.status) == (["failed"], ["save"], Status.RUNNING)
    assert run.only.reason == (f"the environment could not be saved: the image is CREATE_FAILED{NO_STOP}")


async def test_a_save_that_is_not_over_in_time_ends_the_change_where_it_is(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("CreateImage", lambda: lab.hang(notebook))
    run = await lab.go(SAVING.replace("restart}", "restart, change_deadline: 10m}"))
    assert (run.outcomes, run.calls()) == (["failed"], ["save"])
    assert run.only.reason.endswith(f"its time was up in stage: saving{NO_STOP}")


MEANWHILE: dict[str, tuple[Any, str]] = {
    "deleted": (lambda lab, row: lab.put_into(row, Status.DELETING), "gone"),
    "frozen": (lambda lab, row: lab.put_into(row, Status.FROZEN), "failed"),
    "broken": (lambda lab, row: lab.put_into(row, Status.ERROR), "failed"),
    "stopped": (lambda lab, row: lab.put_into(row, Status.STOPPED), "drifted"),
    "moved": (lambda lab, row: lab.edit(row, image=lab.image("tensorflow")), "drifted"),
}


@pytest.mark.parametrize("what", MEANWHILE)
async def test_what_befalls_a_notebook_while_it_is_saved_is_never_answered_by_a_stop(
    world: MakeLab, what: str
) -> None:
    act, outcome = MEANWHILE[what]
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("CreateImage", lambda: lab.at(60.0, lambda: act(lab, notebook)))
    run = await lab.go(SAVING)
    assert (run.outcomes, run.calls(), run.report.debts) == ([outcome], ["save"], ())


# --- killed, taken up, tried again, taken back -----------------------------------------------------------


async def killed(lab: Lab, plan: Plan, seconds: float) -> Run:
    """What a process leaves that worked on the plan for so long."""
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(seconds):
            await lab.apply(plan)
    (path,) = lab.base.iterdir()
    left: Any = SimpleNamespace(plan=plan, path=path, events=read_journal(path / JOURNAL).events)
    return cast("Run", left)


@pytest.mark.parametrize("seconds", [0.4, 5.0, 60.0, 200.0])
@pytest.mark.parametrize("pause", [0.0, 1200.0])
async def test_a_run_that_is_killed_after_the_save_goes_on_without_another(
    world: MakeLab, seconds: float, pause: float
) -> None:
    lab = await world(running=1)
    plan = await lab.plan(SAVING)
    left = await killed(lab, plan, seconds)
    assert [one.operation for one in lab.cloud.log if one.operation in STEPS] == ["CreateImage"]
    await asyncio.sleep(pause)
    run = await lab.resume(left)
    assert (run.outcomes, run.calls(), run.findings()) == (["changed"], ["stop", "put", "start"], [])
    assert run.only.calls.save == 1
    assert run.only.reason == f"its environment was saved as {plan.changes[0].save}"


async def test_what_could_not_be_saved_is_saved_by_a_retry_before_it_is_stopped(world: MakeLab) -> None:
    busy = Refused(match=CREATE, times=1, code="ModelArts.6357", message="busy")
    lab = await world(running=1, faults=[busy])
    run = await lab.go(SAVING)
    assert run.outcomes == ["failed"]
    await asyncio.sleep(1.0)
    order, _ = retry_order(past_run(run.path), [Outcome.FAILED])
    plan = await plan_job(order, lab.specs, lab.clock)
    assert plan.changes[0].save.startswith("lab/before-nb-0-")
    assert plan.changes[0].save != run.plan.changes[0].save
    assert any(
        "in the organization lab of scope lab-a (as the run was to), called" in one for one in plan.checks
    )
    again = await lab.apply(plan)
    assert (again.outcomes, again.calls()) == (["changed"], ["save", "stop", "put", "start"])


async def test_a_run_that_saved_is_taken_back_without_saving_again(world: MakeLab) -> None:
    lab = await world(running=1)
    run = await lab.go(SAVING)
    order, _ = undo_order(past_run(run.path))
    back = await lab.apply(await plan_job(order, lab.specs, lab.clock))
    assert (back.outcomes, back.calls()) == (["changed"], ["stop", "put", "start"])
    assert len(saved(lab)) == 1


async def test_where_to_save_must_be_known_before_anything_is_planned(world: MakeLab) -> None:
    lab = await world(running=1)
    for image in lab.cloud.world.images.values():
        image.namespace = image.id[:4] if image.type == "DEDICATED" else ""
    with pytest.raises(UsageError, match="nothing tells to which organization of scope lab-a to save"):
        await lab.plan(SAVING)
    plan = await lab.plan(SAVING.replace("save_first: true", "save_first: true, save_to: mine"))
    assert plan.changes[0].save.startswith("mine/before-nb-0-")
    assert any(
        "in the organization mine of scope lab-a (named by save_to), called" in it for it in plan.checks
    )
