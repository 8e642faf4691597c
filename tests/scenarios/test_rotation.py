"""Addresses are rotated on a fleet: at no instant is anybody locked out who may come, nor anybody let in."""

from __future__ import annotations

import asyncio
import copy
from dataclasses import dataclass, field
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
from fleet.service.running import RunFolder, apply_plan
from fleet.service.telling import read_report
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
    from collections.abc import Iterator
    from pathlib import Path

    from fleet.core.planning.plan import Plan
    from fleet.report.summary import Report
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


@dataclass
class Watch:
    """What the cloud itself held after every applied PUT, whatever was in the body; `was` is from before.

    `seen` has for each PUT the instant, the notebook and its stored endpoints.
    """

    lab: Lab
    was: dict[str, list[dict[str, Any]]]
    seen: list[tuple[float, str, list[dict[str, Any]]]] = field(default_factory=list)

    def look(self) -> None:
        """A PUT was taken in; notes what is stored now, if it took effect."""
        record = self.lab.cloud.log[-1]
        if record.applied:
            self.seen.append((record.at, record.notebook, self._stored(record.notebook)))

    def _stored(self, notebook_id: str) -> list[dict[str, Any]]:
        return copy.deepcopy(self.lab.cloud.world.notebooks[notebook_id].endpoints)

    def harm(self) -> list[str]:
        """Every instant at which somebody was locked out or let in, or a key or an endpoint was lost."""
        last = [(self.lab.now(), row.id, self._stored(row.id)) for row in self.lab.notebooks]
        return [found for _, row_id, state in (*self.seen, *last) for found in self._wrong(row_id, state)]

    def _wrong(self, notebook_id: str, state: list[dict[str, Any]]) -> Iterator[str]:
        was = self.was[notebook_id]
        if len(state) != len(was):
            yield f"{notebook_id}: {len(was)} endpoints became {len(state)}"
        for before, now in zip(was, state, strict=False):
            if before["service"] != "SSH" and now != before:
                yield f"{notebook_id}: {before} became {now}"
            if now | {"allowed_access_ips": 0} != before | {"allowed_access_ips": 0}:
                yield f"{notebook_id}: {before} became {now}"
            listed = now.get("allowed_access_ips")
            if now["service"] == "SSH" and not (listed and (OLD in listed or NEW in listed)):
                yield f"{notebook_id}: SSH for {listed}"
            if KEPT in (before.get("allowed_access_ips") or ()) and KEPT not in (listed or ()):
                yield f"{notebook_id}: {KEPT} is locked out"

    def instants(self, *, without_old: bool) -> list[float]:
        """When PUTs were applied after which the stored list was without, or with, the old address."""
        return [
            at
            for at, _, state in self.seen
            for item in state
            if item["service"] == "SSH" and (OLD not in item["allowed_access_ips"]) is without_old
        ]

    @property
    def overlap(self) -> float:
        """Seconds between the last notebook that got the new address and the first that lost the old one."""
        return min(self.instants(without_old=True)) - max(self.instants(without_old=False))


def watched(lab: Lab) -> Watch:
    """A watch over the cloud of the lab from now on."""
    watch = Watch(lab, {row.id: copy.deepcopy(row.endpoints) for row in lab.notebooks})
    lab.when(Operation.UPDATE_NOTEBOOK, watch.look, times=1_000_000)
    return watch


def addresses(notebook: Notebook) -> list[str]:
    (ssh,) = [item for item in notebook.endpoints if item["service"] == "SSH"]
    listed: list[str] = ssh["allowed_access_ips"]
    return listed


def run_folder(lab: Lab) -> Path:
    (path,) = lab.base.iterdir()
    return path


