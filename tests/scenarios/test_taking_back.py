"""A run that went wrong is taken back: every notebook that it changed or may have changed, and no other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fleet.core.events import Outcome
from fleet.service.again import past_run, undo_order
from fleet.service.planning import plan_job
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.core.planning.plan import Plan
    from fleet.simulator.world import Notebook
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime

MIGRATION = """\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart, change_deadline: 5m}
"""


async def undo(lab: Lab, folder: Path) -> Plan:
    """The plan that takes the run in `folder` back."""
    order, scopes = undo_order(past_run(folder))
    assert scopes == ("lab-a",)
    return await plan_job(order, lab.specs, lab.clock)


def settled(plan: Plan) -> dict[str, tuple[Outcome, str]]:
    return {row.id: (row.outcome, row.reason) for row in plan.settled}


def is_old(notebook: Notebook) -> bool:
    return notebook.image.name.startswith("pytorch1.8")


async def test_a_failed_one_that_holds_the_new_value_is_taken_back(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks

    def slow_start() -> None:
        lab.hang(notebook)
        lab.at(400.0, lambda: lab.put_into(notebook, Status.RUNNING))

    lab.when("StartNotebook", slow_start)
    run = await lab.go(MIGRATION)
    assert (run.outcomes, is_old(notebook)) == (["failed"], False)
    back = await lab.apply(await undo(lab, run.path))
    assert (back.outcomes, is_old(notebook), back.findings()) == (["changed"], True, [])


async def test_after_a_drift_what_is_still_ours_is_taken_back_and_a_third_value_is_listed(
    world: MakeLab,
) -> None:
    lab = await world(running=2)
    ours, theirs = lab.notebooks
    lab.when("StartNotebook", lambda: lab.edit(theirs, image=lab.image("tensorflow2.1")), notebook=theirs)
    lab.when("StartNotebook", lambda: lab.edit(ours, image=lab.image("tensorflow2.1")), notebook=ours)
    run = await lab.go(MIGRATION)
    assert run.outcomes == ["drifted"] * 2
    lab.edit(ours, image=lab.image("pytorch2.6"))
    plan = await undo(lab, run.path)
    assert [change.id for change in plan.changes] == [ours.id]
    assert settled(plan)[theirs.id][0] is Outcome.DRIFTED


@pytest.mark.row(48)
@pytest.mark.parametrize("applied", [True, False])
async def test_a_put_whose_answer_nobody_waited_for_is_looked_up(world: MakeLab, applied: bool) -> None:
    lab = await world(stopped=1)
    (notebook,) = lab.notebooks
    running = asyncio.ensure_future(lab.go(MIGRATION))

    def stop_at_once() -> None:
        running.cancel()

    lab.when("UpdateNotebook", stop_at_once)
    with pytest.raises(asyncio.CancelledError):
        await running
    (folder,) = lab.base.iterdir()
    row = past_run(folder).notebooks[0].row
    assert (row.outcome, is_old(notebook)) == (Outcome.UNKNOWN, False)
    if not applied:
        lab.edit(notebook, image=lab.image("pytorch1.8-cuda"))
    plan = await undo(lab, folder)
    assert len(plan.changes) == applied
    assert settled(plan) == ({} if applied else {notebook.id: (Outcome.UNCHANGED, "already so")})


@pytest.mark.row(34)
async def test_a_stranded_one_is_left_out_with_its_command_until_it_is_home(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("StartNotebook", lambda: lab.hang(notebook))
    run = await lab.go(MIGRATION)
    assert (run.outcomes, run.only.debt) == (["stranded"], True)
    lab.put_into(notebook, Status.STOPPED)
    plan = await undo(lab, run.path)
    assert settled(plan) == {
        notebook.id: (
            Outcome.SKIPPED,
            f"left away by the run: bring it back first with: {run.only.fix}",
        )
    }
    lab.put_into(notebook, Status.RUNNING)
    back = await lab.apply(await undo(lab, run.path))
    assert (back.outcomes, is_old(notebook)) == (["changed"], True)
