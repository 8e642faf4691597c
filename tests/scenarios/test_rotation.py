"""Addresses are rotated on a fleet: at no instant is anybody locked out who may come, nor anybody let in."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from fleet.core.errors import Exit
from fleet.core.events import Outcome, RunEnd
from fleet.core.fold import fold
from fleet.journal.reader import read_journal
from fleet.journal.runs import JOURNAL
from fleet.journal.writer import InlineJournal
from fleet.service.again import past_run, retry_order, undo_order
from fleet.service.planning import plan_job
from fleet.service.running import RunFolder
from fleet.simulator.faults import (
    HalfBody,
    LostAnswer,
    Match,
    Refused,
    Reset,
    ServerError,
    SlowAnswer,
    Throttled,
)
from fleet.simulator.routing import Operation
from fleet.simulator.rules import Rules
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from fleet.core.plan import Plan
    from fleet.simulator.audit import Snapshot
    from fleet.simulator.records import Record
    from fleet.simulator.world import Notebook
    from tests.scenarios.conftest import Lab, MakeLab, Run

pytestmark = pytest.mark.looptime

OLD, NEW, KEPT = "203.0.113.1", "203.0.113.9", "198.51.100.7"
DAY = 86_400.0
ROTATION = """\
job: ip-whitelist
name: office-moves
select: "true"
with: {add: [203.0.113.9], remove: [203.0.113.1]}
rollout: {waves: [1, 10%, 100%], concurrency: 80, disruption: restart}
guards: {max_targets: 1000, max_share: 100%}
"""
STORM = [
    LostAnswer(probability=0.03, applied=True),
    LostAnswer(probability=0.02, applied=False),
    ServerError(probability=0.02, status=502, applied=True),
    ServerError(probability=0.02, status=500, applied=False),
    Reset(match=Match(calls="writes"), probability=0.02, applied=True),
    Reset(match=Match(calls="reads"), probability=0.02),
    HalfBody(match=Match(method="GET"), probability=0.01),
    SlowAnswer(probability=0.001, seconds=45.0),
    Throttled(probability=0.005, limit=600, seconds=1),
]


def make_various(lab: Lab) -> None:
    """Lists, keys and other endpoints differ; leases are off, so that nobody's ends in the soak."""
    for number, row in enumerate(lab.notebooks):
        ssh: dict[str, Any] = {
            "service": "SSH",
            "key_pair_names": [["kp-ana"], ["kp-bo", "kp-shared"]][number % 2],
            "allowed_access_ips": [[OLD], [KEPT, OLD], [OLD, KEPT]][number % 3],
            "uri": f"ssh://ma-user@host.example.com:{30_000 + number}",
        }
        jupyter = {"service": "NOTEBOOK"}
        lab.edit(row, endpoints=[[ssh], [jupyter, ssh], [ssh, jupyter]][number % 7 % 3])
        lab.lend(row, None)


def ways(before: Snapshot, log: Sequence[Record]) -> Iterator[tuple[str, list[list[dict[str, Any]]]]]:
    """For each notebook its endpoints at first and after every applied PUT, from the cloud's own log."""
    for notebook_id, mirror in before.notebooks.items():
        sent = [
            record.body["endpoints"]
            for record in log
            if record.operation == Operation.UPDATE_NOTEBOOK
            and record.notebook == notebook_id
            and record.applied
            and record.body is not None
        ]
        yield notebook_id, [mirror.fields["endpoints"], *sent]


def harm(before: Snapshot, log: Sequence[Record]) -> list[str]:
    """Every instant at which somebody was locked out or let in, or a key or another endpoint was lost."""
    found = []
    for notebook_id, states in ways(before, log):
        plain = [[{k: v for k, v in item.items() if k != "uri"} for item in state] for state in states]
        for state in plain:
            for was, now in zip(plain[0], state, strict=True):
                listed = now.get("allowed_access_ips")
                if now["service"] == "SSH" and not (listed and (OLD in listed or NEW in listed)):
                    found.append(f"{notebook_id}: SSH for {listed}")
                if now | {"allowed_access_ips": 0} != was | {"allowed_access_ips": 0}:
                    found.append(f"{notebook_id}: {was} became {now}")
                if now["service"] != "SSH" and now != was:
                    found.append(f"{notebook_id}: {was} became {now}")
    return found


def instants(log: Sequence[Record], *, without_old: bool) -> list[float]:
    """When PUTs of lists with, or without, the old address were applied."""
    return [
        record.at
        for record in log
        if record.operation == Operation.UPDATE_NOTEBOOK and record.applied and record.body is not None
        for item in record.body["endpoints"]
        if item["service"] == "SSH" and (OLD not in item["allowed_access_ips"]) is without_old
    ]


