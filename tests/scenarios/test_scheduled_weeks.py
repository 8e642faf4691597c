"""Rightsizing on a schedule over weeks of simulated life, with a change of the clocks in the middle.

What was done when is read from the cloud's own log, and held against windows that are computed here by hand.
People's work changes after a while, so that notebooks have a reason to swing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import date, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo

import anyio
import pytest

from fleet.core.metrics import AomMetrics
from fleet.core.scheduling.schedule import Schedule
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
DAYS = 25
DAY = 86_400.0
AT = "0 20 * * TUE,FRI"
LASTS = 12 * 60.0
# The one opening that is skipped comes when the gap is over, the one that is repeated comes the first time.
MOVED: Mapping[date, str] = {
    date(2026, 10, 25): "2026-10-25T00:30+00:00",
    date(2027, 3, 28): "2027-03-28T01:00+00:00",
}
LIVES = (("idle", "busy"), ("busy", "idle"), ("modest", "growing"), ("spiky", "idle"), ("growing", "growing"))

JOB = f"""\
job: flavor-rightsizing
name: weekly
select: status == "RUNNING"
with: {{usage: {{window: 2d}}, cooldown: 0s}}
schedule: {{at: "{AT}", timezone: Europe/Berlin}}
rollout:
  disruption: restart
  concurrency: 8
  windows:
    - {{opens: "0 21 * * TUE,FRI", lasts: 12m, timezone: Europe/Berlin}}
    - {{opens: "30 2 * * *", lasts: 12m, timezone: Europe/Berlin}}
"""


def windows(begins: datetime) -> list[tuple[float, float]]:
    """Every window of the weeks."""
    found = []
    for number in range(DAYS + 1):
        day = (begins + timedelta(days=number)).date()
        night = datetime(day.year, day.month, day.day, 2, 30, tzinfo=BERLIN).isoformat()
        found.append(datetime.fromisoformat(MOVED.get(day, night)).timestamp())
        if day.weekday() in (1, 4):
            found.append(datetime(day.year, day.month, day.day, 21, tzinfo=BERLIN).timestamp())
    return [(opens, opens + LASTS) for opens in sorted(found)]


async def live(lab: Lab) -> list[Run]:
    """Lets the weeks pass with a scheduler that runs the job whenever it is due."""
    runs: list[Run] = []
    told: list[str] = []
    ending = anyio.Event()

    async def start(task: Task, lock: int, again: str, named: Callable[[str], None]) -> Ended:
        order = replace(lab.order(JOB), resizes=read_resizes(lab.base, lab.now() - 14 * DAY))
        run = await lab.apply(await plan_job(order, lab.specs, lab.clock))
        runs.append(run)
        return Ended(run.path.name, run.report.exit)

    task = Task(lab.base / "w.yaml", "weekly", Schedule(AT, "Europe/Berlin"), Diary(lab.base, "weekly"))
    async with anyio.create_task_group() as group:
        group.start_soon(keep, [task], lab.clock, start, told.append, ending)
        await anyio.sleep(DAY * DAYS)
        ending.set()
    assert not [text for text in told if "error" in text]
    return runs


@pytest.mark.parametrize("begins", ["2026-10-08", "2027-03-11"])
async def test_weeks_of_rightsizing_stay_in_their_windows_and_nobody_flaps(
    world: MakeLab, begins: str
) -> None:
    first_day = datetime.fromisoformat(begins).replace(tzinfo=BERLIN)
    lab = await world(running=60)
    lab.slept = first_day.timestamp() - lab.now()
    for number, notebook in enumerate(lab.notebooks):
        lab.lend(notebook, None)
        notebook.flavor = "modelarts.vm.cpu.8u"
        first, then = LIVES[number % len(LIVES)]
        lab.cloud.world.shapes[notebook.id] = first
        lab.at((2 + number % 9) * DAY, partial(lab.cloud.world.shapes.__setitem__, notebook.id, then))
    lab.specs = [replace(spec, metrics=AomMetrics(spec.endpoint)) for spec in lab.specs]

    runs = await live(lab)

    began = {f"{datetime.fromtimestamp(run.before.at, BERLIN):%a %H:%M}" for run in runs}
    assert began == {"Tue 20:00", "Fri 20:00"}
    stops = [r for r in lab.cloud.log if r.operation == "StopNotebook" and is_write(r) and r.applied]
    open_times = windows(first_day)
    of_stop = [next((w for w in open_times if w[0] <= stop.at < w[1]), None) for stop in stops]
    assert None not in of_stop
    nights = [w for w in of_stop if w and datetime.fromtimestamp(w[0], BERLIN).hour < 4]
    assert nights  # what did not fit in the evening was carried over

    changed = [row for run in runs for row in run.report.rows if row.outcome == "changed"]
    home = {
        (row.id, stop.at): row.finished_at or 0.0
        for row in changed
        for stop in stops
        if stop.notebook == row.id and (row.started_at or 0.0) <= stop.at <= (row.finished_at or 0.0)
    }
    assert len(home) == len(stops)
    late = [key for key, at in home.items() if at > next(w[1] for w in open_times if w[0] <= key[1] < w[1])]
    assert len(late) <= len(stops) // 100
    assert {notebook.status.value for notebook in lab.notebooks} == {"RUNNING"}

    vcpus = {flavor.id: flavor.vcpus for flavor in lab.cloud.world.flavors.values()}
    steps: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
    for row in changed:
        step = vcpus[row.after["flavor"]] - vcpus[row.before["flavor"]]
        steps[row.id].append((row.finished_at or 0.0, step))
    turns = [
        second - first
        for taken in steps.values()
        for (first, one), (second, other) in pairwise(taken)
        if one * other < 0
    ]
    assert turns  # there was a reason to swing
    assert min(turns) > 7 * DAY
