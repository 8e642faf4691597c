"""The examples of the rightsizing from the command line to the cloud: usage by AOM or a file, and prices."""

from __future__ import annotations

import csv
import json
import re
import time
from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import load_plan
from fleet.simulator.audit import is_write
from fleet.simulator.states import Status

Lab = Any  # see conftest.py

EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"
WEEKLY, LADDER, FROM_FILE = (f"flavor-rightsizing-{name}.yaml" for name in ("weekly", "ladder", "from-file"))
RUNGS = tuple(f"modelarts.vm.cpu.{size}u" for size in (2, 4, 8, 16))


@pytest.fixture
def lab(make_lab: Callable[..., Lab]) -> Lab:
    """A lab whose usage AOM keeps, with the examples beside its configuration."""
    made = make_lab(notebooks=60)
    aom = f'[metrics.aom]\nkind = "aom"\nendpoint = "{made.url}"\n'
    made.shell.write("fleet.toml", f"{made.config()}\n{aom}")
    for name in (WEEKLY, LADDER, FROM_FILE, "prices.csv", "usage.csv"):
        text = (EXAMPLES / name).read_text()
        made.shell.write(name, text.replace("soak: 10m", "soak: 0s"))  # the only thing that takes real time
    return made


def planned(lab: Lab, job: str, *options: str) -> Plan:
    result = lab.shell("plan", job, "-o", "plan.json", *options)
    assert result.code == 0, result.err
    return load_plan((lab.shell.folder / "plan.json").read_bytes(), "plan.json")


def flavors(lab: Lab) -> dict[str, str]:
    return {row.id: row.flavor for row in lab.cloud.world.notebooks.values()}


def size(lab: Lab, flavor: str) -> int:
    vcpus: int = lab.cloud.world.flavors[flavor].vcpus
    return vcpus


def test_the_weekly_example_tells_why_and_what_it_costs_and_does_it(lab: Lab) -> None:
    plan = planned(lab, WEEKLY)
    assert len(plan.changes) >= 3
    for change in plan.changes:
        up = size(lab, change.after["flavor"]) > size(lab, change.flavor)
        assert change.why.startswith("up: cpu p95" if up else "down: cpu p95")
        assert change.cost is not None
        assert (change.cost.saved < 0) is up
        assert change.run_state == "STOPPED"  # nobody is disturbed
    saved = sum((change.cost.saved for change in plan.changes if change.cost is not None), Decimal(0))
    (told,) = [
        check for check in plan.checks if check.startswith("cost of a month, as much of it as they ran: ")
    ]
    assert told.endswith(f"saves {saved}")
    shown = lab.shell("show", "plan.json").out
    assert "why" in shown
    assert "cost of a month, running 24x7 (730 hours): " in shown
    assert "(24x7: " in shown
    assert plan.changes[0].why in shown
    assert lab.shell("apply", "plan.json", "--yes", "--run-dir", lab.runs).code == 0
    now = flavors(lab)
    assert all(now[change.id] == change.after["flavor"] for change in plan.changes)


@pytest.mark.long
def test_asked_again_at_once_nobody_swings(lab: Lab) -> None:
    first = lab.shell("run", WEEKLY, "--yes", "--run-dir", lab.runs, "-o", "jsonl")
    assert first.code == 0
    changed = {row["id"] for row in map(json.loads, first.out.splitlines()) if row["outcome"] == "changed"}
    assert changed
    again = lab.shell("run", WEEKLY, "--yes", "--run-dir", lab.runs, "-o", "jsonl")
    assert again.code == 0
    reasons = {row["id"]: row["reason"] for row in map(json.loads, again.out.splitlines())}
    assert all(
        re.fullmatch(r"its flavor was changed [\d.]+s ago, it rests for 7d", reasons[id]) for id in changed
    )
    assert "changed" not in {row["outcome"] for row in map(json.loads, again.out.splitlines())}


@pytest.mark.long
def test_the_ladder_example_keeps_to_its_rungs_and_brings_everybody_home(lab: Lab) -> None:
    lab.cloud.world.shapes = {
        row.id: "idle" for row in lab.cloud.world.notebooks.values() if row.status is Status.RUNNING
    }
    plan = planned(lab, LADDER, "--limit", "8")
    assert any(change.needs_restart for change in plan.changes)
    for change in plan.changes:
        assert {change.flavor, change.after["flavor"]} <= set(RUNGS)
        assert size(lab, change.after["flavor"]) <= 8
    before = {row.id: row.status for row in lab.cloud.world.notebooks.values()}
    result = lab.shell("apply", "plan.json", "--yes", "--run-dir", lab.runs)
    assert result.code == 0, result.err
    lab.cloud.settle(time.time())
    now = {row.id: row.status for row in lab.cloud.world.notebooks.values()}
    assert all(now[change.id] is before[change.id] for change in plan.changes)
    assert all(flavors(lab)[change.id] == change.after["flavor"] for change in plan.changes)


