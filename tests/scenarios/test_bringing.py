"""fleet start and stop against a cloud that is busy with the notebook, and against a run that works on it."""

from __future__ import annotations

import asyncio
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit, GuardError
from fleet.core.notebook import Status as Goal
from fleet.journal.claims import Claims
from fleet.journal.lock import RunLock
from fleet.service.bringing import PATIENCE, NotBrought, bring_running, bring_stopped
from fleet.service.owing import claim_key
from fleet.simulator.faults import LostAnswer, Match
from fleet.simulator.routing import Operation
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from pathlib import Path

    from fleet.simulator.world import Notebook
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime

LEASE = {"duration": 7_200_000, "type": "TIMING"}


def sends(lab: Lab) -> list[str]:
    return [
        record.operation for record in lab.cloud.log if record.operation in ("StartNotebook", "StopNotebook")
    ]


def claims_of(lab: Lab) -> Path:
    return lab.base / "claims.db"


async def bring(lab: Lab, notebook: Notebook, goal: Goal) -> list[str]:
    """Brings the notebook to `goal`; what was told meanwhile."""
    told: list[str] = []
    (spec,) = lab.specs
    if goal is Goal.RUNNING:
        found = await bring_running(spec, notebook.id, LEASE, lab.clock, claims_of(lab), told.append)
    else:
        found = await bring_stopped(spec, notebook.id, lab.clock, claims_of(lab), told.append)
    assert found.status is goal
    return told


def claim(lab: Lab, notebook: Notebook) -> RunLock:
    """A run that lives until its lock is released claims the notebook."""
    folder = lab.base / "other-run"
    folder.mkdir(exist_ok=True)
    lock = RunLock(folder)
    with closing(Claims(claims_of(lab))) as claims:
        taken = claims.take(
            [claim_key(lab.specs[0], notebook.id)], "other-run", folder, lab.now(), lambda folder, keys: ()
        )
    assert taken == {}
    return lock


@pytest.mark.parametrize(
    ("passing", "goal", "sent"),
    [
        (Status.STARTING, Goal.STOPPED, ["StopNotebook"]),
        (Status.STOPPING, Goal.RUNNING, ["StartNotebook"]),
        (Status.STARTING, Goal.RUNNING, []),
        (Status.STOPPING, Goal.STOPPED, []),
    ],
)
async def test_a_notebook_on_its_way_is_waited_for_and_then_sent_for_once(
    world: MakeLab, passing: Status, goal: Goal, sent: list[str]
) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.put_into(notebook, passing)
    told = await bring(lab, notebook, goal)
    assert told[0] == f"waiting: it is {passing}"
    assert len(told) == len(set(told))
    assert sends(lab) == sent
    assert asyncio.get_running_loop().time() < PATIENCE / 2


async def test_a_busy_cloud_is_asked_again_once_after_the_look_that_shows_rest(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("ShowNotebook", lambda: lab.put_into(notebook, Status.STARTING))
    told = await bring(lab, notebook, Goal.STOPPED)
    assert told[:2] == ["waiting: it is RUNNING, the cloud is busy with it", "waiting: it is STARTING"]
    assert sends(lab) == ["StopNotebook"] * 2


async def test_a_start_that_somebody_else_was_quicker_with_is_no_reason_to_send_again(world: MakeLab) -> None:
    lab = await world(stopped=1)
    (notebook,) = lab.notebooks
    lab.when("ShowNotebook", lambda: lab.start(notebook))
    await bring(lab, notebook, Goal.RUNNING)
    assert sends(lab) == ["StartNotebook"]


async def test_a_notebook_that_rests_where_no_call_gets_it_out_is_told_at_once(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.put_into(notebook, Status.ERROR)
    with pytest.raises(NotBrought, match="nb-0 is ERROR, not STOPPED: the cloud is busy with it") as refusal:
        await bring(lab, notebook, Goal.STOPPED)
    assert refusal.value.exit is Exit.SOME_FAILED
    assert sends(lab) == ["StopNotebook"]


async def test_a_stop_that_was_taken_is_not_sent_again_while_the_cloud_shows_the_old_status(
    world: MakeLab,
) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("StopNotebook", lambda: lab.put_into(notebook, Status.RUNNING))
    lab.at(25.0, lambda: lab.put_into(notebook, Status.STOPPED))
    assert await bring(lab, notebook, Goal.STOPPED) == ["waiting: it is RUNNING"]
    assert sends(lab) == ["StopNotebook"]


async def test_somebody_who_takes_the_notebook_back_is_not_waited_for(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("StopNotebook", lambda: lab.at(15.0, lambda: lab.put_into(notebook, Status.RUNNING)))
    with pytest.raises(NotBrought, match="nb-0 is RUNNING, not STOPPED"):
        await bring(lab, notebook, Goal.STOPPED)
    assert sends(lab) == ["StopNotebook"]
    assert asyncio.get_running_loop().time() < PATIENCE / 2


async def test_calls_that_nobody_answers_are_made_three_times(world: MakeLab) -> None:
    lost = LostAnswer(match=Match(operation=Operation.STOP_NOTEBOOK), applied=False)
    lab = await world(running=1, faults=[lost])
    (notebook,) = lab.notebooks
    with pytest.raises(NotBrought, match="nb-0 is RUNNING, not STOPPED: no answer"):
        await bring(lab, notebook, Goal.STOPPED)
    assert sends(lab) == ["StopNotebook"] * 3


@pytest.mark.parametrize("goal", [Goal.RUNNING, Goal.STOPPED])
async def test_what_a_live_run_claims_is_left_to_it(world: MakeLab, goal: Goal) -> None:
    lab = await world(running=1, stopped=1)
    notebook = next(row for row in lab.notebooks if row.status.value != goal.value)
    lock = claim(lab, notebook)
    with pytest.raises(GuardError, match="run other-run is working on it") as refusal:
        await bring(lab, notebook, goal)
    assert refusal.value.exit is Exit.STOPPED_BY_GUARD
    assert lab.cloud.log == []
    lock.release()
    await bring(lab, notebook, goal)  # what a dead run claims is free


async def test_a_run_that_claims_the_notebook_while_we_wait_is_left_alone(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.put_into(notebook, Status.STARTING)
    locks: list[RunLock] = []
    lab.at(5.0, lambda: locks.append(claim(lab, notebook)))
    with pytest.raises(GuardError, match="run other-run is working on it"):
        await bring(lab, notebook, Goal.STOPPED)
    assert sends(lab) == []
    locks[0].release()
