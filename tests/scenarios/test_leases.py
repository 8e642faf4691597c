"""The countdown to auto stop is given back as it was, and one that ends under way is told truthfully."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.simulator.faults import SlowStart
from fleet.simulator.records import Record
from fleet.simulator.states import Status
from fleet.simulator.world import HOUR_MS

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab, Run

pytestmark = pytest.mark.looptime

HOUR = 3600.0


def start_of(run: Run) -> Record:
    return next(record for record in run.log if record.operation == "StartNotebook")


async def test_half_an_hour_left_becomes_the_hour_that_the_api_asks_for(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.lend(notebook, 0.5)
    run = await lab.go()
    assert (run.outcomes, run.findings()) == (["changed"], [])
    assert start_of(run).query == {"duration": str(HOUR_MS), "type": "TIMING"}
    assert run.only.lease_before is not None
    assert run.only.lease_before.left_s == pytest.approx(0.5 * HOUR, abs=60)
    assert run.only.lease_after is not None
    assert run.only.lease_after.left_s == pytest.approx(HOUR, abs=300)


@pytest.mark.parametrize("kind", ["TIMING", "IDLE"])
async def test_what_was_left_at_the_stop_is_given_back_with_its_type(world: MakeLab, kind: str) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.lend(notebook, 5.0, kind)
    run = await lab.go()
    stopped = next(record for record in run.log if record.operation == "StopNotebook")
    assert stopped.before is not None
    asked = start_of(run).query
    assert asked["type"] == kind
    assert int(asked["duration"]) == pytest.approx(stopped.before["lease_left"], abs=2000)
    assert (run.outcomes, run.findings()) == (["changed"], [])
    assert run.calls() == ["stop", "put", "start"]


async def test_auto_stop_that_was_off_is_off_again(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.lend(notebook, None)
    run = await lab.go()
    assert start_of(run).query == {"duration": "-1"}
    assert not notebook.lease.enable
    assert (run.outcomes, run.findings()) == (["changed"], [])


async def test_the_lease_of_a_stopped_notebook_is_not_touched(world: MakeLab) -> None:
    lab = await world(stopped=1)
    (notebook,) = lab.notebooks
    lease = (notebook.lease.create_at, notebook.lease.duration, notebook.lease.update_at)
    run = await lab.go()
    assert (run.outcomes, run.calls()) == (["changed"], ["put"])
    assert lease == (notebook.lease.create_at, notebook.lease.duration, notebook.lease.update_at)


async def test_a_lease_that_comes_out_wrong_is_set_right_once(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("StartNotebook", lambda: lab.lend(notebook, 1.0))
    run = await lab.go()
    assert run.calls() == ["stop", "put", "start", "lease"]
    assert (run.outcomes, run.findings()) == (["changed"], [])


@pytest.mark.row(38)
@pytest.mark.parametrize("hours", [10.0, None])
async def test_a_longer_lease_that_somebody_sets_after_our_start_stays(
    world: MakeLab, hours: float | None
) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.when("StartNotebook", lambda: lab.lend(notebook, hours))
    run = await lab.go()
    assert (run.outcomes, run.calls()) == (["changed"], ["stop", "put", "start"])
    assert run.only.reason.startswith("lease left as somebody set it")
    assert notebook.lease.enable is (hours is not None)


async def test_a_lease_that_ends_between_the_fence_and_our_stop_is_drift(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    plan = await lab.plan()
    lab.when("ShowNotebook", lambda: lab.lend(notebook, 0.0))
    run = await lab.apply(plan)
    assert run.outcomes == ["drifted"]
    assert run.calls(applied=True) == []
    assert notebook.status is Status.STOPPED
    assert notebook.image.name.startswith("pytorch1.8")
    assert (run.report.exit, run.report.debts) == (Exit.SOME_DRIFTED, ())


async def test_a_start_that_takes_long_eats_of_the_lease_but_nothing_is_renewed(world: MakeLab) -> None:
    lab = await world(running=1, faults=[SlowStart(seconds=1500.0)])
    (notebook,) = lab.notebooks
    lab.lend(notebook, 0.05)
    run = await lab.go()
    assert (run.outcomes, run.calls()) == (["changed"], ["stop", "put", "start"])
    assert notebook.status is Status.RUNNING
    assert run.findings() == []
