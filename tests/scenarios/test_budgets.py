"""Budgets are hard, waves are released one after the other, deadlines are kept."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.core.events import RunEnd
from fleet.simulator.faults import FailingStart
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime


def migration(rollout: str) -> str:
    return f"""\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {{to: {{name: pytorch2.6}}}}
rollout: {{disruption: restart, {rollout}}}
"""


def spoil_the_image(lab: Lab) -> None:
    """The new image can no longer be used: every PUT of it is refused."""
    lab.image("pytorch2.6-cuda12.4").status = "ERROR"


@pytest.mark.row(7)
async def test_there_are_never_more_stranded_than_allowed(world: MakeLab) -> None:
    lab = await world(running=9, faults=[FailingStart()])
    run = await lab.go(migration("max_failures: 3"))
    assert run.outcomes == ["stranded"] * 3 + ["not-started"] * 6
    assert (run.end, run.report.exit) == (RunEnd.HALTED, Exit.STRANDED)
    assert len(run.report.debts) == 3
    assert sum(notebook.status is not Status.RUNNING for notebook in lab.notebooks) == 3
    assert all(run.calls(notebook) == [] for notebook in lab.notebooks[3:])


@pytest.mark.row(7)
async def test_there_are_never_more_failed_than_allowed(world: MakeLab) -> None:
    lab = await world(running=9)
    plan = await lab.plan(migration("max_failures: 3"))
    spoil_the_image(lab)
    run = await lab.apply(plan)
    assert run.outcomes == ["failed"] * 3 + ["not-started"] * 6
    assert (run.end, run.report.exit) == (RunEnd.HALTED, Exit.STOPPED_BY_GUARD)
    assert "max_failures is 3" in run.report.reason
    assert run.findings() == []


async def test_two_notebooks_of_one_owner_are_never_away_at_once(world: MakeLab) -> None:
    lab = await world(running=6)
    run = await lab.go(migration("max_unavailable: {owner: 1}"))
    assert run.outcomes == ["changed"] * 6
    assert [run.most_away(owner) for owner in ("ann", "bob")] == [1, 1]
    assert run.most_away() == 2


async def test_the_fleet_budget_bounds_all_who_are_away(world: MakeLab) -> None:
    lab = await world(running=6)
    run = await lab.go(migration("max_unavailable: {fleet: 50%}"))
    assert (run.outcomes, run.most_away()) == (["changed"] * 6, 3)


async def test_waves_come_one_after_the_other_with_a_soak_between(world: MakeLab) -> None:
    lab = await world(running=6)
    run = await lab.go(migration("waves: [1, 50%, 100%], soak: 10m"))
    assert run.outcomes == ["changed"] * 6
    waves = {change.id: change.wave for change in run.plan.changes}
    times: dict[int, list[float]] = {}
    for record in run.log:
        if record.notebook:
            times.setdefault(waves[record.notebook], []).append(record.at)
    assert [len([wave for wave in waves.values() if wave == number]) for number in (1, 2, 3)] == [1, 2, 3]
    assert min(times[2]) - max(times[1]) >= 600.0
    assert min(times[3]) - max(times[2]) >= 600.0


async def test_a_canary_that_fails_ends_the_run(world: MakeLab) -> None:
    lab = await world(running=5)
    plan = await lab.plan(migration("waves: [1, 100%], soak: 10m"))
    spoil_the_image(lab)
    run = await lab.apply(plan)
    assert run.outcomes == ["failed"] + ["not-started"] * 4
    assert (run.end, run.report.exit) == (RunEnd.HALTED, Exit.STOPPED_BY_GUARD)
    assert run.report.duration_s < 600.0
    assert run.findings() == []


async def test_after_the_deadline_no_change_starts_and_those_under_way_come_home(world: MakeLab) -> None:
    lab = await world(running=6)
    run = await lab.go(migration("concurrency: 2, deadline: 1m"))
    changed = run.outcomes.count("changed")
    assert 0 < changed < 6
    assert run.outcomes == ["changed"] * changed + ["not-started"] * (6 - changed)
    assert (run.end, run.report.exit) == (RunEnd.HALTED, Exit.STOPPED_BY_GUARD)
    assert "deadline" in run.report.reason
    assert run.findings() == []


async def test_a_failure_in_the_last_wave_is_a_failure_not_a_guard(world: MakeLab) -> None:
    lab = await world(running=1)
    plan = await lab.plan()
    spoil_the_image(lab)
    run = await lab.apply(plan)
    assert (run.outcomes, run.report.exit) == (["failed"], Exit.SOME_FAILED)


@pytest.mark.row(33)
async def test_a_notebook_stuck_in_stopping_is_given_up_as_stranded(world: MakeLab) -> None:
    lab = await world(running=2)
    stuck, other = lab.notebooks
    lab.when("StopNotebook", lambda: lab.hang(stuck), notebook=stuck)
    run = await lab.go(migration("change_deadline: 5m"))
    assert (run.row(stuck).outcome, run.row(other).outcome) == ("stranded", "changed")
    assert run.row(stuck).debt
    assert "stopping" in run.row(stuck).reason
    assert run.row(stuck).fix.startswith(f"fleet start --scope lab-a {stuck.id}")
    assert run.calls(stuck) == ["stop"]
    assert run.report.exit is Exit.STRANDED
    assert 600.0 <= run.report.duration_s < 620.0


@pytest.mark.row(33)
async def test_a_stop_that_takes_long_is_undone_when_it_is_through(world: MakeLab) -> None:
    lab = await world(running=1)
    (slow,) = lab.notebooks
    lab.when("StopNotebook", lambda: lab.hang(slow))
    plan = await lab.plan(migration("change_deadline: 5m"))
    lab.at(400.0, lambda: lab.put_into(slow, Status.STOPPED))
    run = await lab.apply(plan)
    assert (run.outcomes, run.calls()) == (["failed"], ["stop", "start"])
    assert slow.status is Status.RUNNING
    assert slow.image.name.startswith("pytorch1.8")
    assert run.findings() == []
