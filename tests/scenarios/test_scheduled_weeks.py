"""Rightsizing on a schedule over weeks of simulated life, with a change of the clocks in the middle.

What was done when is read from the cloud's own log, and held against the windows computed here by hand.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import anyio
import pytest

from fleet.core.metrics import AomMetrics
from fleet.core.schedule import Schedule
from fleet.service.diary import Diary
from fleet.service.planning import plan_job
from fleet.service.resizes import read_resizes
from fleet.service.scheduling import Ended, Task, keep
from fleet.simulator.audit import is_write

if TYPE_CHECKING:
    from tests.scenarios.conftest import Lab, MakeLab, Run  # type: ignore[import-not-found,unused-ignore]
else:
    Lab = MakeLab = Run = Any

pytestmark = [pytest.mark.looptime, pytest.mark.timeout(240), pytest.mark.long]

BERLIN = ZoneInfo("Europe/Berlin")
BEGINS = datetime(2026, 10, 8, tzinfo=BERLIN)  # the clocks go back on Sunday the 25th
WEEKS = 4
LASTS = timedelta(minutes=12)
DAY = 86_400.0

JOB = """\
job: flavor-rightsizing
name: weekly
select: status == "RUNNING"
with: {usage: {window: 7d}, cooldown: 7d}
schedule: {at: "0 20 * * FRI", timezone: Europe/Berlin}
rollout:
  disruption: restart
  concurrency: 8
  windows:
    - {opens: "0 21 * * FRI", lasts: 12m, timezone: Europe/Berlin}
    - {opens: "30 1 * * *", lasts: 12m, timezone: Europe/Berlin}
"""


def windows() -> list[tuple[float, float]]:
    """Every window of the weeks; in the night in which 1:30 is not repeated, there is one like in any."""
    found = []
    for day in range(7 * WEEKS + 1):
        date = (BEGINS + timedelta(days=day)).date()
        hours = [(1, 30)] + [(21, 0)] * (date.weekday() == 4)
        for hour, minute in hours:
            opens = datetime(date.year, date.month, date.day, hour, minute, tzinfo=BERLIN).timestamp()
            found.append((opens, opens + LASTS.total_seconds()))
    return sorted(found)


async def live(lab: Lab, weeks: int) -> list[Run]:
    """Lets the weeks pass with a scheduler that runs the job whenever it is due."""
    runs: list[Run] = []
    ending = anyio.Event()

    async def start(task: Task) -> Ended:
        order = replace(lab.order(JOB), resizes=read_resizes(lab.base, lab.now() - 14 * DAY))
        plan = await plan_job(order, lab.specs, lab.clock)
        run = await lab.apply(plan)
        runs.append(run)
        return Ended(run.path.name, run.report.exit)

    schedule = Schedule("0 20 * * FRI", "Europe/Berlin")
    task = Task(lab.base / "weekly.yaml", "weekly", schedule, Diary(lab.base, "weekly"))
    async with anyio.create_task_group() as group:
        group.start_soon(keep, [task], lab.clock, start, lambda text: None, ending)
        await anyio.sleep(7 * DAY * weeks)
        ending.set()
    return runs


async def test_weeks_of_rightsizing_stay_in_their_windows_and_nobody_flaps(world: MakeLab) -> None:
    lab = await world(running=60)
    lab.slept = BEGINS.timestamp() - lab.now()
    for number, notebook in enumerate(lab.notebooks):
        lab.lend(notebook, None)
        notebook.flavor = "modelarts.vm.cpu.8u"
        lab.cloud.world.shapes[notebook.id] = ("idle", "growing", "modest", "busy", "spiky")[number % 5]
    (spec,) = lab.specs
    lab.specs = [replace(spec, metrics=AomMetrics(spec.endpoint))]

    runs = await live(lab, WEEKS)

    began = [datetime.fromtimestamp(run.before.at, BERLIN) for run in runs]
    assert [f"{moment:%a %H:%M}" for moment in began] == ["Fri 20:00"] * WEEKS
    writes = [record for record in lab.cloud.log if is_write(record) and record.applied]
    stops = [record for record in writes if record.operation == "StopNotebook"]
    assert len(stops) > len(lab.notebooks) / 2
    days = {datetime.fromtimestamp(stop.at, BERLIN).date() for stop in stops}
    assert len(days) > sum(bool(run.plan.changes) for run in runs)  # what did not fit was carried over
    open_times = windows()
    inside = [any(opens <= stop.at < shuts for opens, shuts in open_times) for stop in stops]
    assert all(inside)

    late = 0
    for opens, shuts in open_times:
        away = {stop.notebook for stop in stops if opens <= stop.at < shuts}
        back = {r.notebook for r in writes if r.operation == "StartNotebook" and opens <= r.at < shuts}
        late += len(away - back)
    assert late <= len(stops) // 100
    assert {notebook.status.value for notebook in lab.notebooks} == {"RUNNING"}

    sizes: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    vcpus = {flavor.id: flavor.vcpus for flavor in lab.cloud.world.flavors.values()}
    for row in (row for run in runs for row in run.report.rows if row.outcome == "changed"):
        step = vcpus[row.after["flavor"]] - vcpus[row.before["flavor"]]
        sizes[row.id].append((row.finished_at or 0.0, step))
    for steps in sizes.values():
        for (first, one), (second, other) in pairwise(steps):
            assert second - first >= 6.9 * DAY
            assert one * other > 0 or second - first > 7 * DAY
