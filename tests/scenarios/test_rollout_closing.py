"""The first notebook that meets an empty stock, a full quota or arrears is the last one that does."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fleet.core.errors import Exit
from fleet.core.events import Held, RunEnd
from fleet.core.pacing.limits import Rate
from fleet.simulator.faults import SoldOut
from fleet.simulator.states import Status
from fleet.simulator.world import Timer

if TYPE_CHECKING:
    from tests.scenarios.conftest import Lab, MakeLab, Run

pytestmark = pytest.mark.looptime

SCARCE, PLENTY = "modelarts.vm.cpu.4u", "modelarts.vm.cpu.8u"


def migration(rollout: str) -> str:
    return f"""\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {{to: {{name: pytorch2.6}}}}
rollout: {{disruption: restart, {rollout}}}
"""


TO_SCARCE = f"""\
job: edit
name: rightsize
select: "true"
with: {{set: {{flavor: {SCARCE}}}}}
rollout: {{disruption: restart}}
"""


async def two_flavors(world: MakeLab, running: int, **options: Any) -> Lab:
    """A lab of running notebooks, on the scarce flavor and on the other one by turns."""
    lab = await world(running=running, **options)
    for number, notebook in enumerate(lab.notebooks):
        notebook.timers.pop(Timer.STATUS, None)
        lab.edit(notebook, flavor=(SCARCE, PLENTY)[number % 2])
    return lab


def held(run: Run) -> list[str]:
    return [f"{event.where}: {event.text}" for event in run.events if isinstance(event, Held)]


async def test_a_flavor_sold_out_takes_no_more_changes_and_the_others_go_on(world: MakeLab) -> None:
    lab = await two_flavors(world, 12, faults=[SoldOut(flavor=SCARCE, after=1.0)])
    run = await lab.go(migration("concurrency: 2"))
    scarce, plenty = lab.notebooks[0::2], lab.notebooks[1::2]
    assert [run.row(notebook).outcome for notebook in plenty] == ["changed"] * 6
    assert [run.row(notebook).outcome for notebook in scarce] == ["stranded"] + ["not-started"] * 5
    reason = f"flavor {SCARCE} in lab-a takes no more changes: sold out"
    assert {run.row(notebook).reason for notebook in scarce[1:]} == {reason}
    assert [run.calls(notebook) for notebook in scarce[1:]] == [[]] * 5
    assert held(run) == [f"flavor {SCARCE} in lab-a: takes no more changes: sold out"]
    assert (run.end, run.report.reason, run.report.exit) == (RunEnd.HALTED, reason, Exit.STRANDED)


async def test_a_group_stays_closed_in_later_waves_and_the_rest_of_them_is_released(world: MakeLab) -> None:
    lab = await two_flavors(world, 12, faults=[SoldOut(flavor=SCARCE, after=1.0, until=100.0)])
    run = await lab.go(migration("concurrency: 1, waves: [2, 50%, 100%]"))
    first, *scarce = lab.notebooks[0::2]
    assert run.row(first).outcome == "changed"
    assert [run.row(notebook).outcome for notebook in scarce] == ["not-started"] * 5
    assert [run.row(notebook).outcome for notebook in lab.notebooks[1::2]] == ["changed"] * 6
    assert (run.end, run.report.exit) == (RunEnd.HALTED, Exit.STOPPED_BY_GUARD)
    assert run.findings() == []


async def test_a_change_that_waits_for_its_first_write_when_its_group_closes_sends_nothing(
    world: MakeLab,
) -> None:
    lab = await world(running=6)
    stopped, leader, *others = lab.notebooks
    lab.put_into(stopped, Status.STOPPED)
    for notebook in lab.notebooks:
        notebook.timers.pop(Timer.STATUS, None)
    lab.specs = [replace(spec, rate=Rate(10, 60.0)) for spec in lab.specs]
    plan = await lab.plan(TO_SCARCE)
    flavors = lab.cloud.world.flavors
    flavors[SCARCE] = replace(flavors[SCARCE], sold_out=True)
    run = await lab.apply(plan)
    assert [row.id for row in plan.changes[:2]] == [leader.id, stopped.id]
    assert (run.calls(stopped), run.row(stopped).outcome) == (["put"], "failed")
    assert (run.calls(leader), run.row(leader).outcome) == (["stop", "put", "start"], "failed")
    reason = f"nothing was sent: flavor {SCARCE} in lab-a takes no more changes: sold out"
    assert {(run.row(one).outcome, run.row(one).reason) for one in others} == {("not-started", reason)}
    assert not [call for one in others for call in run.calls(one)]
    assert all(notebook.status is Status.RUNNING for notebook in (leader, *others))
    assert run.end is RunEnd.HALTED


async def test_a_notebook_that_freezes_after_our_stop_is_the_only_one_of_its_scope(world: MakeLab) -> None:
    lab = await two_flavors(world, 8)
    first, *others = lab.notebooks
    lab.when("StopNotebook", lambda: lab.put_into(first, Status.FROZEN))
    run = await lab.go(migration("concurrency: 1"))
    assert run.row(first).outcome == "stranded"
    reason = "scope lab-a takes no more changes: frozen"
    assert {(run.row(one).outcome, run.row(one).reason) for one in others} == {("not-started", reason)}
    assert run.calls() == ["stop"]