async def taken_up(lab: Lab, plan: Plan) -> tuple[RunEnd, Report]:
    """A new process goes on with the only run there is."""
    path = run_folder(lab)
    journal = InlineJournal.open_for_append(path / JOURNAL)
    state = fold(plan, read_journal(path / JOURNAL).events)
    folder = RunFolder(path.name, path, journal, earlier=state.earlier())
    end = await apply_plan(plan, folder, lab.specs, lab.clock, [])
    return end, read_report(path)


async def killed(lab: Lab, plan: Plan, after: float) -> None:
    """Applies the plan in a process that dies after so many seconds."""
    running = asyncio.ensure_future(lab.apply(plan))

    def kill() -> None:
        running.cancel()

    lab.at(after, kill)
    with pytest.raises(asyncio.CancelledError):
        await running


async def rotated(lab: Lab, plan: Plan) -> tuple[Run, Watch]:
    watch = watched(lab)
    run = await lab.apply(plan)
    assert watch.harm() == []
    return run, watch


CLOUDS = [
    Rules(endpoints=endpoints, omitted_keys=keys, omitted_ips=addresses)
    for endpoints in ("replace", "merge")
    for keys in ("clear", "keep")
    for addresses in ("clear", "keep")
]


def switches(rules: Rules) -> str:
    return f"{rules.endpoints}-{rules.omitted_keys}-{rules.omitted_ips}"


@pytest.mark.parametrize("omitted", ["clear", "keep"])
async def test_the_watch_sees_what_the_cloud_made_of_a_body(world: MakeLab, omitted: Any) -> None:
    lab = await world(stopped=1, rules=Rules(omitted_keys=omitted))
    watch = watched(lab)
    await lab.go(
        "{job: edit, name: n, select: true, "
        f"with: {{set: {{endpoints: [{{service: SSH, allowed_access_ips: [{NEW}]}}]}}}}}}"
    )
    assert len(watch.seen) == 1
    assert bool(watch.harm()) is (omitted == "clear")


@pytest.mark.parametrize("rules", CLOUDS, ids=switches)
async def test_a_small_fleet_gets_the_new_address_a_day_before_it_loses_the_old_one(
    world: MakeLab, rules: Rules
) -> None:
    lab = await world(running=4, stopped=4, rules=rules)
    make_various(lab)
    run, watch = await rotated(lab, await lab.plan(ROTATION))
    assert (run.end, run.report.exit, run.outcomes) == (RunEnd.FINISHED, Exit.DONE, ["changed"] * 8)
    assert run.findings() == []
    for row in lab.notebooks:
        assert addresses(row) in ([NEW], [KEPT, NEW])
        ran = row.status is Status.RUNNING
        assert run.calls(row) == (["stop", "put", "start"] * 2 if ran else ["put"] * 2)
    assert [len(watch.instants(without_old=gone)) for gone in (False, True)] == [8, 8]
    assert watch.overlap >= DAY


@pytest.mark.long
@pytest.mark.timeout(600)
async def test_five_hundred_notebooks_in_bad_weather(world: MakeLab) -> None:
    lab = await world(running=300, stopped=200, faults=STORM)
    make_various(lab)
    plan = await lab.plan(ROTATION)
    assert plan.notebooks == 500
    run, watch = await rotated(lab, plan)
    assert (run.end, len(run.report.rows)) == (RunEnd.FINISHED, 500)
    ended = {row.id: row.outcome for row in run.report.rows}
    assert sum(outcome is Outcome.CHANGED for outcome in ended.values()) > 480
    for row in lab.notebooks:
        if ended[row.id] is Outcome.CHANGED:
            assert addresses(row) in ([NEW], [KEPT, NEW])
    assert watch.overlap >= DAY
    lost = [row for row in lab.notebooks if ended[row.id] is not Outcome.CHANGED]
    assert run.findings(*lost) == []


