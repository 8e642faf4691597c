"""Storms: nothing new starts while most calls fail, nothing fails for it, and it comes back slowly."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from fleet.core.errors import Exit
from fleet.core.events import Began, Ended, Held, RunEnd
from fleet.core.pacing.breaker import HOPELESS, STEP
from fleet.simulator.audit import is_write
from fleet.simulator.faults import FailingStart, Match, ServerError
from fleet.simulator.routing import Operation
from fleet.simulator.world import Timer

if TYPE_CHECKING:
    from tests.scenarios.conftest import Lab, MakeLab, Run

pytestmark = [pytest.mark.looptime, pytest.mark.long]

EPOCH = 1_764_000_000.0  # when a lab begins
STORM_FROM, STORM_TO = 100.0, 400.0


def migration(rollout: str) -> str:
    return f"""\
job: image-migration
name: torch
select: image.name.startsWith("pytorch1.8")
with: {{to: {{name: pytorch2.6}}}}
rollout: {{disruption: restart, {rollout}}}
"""


def begun(run: Run, items: Collection[int] | None = None) -> list[float]:
    """When changes began, in seconds since the lab did."""
    began = [event for event in run.events if isinstance(event, Began)]
    return [event.at - EPOCH for event in began if items is None or event.item in items]


def under_way(run: Run) -> list[tuple[float, int]]:
    """At each begin of a change, how many are under way with it."""
    found, count = [], 0
    for event in run.events:
        if isinstance(event, Began):
            count += 1
            found.append((event.at - EPOCH, count))
        elif isinstance(event, Ended):
            count -= 1
    return found


def held(run: Run) -> list[tuple[float, str]]:
    return [(event.at - EPOCH, event.text) for event in run.events if isinstance(event, Held)]


async def settled(world: MakeLab, running: int, **options: Any) -> Lab:
    """A lab of running notebooks in which no seeded change of a status is due any more."""
    lab = await world(running=running, **options)
    for notebook in lab.notebooks:
        notebook.timers.pop(Timer.STATUS, None)
    return lab


async def test_in_a_storm_nothing_new_starts_nothing_fails_and_afterwards_it_starts_slowly(
    world: MakeLab,
) -> None:
    storm = ServerError(status=503, after=STORM_FROM, until=STORM_TO)
    lab = await settled(world, 60, faults=[storm])
    run = await lab.go(migration("concurrency: 12"))
    assert run.outcomes == ["changed"] * 60
    assert (run.end, run.report.exit, run.findings()) == (RunEnd.FINISHED, Exit.DONE, [])
    (opened, why), *_, (recovered, slowly), (closed, over) = held(run)
    assert STORM_FROM < opened < STORM_FROM + 120.0  # a poll is repeated for over a minute before it fails
    assert re.fullmatch(r"\d+ of \d+ calls failed or were repeated", why)
    assert (slowly, over) == ("it works again: new changes start slowly", "")
    assert STORM_TO <= recovered < closed
    starts = begun(run)
    assert [at for at in starts if opened <= at < recovered] == []
    slow = [(at, count) for at, count in under_way(run) if recovered <= at < closed]
    assert slow
    assert all(count <= 2 ** int((at - recovered) / STEP) for at, count in slow)


async def test_whoever_is_under_way_probes_so_that_no_other_begins_in_a_long_storm(world: MakeLab) -> None:
    """Looks fail: whatever begins cannot even be looked at."""
    storm = ServerError(status=503, match=Match(operation=Operation.SHOW_NOTEBOOK), until=900.0)
    lab = await settled(world, 40, faults=[storm])
    run = await lab.go(migration("concurrency: 10"))
    starts = begun(run)
    assert starts[:10] == [starts[0]] * 10
    assert len([at for at in starts if at < 900.0]) == 10
    assert not [record for record in run.log if is_write(record) and record.at - EPOCH < 900.0]
    assert run.outcomes == ["changed"] * 40


async def test_the_storm_of_one_scope_does_not_stop_the_others(world: MakeLab) -> None:
    """Two scopes at two addresses; every call for a notebook of the second one fails for twenty minutes."""
    storm = ServerError(status=503, match=Match(notebook="bad-*"), until=1200.0)
    lab = await settled(world, 40, projects=2, faults=[storm])
    good, bad = lab.specs
    lab.specs = [good, replace(bad, endpoint=good.endpoint.replace("127.0.0.1", "localhost"))]
    for notebook in lab.notebooks:
        if notebook.project == bad.project_id:
            lab.edit(notebook, name=f"bad-{notebook.name}")
    run = await lab.go(migration("concurrency: 20, change_deadline: 2h"))
    mine = {one.item for one in run.plan.changes if one.scope == good.name}
    others = [one.item for one in run.plan.changes if one.scope == bad.name]
    assert len(others) > 10
    assert run.outcomes == ["changed"] * 40
    done = [event.at - EPOCH for event in run.events if isinstance(event, Ended) and event.item in mine]
    assert max(done) < 900.0
    assert len([at for at in begun(run, others) if at < 1200.0]) < len(others)
    assert {event.where.partition(":")[0] for event in run.events if isinstance(event, Held)} == {"localhost"}


async def test_failures_that_are_all_alike_end_the_run_and_leave_most_notebooks_alone(
    world: MakeLab,
) -> None:
    lab = await settled(world, 60)
    plan = await lab.plan(migration("concurrency: 4"))
    lab.image("pytorch2.6-cuda12.4").status = "ERROR"
    run = await lab.apply(plan)
    failed = run.outcomes.count("failed")
    assert run.outcomes == ["failed"] * failed + ["not-started"] * (60 - failed)
    assert HOPELESS <= failed < HOPELESS + 4
    assert (run.end, run.report.exit) == (RunEnd.HALTED, Exit.STOPPED_BY_GUARD)
    assert "20 changes in a row failed alike" in run.report.reason
    assert run.findings() == []


async def test_after_a_few_failures_that_are_alike_only_one_is_tried_at_a_time(world: MakeLab) -> None:
    lab = await settled(world, 30, faults=[FailingStart(until=400.0)])
    run = await lab.go(migration("concurrency: 4"))
    (opened, why), (recovered, _), *_ = held(run)
    assert why == "5 changes in a row failed alike: START_FAILED"
    began = [at for at in begun(run) if opened <= at < recovered]
    ended = {event.item: event.at - EPOCH for event in run.events if isinstance(event, Ended)}
    assert began
    assert recovered in ended.values()
    assert run.outcomes.count("stranded") < HOPELESS
    assert run.outcomes.count("changed") > 0
