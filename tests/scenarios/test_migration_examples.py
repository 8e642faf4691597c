"""The examples of the image migration as they are, with their soaks and windows, in virtual time."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest

from fleet.core.events import Began, RunEnd, WaveEnded, WaveStarted

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime

EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"


async def test_the_map_example_stops_nobody_outside_of_its_window(world: MakeLab) -> None:
    lab = await world(seeded=60)
    run = await lab.go((EXAMPLES / "image-migration-map.yaml").read_text())
    assert run.end is RunEnd.FINISHED
    began = [event.at for event in run.events if isinstance(event, Began)]
    assert len(began) == len(run.plan.changes) > 10
    hours = {datetime.fromtimestamp(at, ZoneInfo("Asia/Shanghai")).hour for at in began}
    assert hours <= {22, 23, 0, 1, 2, 3, 4}
    changed = [row for row in run.report.rows if row.outcome == "changed"]
    names = {row.id: lab.cloud.world.notebooks[row.id].image.name for row in changed}
    assert {name.partition("-")[0] for name in names.values()} <= {"pytorch2.6", "mindspore2.5"}
    assert run.findings() == []


async def test_the_first_example_soaks_between_its_waves(world: MakeLab) -> None:
    lab = await world(seeded=60)
    run = await lab.go((EXAMPLES / "image-migration.yaml").read_text())
    assert run.end is RunEnd.FINISHED
    started = {event.wave: event.at for event in run.events if isinstance(event, WaveStarted)}
    ended = {event.wave: event.at for event in run.events if isinstance(event, WaveEnded)}
    assert len(started) > 1
    assert all(started[wave] - ended[wave - 1] >= 600.0 for wave in started if wave > 1)
    assert run.findings() == []