@pytest.mark.parametrize(
    "rules", [Rules(), Rules(endpoints="merge", omitted_keys="clear", omitted_ips="clear")], ids=switches
)
async def test_in_bad_weather_nobody_is_locked_out_or_let_in(world: MakeLab, rules: Rules) -> None:
    lab = await world(running=30, stopped=20, faults=STORM, rules=rules)
    make_various(lab)
    run, watch = await rotated(lab, await lab.plan(ROTATION))
    assert run.end is RunEnd.FINISHED
    assert run.outcomes.count("changed") > 45
    assert watch.overlap >= DAY


@pytest.mark.parametrize("after", [30.0, 400.0, 2_000.0, 50_000.0, DAY + 300.0])
async def test_a_killed_rotation_is_taken_up_and_keeps_its_day(world: MakeLab, after: float) -> None:
    lab = await world(running=5, stopped=3)
    make_various(lab)
    plan = await lab.plan(ROTATION)
    watch = watched(lab)
    await killed(lab, plan, after)
    end, report = await taken_up(lab, plan)
    assert (end, [row.outcome for row in report.rows]) == (RunEnd.FINISHED, [Outcome.CHANGED] * 8)
    assert watch.harm() == []
    assert DAY <= watch.overlap < DAY + 300.0
    assert all(addresses(row) in ([NEW], [KEPT, NEW]) for row in lab.notebooks)


async def test_a_notebook_whose_lease_ends_in_the_soak_loses_the_old_address_without_a_restart(
    world: MakeLab,
) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks  # five hours are left
    run, _ = await rotated(lab, await lab.plan(ROTATION))
    assert (run.outcomes, notebook.status, addresses(notebook)) == (["changed"], Status.STOPPED, [NEW])
    assert run.calls(notebook) == ["stop", "put", "start", "put"]
    assert (run.only.run_state_before, run.only.run_state_after) == ("STOPPED", "STOPPED")


async def test_a_notebook_that_was_started_in_the_soak_is_restarted_and_runs_again(world: MakeLab) -> None:
    lab = await world(stopped=1)
    (notebook,) = lab.notebooks
    lab.at(DAY - 3600.0, lambda: lab.start(notebook))
    run, _ = await rotated(lab, await lab.plan(ROTATION))
    assert (run.outcomes, notebook.status, addresses(notebook)) == (["changed"], Status.RUNNING, [NEW])
    assert run.calls(notebook) == ["put", "stop", "put", "start"]


async def test_a_list_that_somebody_changed_in_the_soak_is_left_alone(world: MakeLab) -> None:
    lab = await world(stopped=2)
    theirs = lab.notebooks[0]
    items = [{**theirs.endpoints[0], "allowed_access_ips": [OLD, NEW, KEPT]}]
    lab.at(5_000.0, lambda: lab.edit(theirs, endpoints=items))
    run, _ = await rotated(lab, await lab.plan(ROTATION))
    assert run.outcomes == ["drifted", "changed"]
    assert addresses(theirs) == [OLD, NEW, KEPT]
    assert run.row(theirs).reason.startswith("stage 1 done; stage 2: endpoints[1].allowed_access_ips is")


async def test_where_the_new_address_was_refused_the_old_one_stays(world: MakeLab) -> None:
    refusal = Refused(
        match=Match(operation=Operation.UPDATE_NOTEBOOK), times=1, status=400, code="ModelArts.0107"
    )
    lab = await world(stopped=3, faults=[refusal])
    run, _ = await rotated(lab, await lab.plan(ROTATION.replace("[1, 10%, 100%]", "[100%]")))
    assert sorted(run.outcomes) == ["changed", "changed", "failed"]
    assert (run.end, run.report.exit) == (RunEnd.FINISHED, Exit.SOME_FAILED)
    (failed,) = [row for row in lab.notebooks if run.row(row).outcome is Outcome.FAILED]
    assert addresses(failed) == [OLD]
    assert run.row(failed).wave == 1
    order, _ = retry_order(past_run(run.path), [Outcome.FAILED])
    again = await lab.apply(await plan_job(order, lab.specs, lab.clock))
    assert (again.outcomes, addresses(failed)) == (["changed"], [NEW])
    assert [stage.pause for stage in again.plan.stages] == [0.0, DAY]


