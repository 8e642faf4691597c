"""A fleet moves to a new image, and nothing else happens to it."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.core.events import Answered, Ended, Intended, RunEnd, Saw, Step
from fleet.core.pacing.limits import Rate
from fleet.simulator.audit import is_read, is_write, worst_window
from fleet.simulator.states import Status
from fleet.simulator.throttle import Limit

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab, Run

pytestmark = pytest.mark.looptime

FLEET = """\
job: image-migration
name: torch-2-6
select: image.name.startsWith("pytorch1.8") && status in ["RUNNING", "STOPPED"]
with: {to: {name: pytorch2.6}}
rollout: {waves: [1, 10%, 100%], concurrency: 30, max_failures: 30, disruption: restart}
"""
EVERYTHING = """\
job: image-migration
name: torch
select: "true"
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart}
"""
WORDS = {
    "UpdateNotebook": "put",
    "StopNotebook": "stop",
    "StartNotebook": "start",
    "ShowNotebook": "get",
    "RenewLease": "lease",
    "CreateImage": "save",
    "ListAllNotebooks": "list",
    "ListWorkspaces": "workspaces",
}
READS = {"ListAllNotebooks", "ListWorkspaces", "ShowNotebook"}
CATALOGUES = {"ListImage", "ListFlavors", "ListAllNotebooks", "ListWorkspaces", "ListFeatures"}


def requests_of(run: Run) -> dict[str, int]:
    """What the cloud got, in the words of a report."""
    got = Counter(record.operation for record in run.log)
    words = {word: got.pop(operation, 0) for operation, word in WORDS.items()}
    assert not got
    return words


def looks_in_vain(run: Run) -> dict[int, list[float]]:
    """By item, when a look found the notebook still on its way."""
    found: dict[int, list[float]] = {change.item: [] for change in run.plan.changes}
    for event in run.events:
        if isinstance(event, Saw) and event.sight.status.heading is not None:
            found[event.item].append(event.at)
    return found


def waiting_at(run: Run, scope: str, at: float) -> int:
    """How many of a scope waited for the end of a stop or a start."""
    last: dict[int, object] = {}
    for event in run.events:
        if isinstance(event, Answered | Saw | Intended | Ended) and event.at < at:
            last[event.item] = event
    items = [change.item for change in run.plan.changes if change.scope == scope]
    return sum(is_waiting(last.get(item)) for item in items)


def is_waiting(event: object) -> bool:
    if isinstance(event, Saw):
        return event.sight.status.heading is not None
    return isinstance(event, Answered) and event.step in (Step.STOP, Step.START)


async def test_a_fleet_moves_within_the_rate_and_with_the_fewest_calls(world: MakeLab) -> None:
    limits = [Limit(limit=60, seconds=60, calls="reads"), Limit(limit=60, seconds=60, calls="writes")]
    lab = await world(seeded=200, rate=Rate(60, 60.0), throttle=limits)
    selected = {
        row.id
        for row in lab.notebooks
        if row.image.name.startswith("pytorch1.8")
        and row.status in (Status.RUNNING, Status.STOPPED)
        and row.feature == "NOTEBOOK"
    }
    plan = await lab.plan(FLEET)
    assert {record.operation for record in lab.cloud.log} == CATALOGUES
    run = await lab.apply(plan)

    assert (run.end, run.report.exit) == (RunEnd.FINISHED, Exit.DONE)
    assert run.findings() == []
    assert sorted(row.id for row in run.report.rows) == sorted(selected)
    assert set(run.outcomes) == {"changed"}
    in_vain = looks_in_vain(run)
    (poll,) = {spec.poll for spec in lab.specs}
    lists = len({record.query["workspace_id"] for record in run.log if "status" in record.query})
    for row in run.report.rows:
        notebook = lab.cloud.world.notebooks[row.id]
        ran = row.run_state_before == "RUNNING"
        assert run.calls(notebook) == (["stop", "put", "start"] if ran else ["put"])
        waits = in_vain[row.item]
        assert run.looks(notebook) == (4 if ran else 2) + len(waits) == row.calls.get
        assert len(waits) <= row.away_s / poll
        assert notebook.image.name.startswith("pytorch2.6")
    # As a rule only while a list of those who stop, and one of those who start, costs as much as their looks;
    # but a look waits for its turn at the gate, and meanwhile others may have begun to wait.
    scopes = {change.item: change.scope for change in run.plan.changes}
    crowd = [waiting_at(run, scopes[item], at) for item, waits in in_vain.items() for at in waits]
    assert sum(count > 2 * lists for count in crowd) <= len(crowd) // 5
    assert {record.operation for record in run.log if is_read(record)} == READS
    said = run.report.calls
    assert (said.stop, said.put, said.start, said.lease) == tuple(
        run.calls().count(step) for step in ("stop", "put", "start", "lease")
    )
    assert (run.report.requests_known, run.report.requests) == (True, requests_of(run))
    assert not [record for record in lab.cloud.log if record.status != 200]
    assert worst_window(lab.cloud.log, 60.0, is_read) <= 60
    assert worst_window(lab.cloud.log, 60.0, is_write) <= 60
    assert run.report.limits == {}


async def test_a_plan_applied_twice_changes_nothing_the_second_time(world: MakeLab) -> None:
    lab = await world(running=2, stopped=1)
    plan = await lab.plan()
    assert (await lab.apply(plan)).outcomes == ["changed"] * 3
    again = await lab.apply(plan)
    assert again.outcomes == ["unchanged"] * 3
    assert again.calls() == []
    assert again.report.exit is Exit.DONE
    assert again.findings() == []


async def test_a_new_plan_after_the_run_finds_nothing_to_do(world: MakeLab) -> None:
    lab = await world(running=2, stopped=1)
    await lab.go()
    plan = await lab.plan()
    assert (plan.changes, plan.settled) == ((), ())
    plan = await lab.plan(EVERYTHING)
    assert plan.changes == ()
    assert [row.outcome for row in plan.settled] == ["unchanged"] * 3