def addresses(notebook: Notebook) -> list[str]:
    (ssh,) = [item for item in notebook.endpoints if item["service"] == "SSH"]
    listed: list[str] = ssh["allowed_access_ips"]
    return listed


def run_folder(lab: Lab) -> Path:
    (path,) = lab.base.iterdir()
    return path


async def taken_up(lab: Lab, plan: Plan) -> Run:
    """A new process goes on with the only run there is."""
    path = run_folder(lab)
    journal = InlineJournal.open_for_append(path / JOURNAL)
    state = fold(plan, read_journal(path / JOURNAL).events)
    folder = RunFolder(path.name, path, journal, waves_ended=state.waves_ended)
    return await lab._perform(plan, folder, state.lives())


async def killed(lab: Lab, plan: Plan, after: float) -> None:
    """Applies the plan in a process that dies after so many seconds."""
    running = asyncio.ensure_future(lab.apply(plan))

    def kill() -> None:
        running.cancel()

    lab.at(after, kill)
    with pytest.raises(asyncio.CancelledError):
        await running


async def rotated(lab: Lab, plan: Plan) -> Run:
    run = await lab.apply(plan)
    assert harm(run.before, run.log) == []
    return run


@pytest.mark.parametrize("endpoints", ["replace", "merge"])
async def test_a_small_fleet_gets_the_new_address_a_day_before_it_loses_the_old_one(
    world: MakeLab, endpoints: Any
) -> None:
    lab = await world(running=4, stopped=4, rules=Rules(endpoints=endpoints))
    make_various(lab)
    run = await rotated(lab, await lab.plan(ROTATION))
    assert (run.end, run.report.exit, run.outcomes) == (RunEnd.FINISHED, Exit.DONE, ["changed"] * 8)
    assert run.findings() == []
    for row in lab.notebooks:
        assert addresses(row) in ([NEW], [KEPT, NEW])
        ran = row.status is Status.RUNNING
        assert run.calls(row) == (["stop", "put", "start"] * 2 if ran else ["put"] * 2)
    added, removed = (instants(run.log, without_old=without) for without in (False, True))
    assert (len(added), len(removed)) == (8, 8)
    assert min(removed) - max(added) >= DAY


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_five_hundred_notebooks_in_bad_weather(world: MakeLab) -> None:
    lab = await world(running=300, stopped=200, faults=STORM)
    make_various(lab)
    plan = await lab.plan(ROTATION)
    assert plan.notebooks == 500
    run = await rotated(lab, plan)
    assert (run.end, len(run.report.rows)) == (RunEnd.FINISHED, 500)
    ended = {row.id: row.outcome for row in run.report.rows}
    assert sum(outcome is Outcome.CHANGED for outcome in ended.values()) > 480
    for row in lab.notebooks:
        if ended[row.id] is Outcome.CHANGED:
            assert addresses(row) in ([NEW], [KEPT, NEW])
    added, removed = (instants(run.log, without_old=without) for without in (False, True))
    assert min(removed) - max(added) >= DAY
    lost = [row for row in lab.notebooks if ended[row.id] is not Outcome.CHANGED]
    assert run.findings(*lost) == []


async def test_in_bad_weather_nobody_is_locked_out_or_let_in(world: MakeLab) -> None:
    lab = await world(running=30, stopped=20, faults=STORM)
    make_various(lab)
    run = await rotated(lab, await lab.plan(ROTATION))
    assert run.end is RunEnd.FINISHED
    assert run.outcomes.count("changed") > 45
    added, removed = (instants(run.log, without_old=without) for without in (False, True))
    assert min(removed) - max(added) >= DAY


@pytest.mark.parametrize("after", [30.0, 400.0, 2_000.0, 50_000.0, DAY + 300.0])
async def test_a_killed_rotation_is_taken_up_and_keeps_its_day(world: MakeLab, after: float) -> None:
    lab = await world(running=5, stopped=3)
    make_various(lab)
    plan = await lab.plan(ROTATION)
    first = len(lab.cloud.log)
    await killed(lab, plan, after)
    run = await taken_up(lab, plan)
    assert (run.end, run.outcomes) == (RunEnd.FINISHED, ["changed"] * 8)
    log = lab.cloud.log[first:]
    added, removed = (instants(log, without_old=without) for without in (False, True))
    assert min(removed) - max(added) >= DAY
    assert min(removed) - max(added) < DAY + 300.0
    assert all(addresses(row) in ([NEW], [KEPT, NEW]) for row in lab.notebooks)


