"""People stop and start their notebooks, leases end, machines idle: nobody is stopped at his work."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest

from fleet.core.errors import Exit, UsageError
from fleet.core.events import RunEnd
from fleet.core.metrics import AomMetrics
from fleet.core.pacing.limits import Rate
from fleet.core.rollout import EVERYTHING
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.engine.readiness_attendants import People
from fleet.service.again import past_run, undo_order
from fleet.service.planning import plan_job
from fleet.simulator.states import Status
from fleet.simulator.world import Notebook

if TYPE_CHECKING:
    from fleet.core.scheduling.timing import Notice
    from tests.scenarios.conftest import Lab, MakeLab, Run

pytestmark = pytest.mark.looptime

HOUR, DAY = 3600.0, 86_400.0


def migration(rollout: str) -> str:
    return f"""\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {{to: {{name: pytorch2.6}}}}
rollout: {{disruption: restart, {rollout}}}
"""


def stops(run: Run) -> list[tuple[float, str]]:
    """When which notebook was stopped by us, seconds after the run began."""
    return [(r.at - run.before.at, r.notebook) for r in run.log if r.operation == "StopNotebook"]


def live(lab: Lab, notebook: Notebook, seed: int) -> None:
    """A person's days with a notebook: works for hours, stops or lets the lease end, comes back."""
    dice, at = random.Random(seed), 0.0
    while at < 15 * HOUR:
        at += dice.uniform(0.3, 8) * HOUR
        lab.at(at, lambda: _leave(lab, notebook))
        at += dice.uniform(0.01, 4) * HOUR
        lab.at(at, lambda: _come_back(lab, notebook))


def _leave(lab: Lab, notebook: Notebook) -> None:
    if notebook.status is Status.RUNNING:
        lab.stop(notebook)


def _come_back(lab: Lab, notebook: Notebook) -> None:
    if notebook.status is Status.STOPPED:
        lab.start(notebook)


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("otherwise", ["skip", "force"])
async def test_no_busy_notebook_is_stopped_before_the_patience_is_over(
    world: MakeLab, seed: int, otherwise: str
) -> None:
    lab = await world(running=24, stopped=3)
    for number, notebook in enumerate(lab.notebooks):
        lab.lend(notebook, 1 + number / 6 if number % 6 == 3 else None)
        if number % 6:
            live(lab, notebook, 100 * seed + number)
    run = await lab.go(migration(f"when: next-stop, patience: 6h, otherwise: {otherwise}, waves: [3, 100%]"))
    assert run.end is RunEnd.FINISHED
    began = [event.at - run.before.at for event in run.events if event.kind == "wave-started"]
    waves = {change.id: change.wave for change in run.plan.changes}
    assert all(at >= began[waves[key] - 1] + 6 * HOUR for at, key in stops(run))
    forced = {key for _, key in stops(run)}
    left = "skipped" if otherwise == "skip" else "changed"
    assert set(run.outcomes) <= {"changed", left, "drifted"}  # who is started or stopped under our hands
    assert run.outcomes.count("drifted") <= 1
    assert (forced == set()) is (otherwise == "skip")
    assert run.outcomes.count("changed") > 10
    for row in run.report.rows:
        if row.outcome == "changed" and row.id not in forced:
            assert (row.run_state_before, row.run_state_after) == ("STOPPED", "STOPPED")
            assert row.calls.stop == row.calls.start == 0


