"""The examples of the image migration, from the command line to the cloud.

Nothing is edited in a file but its times: a soak of minutes, a window that is not open now. Unedited they run
in virtual time, in the scenarios.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import load_plan
from fleet.simulator.states import Status

Lab = Any  # see conftest.py

EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"
SHANGHAI = ZoneInfo("Asia/Shanghai")
ARM, X86 = "pytorch2.6-cann8.1-py3.11-hce2.0", "pytorch2.6-cuda12.4-cudnn9-ubuntu22.04"


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    return make_lab(notebooks=12)


def example(lab: Lab, name: str, edits: dict[str, str] | None = None) -> str:
    """Puts an example beside the configuration, with the edits made to it."""
    text = (EXAMPLES / name).read_text()
    for old, new in (edits or {}).items():
        assert text.count(old) == 1
        text = text.replace(old, new)
    lab.shell.write(name, text)
    return name


def planned(lab: Lab, job: str) -> Plan:
    result = lab.shell("plan", job, "-o", "plan.json")
    assert result.code == 0, result.err
    return load_plan((lab.shell.folder / "plan.json").read_bytes(), "plan.json")


def images(lab: Lab) -> dict[str, str]:
    return {row.id: row.image.name for row in lab.cloud.world.notebooks.values()}


def applied(lab: Lab) -> None:
    """Applies the plan; everybody must be home again."""
    lab.cloud.settle(time.time())
    before = {row.id: row.status for row in lab.cloud.world.notebooks.values()}
    result = lab.shell("apply", "plan.json", "--yes", "--run-dir", lab.runs)
    assert result.code == 0, result.err
    lab.cloud.settle(time.time())
    assert {row.id: row.status for row in lab.cloud.world.notebooks.values()} == before


@pytest.mark.long
def test_the_example_moves_every_old_notebook_and_brings_it_home(lab: Lab) -> None:
    old = {id for id, name in images(lab).items() if name.startswith("pytorch1.8")}
    plan = planned(lab, example(lab, "image-migration.yaml", {"soak: 10m ": "soak: 0s "}))
    kept = {row.id for row in plan.settled}
    assert {change.id for change in plan.changes} | kept == old
    assert any(change.needs_restart for change in plan.changes)
    assert {row.reason for row in plan.settled} <= {"protected by guards.protect"}
    applied(lab)
    now = images(lab)
    assert {now[id] for id in old - kept} == {ARM, X86}
    assert all(now[id].startswith("pytorch1.8") for id in kept)


@pytest.mark.long
def test_the_next_plan_knows_how_long_stops_and_starts_took(lab: Lab) -> None:
    lab.cloud.world.time_scale = 10.0  # slower than the poll of a second, or nothing could be learned
    job = example(lab, "image-migration.yaml", {"soak: 10m ": "soak: 0s "})
    plan = planned(lab, job)
    shown = lab.shell("show", "plan.json").out
    assert "(P50 to P95, stops of 1m to 2m and starts of 2m to 4m assumed)" in shown
    assert plan.estimate.seconds < plan.estimate.slow_seconds
    away = {one.owner: one.notebooks for one in plan.estimate.away}
    owners = [change.owner for change in plan.changes if change.needs_restart]
    assert away == {owner: owners.count(owner) for owner in owners}
    first = plan.estimate.away[0].owner
    assert f"notebooks away, times summed: {away[first]} of {first} for " in shown
    applied(lab)
    old = next(image for image in lab.cloud.world.images.values() if image.name.startswith("pytorch1.8-cuda"))
    for change in plan.changes:
        row = lab.cloud.world.notebooks[change.id]
        row.image, row.flavor, row.custom_spec, row.rendered = old, "modelarts.vm.cpu.2u", None, None
    times = json.loads((lab.shell.folder / "home/.local/state/notebook-fleet/times.json").read_text())
    assert 0 < len(times["timed"]) <= 2 * len(owners)
    again = planned(lab, job)
    assert "(P50 to P95, learned: modelarts.vm.cpu.2u stops in " in lab.shell("show", "plan.json").out
    assert again.estimate.seconds < plan.estimate.seconds


def test_the_newest_example_disturbs_nobody_and_has_nothing_to_do_afterwards(lab: Lab) -> None:
    before = images(lab)
    plan = planned(lab, example(lab, "image-migration-newest.yaml"))
    assert {change.run_state for change in plan.changes} == {Status.STOPPED.value}
    assert not any(change.needs_restart for change in plan.changes)
    applied(lab)
    assert set(lab.writes) == {"UpdateNotebook"}
    now = images(lab)
    for change in plan.changes:
        assert before[change.id].startswith(("pytorch1.8", "mindspore1.7"))
        assert now[change.id] == plan.names[change.after["image_id"]]
    again = planned(lab, "image-migration-newest.yaml")
    assert again.changes == ()
    assert {row.outcome.value for row in again.settled} <= {"unchanged", "skipped"}


@pytest.mark.long
def test_the_map_example_leads_each_family_its_own_way_in_its_window(lab: Lab) -> None:
    opens = datetime.now(SHANGHAI) - timedelta(minutes=1)
    dates = {
        '"0 22 * * *"': f'"{opens.minute} {opens.hour} * * *"',
        "2026-12-31": "2020-12-31",
        "2027-01-03": "2021-01-03",
    }
    first, *_ = lab.old("STOPPED")
    named = {image.name: image for image in lab.cloud.world.images.values()}
    first.image, first.flavor = (
        named["mindspore1.7.0-cann5.1-py3.7-euler2.8.3"],
        "modelarts.vm.ascend.snt9b.1",
    )
    first.rendered, first.custom_spec = None, None
    before = images(lab)
    plan = planned(lab, example(lab, "image-migration-map.yaml", dates))
    applied(lab)
    now = images(lab)
    for change in plan.changes:
        arm = "cann" in before[change.id]
        assert now[change.id] == (ARM if arm else X86) or before[change.id].startswith("mindspore1.")
    assert now[first.id] == "mindspore2.5-cann8.1-py3.11-hce2.0"
    left = {row.id for row in plan.settled}
    assert not any(name.startswith("pytorch1.8") for id, name in now.items() if id not in left)


def test_the_map_example_tells_its_window_and_begins_in_it(lab: Lab) -> None:
    plan = planned(lab, example(lab, "image-migration-map.yaml"))
    shown = lab.shell("show", "plan.json").out
    assert "window: opens 0 22 * * * by the clock of Asia/Shanghai for 7h" in shown
    assert "blackout: 2026-12-31 to 2027-01-03 by the clock of Asia/Shanghai" in shown
    opening = plan.rollout.calendar.next_opening(plan.created_at)
    assert opening is not None
    hour = datetime.fromtimestamp(opening, SHANGHAI).hour
    assert hour >= 22 or hour < 5