def test_the_example_from_a_file_asks_no_source_and_takes_nothing_else_for_idle(lab: Lab) -> None:
    stopped = [
        row
        for row in sorted(lab.cloud.world.notebooks.values(), key=lambda row: row.id)
        if row.status is Status.STOPPED and row.flavor in RUNGS[1:]
    ]
    idle, busy, unknown = stopped[:3]
    lines = ["notebook,time,resource,value"]
    for hour in range(1, 60):
        at = time.time() - 3600 * hour
        for row, level in ((idle, 3), (busy, 85)):
            lines += [f"{row.id},{at},{name},{level}" for name in ("cpu", "memory")]
    lab.shell.write("usage.csv", "\n".join(lines))
    plan = planned(lab, FROM_FILE)
    assert [change.id for change in plan.changes] == [idle.id]
    assert plan.changes[0].after == {"flavor": RUNGS[0]}
    why = {row.id: row.reason for row in plan.settled}
    assert why[busy.id] == "its flavor is right"
    assert why[unknown.id] == "too little data: cpu 0%, memory 0% of 7d, 5% are needed"
    assert "QueryRange" not in {record.operation for record in lab.cloud.log}
    asked = [record.notebook for record in lab.cloud.log if record.operation == "ShowSwitchableFlavors"]
    assert idle.id in asked
    assert unknown.id not in asked
    assert lab.shell("apply", "plan.json", "--yes", "--run-dir", lab.runs).code == 0
    assert flavors(lab)[idle.id] == RUNGS[0]


def test_the_example_from_a_file_is_whole_as_it_is(lab: Lab) -> None:
    plan = planned(lab, FROM_FILE)
    assert plan.changes == ()
    assert plan.settled
    assert any(row.reason.startswith("too little data: ") for row in plan.settled)


def test_the_samples_beside_the_example_shrink_one_notebook_and_not_the_other(lab: Lab) -> None:
    rows = list(csv.DictReader((EXAMPLES / "usage.csv").read_text().splitlines()))
    idle, busy = dict.fromkeys(row["notebook"] for row in rows)
    mine = [
        row.id
        for row in sorted(lab.cloud.world.notebooks.values(), key=lambda row: row.id)
        if row.status is Status.STOPPED and row.flavor in RUNGS[1:]
    ]
    other = dict(zip((idle, busy), mine, strict=False))
    late = time.time() - max(datetime.fromisoformat(row["time"]).timestamp() for row in rows)
    lines = ["notebook,time,resource,value"]
    for row in rows:
        at = datetime.fromisoformat(row["time"]).timestamp() + late
        lines.append(f"{other[row['notebook']]},{at},{row['resource']},{row['value']}")
    lab.shell.write("usage.csv", "\n".join(lines))
    plan = planned(lab, FROM_FILE)
    assert [change.id for change in plan.changes] == [other[idle]]
    assert {row.id: row.reason for row in plan.settled}[other[busy]] == "its flavor is right"


def test_without_a_source_nothing_is_planned_and_the_line_says_what_to_do(lab: Lab) -> None:
    lab.shell.write("fleet.toml", lab.config())
    told = lab.shell.refused("plan", WEEKLY)
    assert "nothing says where usage is measured; add a table [metrics.NAME]" in told
    assert not any(map(is_write, lab.cloud.log))


def test_a_missing_price_list_is_told_before_anything_is_sent(lab: Lab) -> None:
    (lab.shell.folder / "prices.csv").unlink()
    asked = len(lab.cloud.log)
    assert "prices.csv: no such file or directory" in lab.shell.refused("plan", WEEKLY)
    assert len(lab.cloud.log) == asked


def test_why_a_notebook_is_left_alone_is_explained_with_its_usage(lab: Lab) -> None:
    plan = planned(lab, WEEKLY)
    right = next(row for row in plan.settled if row.reason == "its flavor is right")
    assert "the job: unchanged, its flavor is right" in lab.shell("plan", WEEKLY, "--explain", right.id).out