async def test_the_end_of_a_lease_is_met_by_the_next_look(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.lend(notebook, 3.0)
    run = await lab.go(migration("when: next-stop, patience: 1d, otherwise: skip"))
    assert (run.outcomes, stops(run)) == (["changed"], [])
    put = next(record for record in run.log if record.operation == "UpdateNotebook")
    assert 3 * HOUR < put.at - run.before.at < 3 * HOUR + 180
    assert notebook.status is Status.STOPPED


async def test_never_stopping_anybody_needs_no_leave_to_restart(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    lab.at(HOUR, lambda: lab.stop(notebook))
    text = migration("when: next-stop, patience: 1d, otherwise: skip").replace("disruption: restart, ", "")
    run = await lab.go(text)
    assert (run.outcomes, stops(run)) == (["changed"], [])


async def test_undo_of_such_a_run_waits_likewise(world: MakeLab) -> None:
    lab = await world(running=1)
    (notebook,) = lab.notebooks
    old = notebook.image.id
    lab.at(HOUR, lambda: lab.stop(notebook))
    run = await lab.go(migration("when: next-stop, patience: 1d, otherwise: skip"))
    assert notebook.image.id != old
    lab.start(notebook)
    lab.at(5 * HOUR, lambda: lab.stop(notebook))
    order, _ = undo_order(past_run(run.path))
    order = replace(order, guards=replace(order.guards, max_share=EVERYTHING))
    back = await lab.apply(await plan_job(order, lab.specs, lab.clock))
    assert (back.outcomes, stops(back)) == (["changed"], [])
    assert notebook.image.id == old


# --- idle ------------------------------------------------------------------------------------------------

IDLE = "when: idle, patience: 8h, otherwise: skip"


async def test_only_notebooks_that_the_metrics_show_idle_are_stopped(world: MakeLab) -> None:
    lab = await world(running=8)
    lab.specs = [replace(spec, metrics=AomMetrics(spec.endpoint)) for spec in lab.specs]
    shapes = lab.cloud.world.shapes
    for number, notebook in enumerate(lab.notebooks):
        notebook.create_at = 0
        shapes[notebook.id] = "busy"
        lab.lend(notebook, None)
        if number < 5:
            lab.at((0.5 + 1.5 * number) * HOUR, _to("idle", shapes, notebook))
    seen: list[str] = []
    lab.when("StopNotebook", lambda: seen.append(shapes[lab.cloud.log[-1].notebook]), times=99)
    run = await lab.go(migration(IDLE))
    assert seen == ["idle"] * 5
    assert sorted(run.outcomes) == ["changed"] * 5 + ["skipped"] * 3
    assert run.findings() == []


def _to(shape: str, shapes: dict[str, str], notebook: Notebook) -> Callable[[], None]:
    return lambda: shapes.update({notebook.id: shape})


async def test_a_notebook_that_has_run_for_two_minutes_is_not_idle_yet(world: MakeLab) -> None:
    lab = await world(running=1)
    lab.specs = [replace(spec, metrics=AomMetrics(spec.endpoint)) for spec in lab.specs]
    (notebook,) = lab.notebooks
    lab.lend(notebook, None)
    lab.cloud.world.shapes[notebook.id] = "idle"
    notebook.create_at = int((lab.now() - 120) * 1000)
    run = await lab.go(migration(IDLE))
    assert run.outcomes == ["changed"]
    assert stops(run)[0][0] > 1500


async def test_idleness_that_nobody_measures_is_refused_when_it_is_planned(world: MakeLab) -> None:
    lab = await world(running=1)
    with pytest.raises(UsageError, match=r"idle needs metrics, and scope lab-a has none: add"):
        await lab.plan(migration(IDLE))


# --- notices and windows ---------------------------------------------------------------------------------


@dataclass
class Post:
    """Takes notices, and knows who asked for a later time."""

    told: list[Mapping[str, Any]] = field(default_factory=list)
    fails: str = ""

    async def tell(self, notice: Notice, message: Mapping[str, Any]) -> str:
        self.told.append(message)
        return "exit code 1" if message["owner"] == self.fails else ""

    async def postponed(self, file: str) -> Mapping[str, float]:
        return {}


async def test_no_owner_is_stopped_before_his_notice_is_out_long_enough(world: MakeLab) -> None:
    lab, post = await world(running=6), Post()
    lab.people = People(post)
    for notebook in lab.notebooks[:5]:
        lab.lend(notebook, None)
    run = await lab.go(migration("notice: {command: [sh], lead: 1d}"))
    assert [message["owner"] for message in post.told] == ["ann", "bob"]
    assert len(stops(run)) == 5  # the lease of one ended before
    assert min(at for at, _ in stops(run)) >= DAY
    assert run.outcomes == ["changed"] * 6
    assert run.findings() == []


async def test_a_notice_that_fails_keeps_its_owner_s_notebooks_running(world: MakeLab) -> None:
    lab = await world(running=6)
    lab.people = People(Post(fails="bob"))
    run = await lab.go(migration("notice: {command: [sh], lead: 1h}"))
    assert sorted(run.outcomes) == ["changed"] * 3 + ["skipped"] * 3
    assert run.report.exit is Exit.DONE
    assert {row.reason for row in run.report.rows if row.owner == "bob"} == {
        "its owner could not be told: exit code 1"
    }
    assert {lab.cloud.world.notebooks[key].user.name for _, key in stops(run)} == {"ann"}


@pytest.mark.parametrize(("lead", "first"), [("1h", 6 * HOUR), ("9h", 9 * HOUR)])
async def test_a_stop_that_is_forced_after_the_patience_was_announced_long_enough_before(
    world: MakeLab, lead: str, first: float
) -> None:
    lab, post = await world(running=6), Post()
    lab.people = People(post)
    for notebook in lab.notebooks:
        lab.lend(notebook, None)
    lab.at(HOUR, lambda: lab.stop(lab.notebooks[0]))
    run = await lab.go(
        migration(f"when: next-stop, patience: 6h, otherwise: force, notice: {{command: [sh], lead: {lead}}}")
    )
    assert run.outcomes == ["changed"] * 6
    assert [message["owner"] for message in post.told] == ["ann", "bob"]
    announced = {datetime.fromisoformat(message["earliest"]).timestamp() for message in post.told}
    forced = {key for _, key in stops(run)}
    assert forced == {notebook.id for notebook in lab.notebooks[1:]}
    assert forced <= {one["id"] for message in post.told for one in message["notebooks"]}
    assert first <= min(at for at, _ in stops(run)) < first + 120
    assert min(at for at, _ in stops(run)) + run.before.at >= max(announced) - 1
    noticed = [event.at for event in run.events if event.kind == "noticed"]
    assert max(noticed) - run.before.at < 60
    by_himself, *others = lab.notebooks
    assert by_himself.status is Status.STOPPED
    assert {notebook.status for notebook in others} == {Status.RUNNING}


async def test_where_nothing_of_ours_stops_anybody_no_notice_goes_out(world: MakeLab) -> None:
    lab, post = await world(running=2), Post(fails="ann")
    lab.people = People(post)
    for notebook in lab.notebooks:
        lab.lend(notebook, None)
    lab.at(HOUR, lambda: lab.stop(lab.notebooks[0]))
    careful = "when: next-stop, patience: 6h, otherwise: skip, notice: {command: [sh], lead: 1h}"
    run = await lab.go(migration(careful))
    assert (post.told, stops(run)) == ([], [])
    assert sorted(run.outcomes) == ["changed", "skipped"]


async def test_who_cannot_be_told_is_not_forced_but_changed_at_his_own_stop(world: MakeLab) -> None:
    lab, post = await world(running=6), Post(fails="ann")
    lab.people = People(post)
    for notebook in lab.notebooks:
        lab.lend(notebook, None)
    by_himself = next(notebook for notebook in lab.notebooks if notebook.user.name == "ann")
    lab.at(HOUR, lambda: lab.stop(by_himself))
    careful = "when: next-stop, patience: 6h, otherwise: force, notice: {command: [sh], lead: 1h}"
    run = await lab.go(migration(careful))
    assert {lab.cloud.world.notebooks[key].user.name for _, key in stops(run)} == {"bob"}
    assert by_himself.status is Status.STOPPED
    assert {row.outcome for row in run.report.rows if row.id == by_himself.id} == {"changed"}


async def test_nothing_starts_outside_of_a_window_and_what_is_under_way_comes_home(world: MakeLab) -> None:
    lab = await world(running=40)
    for notebook in lab.notebooks:
        lab.lend(notebook, None)
    run = await lab.go(
        migration('concurrency: 2, windows: [{opens: "0 22 * * *", lasts: 30m, timezone: Asia/Shanghai}]')
    )
    night = Calendar((Window("0 22 * * *", 1800.0, "Asia/Shanghai"),))
    assert run.outcomes == ["changed"] * 40
    assert all(night.open_until(run.before.at + at) is not None for at, _ in stops(run))
    ends = [event.at for event in run.events if event.kind == "ended"]
    assert sum(night.open_until(at) is None for at in ends) <= 1
    assert ends[-1] - ends[0] > 0.9 * DAY
    assert run.findings() == []


async def test_nobody_is_stopped_outside_of_a_window_however_long_the_queue_at_the_gate(
    world: MakeLab,
) -> None:
    lab = await world(running=60, rate=Rate(20, 60.0))
    for notebook in lab.notebooks:
        lab.lend(notebook, None)
    window = 'windows: [{opens: "0 22 * * *", lasts: 10m, timezone: Asia/Shanghai}]'
    run = await lab.go(migration(f"concurrency: 60, {window}"))
    night = Calendar((Window("0 22 * * *", 600.0, "Asia/Shanghai"),))
    assert set(run.outcomes) == {"changed"}
    assert len(stops(run)) == 60
    assert all(night.open_until(run.before.at + at) is not None for at, _ in stops(run))


ROTATION = """\
job: ip-whitelist
name: office-moves
select: "true"
with: {add: [203.0.113.9], remove: [203.0.113.1]}
rollout: {disruption: restart, %s}
"""


@pytest.mark.parametrize(
    "careful", ["when: next-stop, patience: 2d, otherwise: skip", "notice: {command: [sh], lead: 1h}"]
)
async def test_one_that_a_person_starts_between_two_stages_is_in_use(world: MakeLab, careful: str) -> None:
    lab, post = await world(stopped=1), Post()
    lab.people = People(post)
    (notebook,) = lab.notebooks
    started = DAY - HOUR
    lab.at(started, lambda: lab.start(notebook))
    run = await lab.go(ROTATION % careful)
    if "notice" in careful:
        assert [message["owner"] for message in post.told] == [notebook.user.name]
        assert [at > started + HOUR for at, _ in stops(run)] == [True]
        assert notebook.status is Status.RUNNING
    else:
        assert stops(run) == []