async def test_a_notebook_whose_lease_ends_in_the_soak_loses_the_old_address_without_a_restart(
    world: MakeLab,
) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks  # five hours are left
    run = await rotated(lab, await lab.plan(ROTATION))
    assert (run.outcomes, notebook.status, addresses(notebook)) == (["changed"], Status.STOPPED, [NEW])
    assert run.calls(notebook) == ["stop", "put", "start", "put"]
    assert (run.only.run_state_before, run.only.run_state_after) == ("STOPPED", "STOPPED")


async def test_a_notebook_that_was_started_in_the_soak_is_restarted_and_runs_again(world: MakeLab) -> None:
    lab = await world(stopped=1)
    (notebook,) = lab.notebooks
    lab.at(DAY - 3600.0, lambda: lab.start(notebook))
    run = await rotated(lab, await lab.plan(ROTATION))
    assert (run.outcomes, notebook.status, addresses(notebook)) == (["changed"], Status.RUNNING, [NEW])
    assert run.calls(notebook) == ["put", "stop", "put", "start"]


async def test_a_list_that_somebody_changed_in_the_soak_is_left_alone(world: MakeLab) -> None:
    lab = await world(stopped=2)
    theirs = lab.notebooks[0]
    items = [{**theirs.endpoints[0], "allowed_access_ips": [OLD, NEW, KEPT]}]
    lab.at(5_000.0, lambda: lab.edit(theirs, endpoints=items))
    run = await rotated(lab, await lab.plan(ROTATION))
    assert run.outcomes == ["drifted", "changed"]
    assert addresses(theirs) == [OLD, NEW, KEPT]
    assert run.row(theirs).reason.startswith("stage 2: endpoints is")


async def test_where_the_new_address_was_refused_the_old_one_stays(world: MakeLab) -> None:
    refusal = Refused(
        match=Match(operation=Operation.UPDATE_NOTEBOOK), times=1, status=400, code="ModelArts.0107"
    )
    lab = await world(stopped=3, faults=[refusal])
    run = await rotated(lab, await lab.plan(ROTATION.replace("[1, 10%, 100%]", "[100%]")))
    assert sorted(run.outcomes) == ["changed", "changed", "failed"]
    assert (run.end, run.report.exit) == (RunEnd.FINISHED, Exit.SOME_FAILED)
    (failed,) = [row for row in lab.notebooks if run.row(row).outcome is Outcome.FAILED]
    assert addresses(failed) == [OLD]
    assert run.row(failed).wave == 1
    order, _ = retry_order(past_run(run.path), [Outcome.FAILED])
    again = await lab.apply(await plan_job(order, lab.specs, lab.clock))
    assert (again.outcomes, addresses(failed)) == (["changed"], [NEW])
    assert [stage.pause for stage in again.plan.stages] == [0.0, DAY]


@pytest.mark.parametrize("after", [2_000.0, None])
async def test_a_rotation_is_taken_back_from_wherever_it_stands(world: MakeLab, after: float | None) -> None:
    lab = await world(running=2, stopped=2)
    make_various(lab)
    was = {row.id: addresses(row) for row in lab.notebooks}
    plan = await lab.plan(ROTATION)
    if after is None:
        await lab.apply(plan)
    else:
        await killed(lab, plan, after)
    order, _ = undo_order(past_run(run_folder(lab)))
    back = await plan_job(order, lab.specs, lab.clock)
    assert back.stages == ()
    run = await lab.apply(back)
    assert run.outcomes == ["changed"] * 4
    assert {row.id: addresses(row) for row in lab.notebooks} == was


async def test_ranges_and_ipv6_go_through_where_job_and_cloud_allow_them(world: MakeLab) -> None:
    text = ROTATION.replace(
        "add: [203.0.113.9], remove: [203.0.113.1]",
        'add: [203.0.113.16/28, "2001:db8::1"], remove: [203.0.113.1], allow: [cidr, ipv6]',
    )
    lab = await world(running=1, stopped=1, rules=Rules(cidr="accept", ipv6="accept"))
    run = await lab.go(text)
    assert run.outcomes == ["changed"] * 2
    assert all(addresses(row) == ["203.0.113.16/28", "2001:db8::1"] for row in lab.notebooks)


async def test_a_cloud_that_takes_no_ranges_says_so_and_nothing_changes(world: MakeLab) -> None:
    text = ROTATION.replace("add: [203.0.113.9]", "allow: [cidr], add: [203.0.113.16/28]")
    lab = await world(running=1)
    run = await lab.go(text)
    assert run.outcomes == ["failed"]
    assert addresses(lab.notebooks[0]) == [OLD]
    assert lab.notebooks[0].status is Status.RUNNING