async def retried(lab: Lab, outcome: Outcome) -> Plan:
    """The plan that tries again what ended so in the latest run."""
    order, _ = retry_order(past_run(max(lab.base.iterdir())), [outcome])
    return await plan_job(order, lab.specs, lab.clock)


async def test_a_retry_in_the_soak_waits_for_what_is_left_of_it(world: MakeLab) -> None:
    lab = await world(running=1, stopped=2)
    plan, watch = await lab.plan(ROTATION), watched(lab)
    await killed(lab, plan, 5_000.0)
    again = await retried(lab, Outcome.NOT_STARTED)
    (stage,) = again.stages
    assert stage.number == 2
    assert again.checks[0].startswith("no notebook needs stage 1 any more; stage 2 waits")
    run = await lab.apply(again)
    assert (run.end, run.outcomes) == (RunEnd.FINISHED, ["changed"] * 3)
    assert watch.harm() == []
    assert DAY <= watch.overlap < DAY + 300.0
    makespan = run.report.makespan
    assert makespan is not None
    assert makespan.bound_s > DAY - 10_000.0


async def test_a_retry_of_a_retry_in_the_soak_waits_as_long(world: MakeLab) -> None:
    lab = await world(stopped=2)
    plan, watch = await lab.plan(ROTATION), watched(lab)
    await killed(lab, plan, 5_000.0)
    await killed(lab, await retried(lab, Outcome.NOT_STARTED), 5_000.0)
    assert watch.instants(without_old=True) == []
    run = await lab.apply(await retried(lab, Outcome.NOT_STARTED))
    assert run.outcomes == ["changed"] * 2
    assert DAY <= watch.overlap < DAY + 300.0


async def test_a_retry_after_the_soak_does_not_wait(world: MakeLab) -> None:
    lab = await world(stopped=2)
    await killed(lab, await lab.plan(ROTATION), 5_000.0)
    await asyncio.sleep(2 * DAY)
    begun, watch = lab.now(), watched(lab)
    run = await lab.apply(await retried(lab, Outcome.NOT_STARTED))
    assert run.outcomes == ["changed"] * 2
    assert max(watch.instants(without_old=True)) - begun < 300.0


async def test_a_second_run_in_the_soak_says_first_that_it_knows_of_no_soak(world: MakeLab) -> None:
    lab = await world(stopped=2)
    await killed(lab, await lab.plan(ROTATION), 5_000.0)
    plan = await lab.plan(ROTATION)
    assert plan.checks[0] == (
        "NO PAUSE: no notebook needs stage 1 any more, and since when is unknown; "
        "stage 2 removes 203.0.113.1 at once, without the 1d in between"
    )


async def test_a_retry_leaves_alone_what_somebody_changed_in_the_soak(world: MakeLab) -> None:
    lab = await world(stopped=3)
    await killed(lab, await lab.plan(ROTATION), 5_000.0)
    keys, listed, plain = lab.notebooks
    lab.edit(keys, endpoints=[{**keys.endpoints[0], "key_pair_names": ["kp-rotated"]}])
    lab.edit(listed, endpoints=[{**listed.endpoints[0], "allowed_access_ips": [OLD, NEW, KEPT]}])
    again = await retried(lab, Outcome.NOT_STARTED)
    assert [change.id for change in again.changes] == [plain.id]
    assert {row.id: row.outcome for row in again.settled} == dict.fromkeys(
        (keys.id, listed.id), Outcome.DRIFTED
    )
    await lab.apply(again)
    assert (addresses(keys), keys.endpoints[0]["key_pair_names"]) == ([OLD, NEW], ["kp-rotated"])
    assert (addresses(listed), addresses(plain)) == ([OLD, NEW, KEPT], [NEW])


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
