"""The examples of the whitelist rotation, from the command line to the cloud. Only the soak is shorter."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fleet.core.planning.plan import Plan
from fleet.core.planning.plan_file import load_plan
from fleet.simulator.world import Notebook

EXAMPLES = Path(__file__).parents[2] / "jobs" / "examples"
MOVES, WHOLE, CLOSE = (f"ip-whitelist-{name}.yaml" for name in ("office-moves", "whole-list", "close-open"))
OLD, OFFICE, ON_CALL = "203.0.113.1", "203.0.113.251", "198.51.100.7"


@pytest.fixture
def lab(make_lab: Callable[..., Any]) -> Any:
    """A lab with the examples beside its configuration; every second whitelist holds the old address."""
    made = make_lab(notebooks=50)
    for name in (MOVES, WHOLE, CLOSE, "ip-whitelist-addresses.txt"):
        text = (EXAMPLES / name).read_text()
        made.shell.write(name, text.replace("soak: 24h", "soak: 1s"))
    for number, row in enumerate(closed(made)):
        ssh(row)["allowed_access_ips"][0] = [OLD, "203.0.113.200"][number % 2]
    made.cloud.world.add(())
    return made


def ssh(notebook: Notebook) -> Any:
    """The SSH endpoint; None when there is none."""
    return next((item for item in notebook.endpoints if item["service"] == "SSH"), None)


def listed(notebook: Notebook) -> list[str]:
    return list((ssh(notebook) or {}).get("allowed_access_ips", ()))


def closed(lab: Any) -> list[Notebook]:
    return [row for row in lab.cloud.world.notebooks.values() if listed(row)]


def planned(lab: Any, job: str) -> Plan:
    path = lab.shell.folder / "plan.json"
    result = lab.shell("plan", job, "-o", path)
    assert result.code == 0, result
    return load_plan(path.read_bytes(), str(path))


def applied(lab: Any, plan: Plan) -> list[Any]:
    """The rows of the report."""
    result = lab.apply(lab.shell.folder / "plan.json", "--confirm", plan.notebooks, "-o", "jsonl")
    assert result.code == 0, result
    return list(lab.shell("report", result.run, "--run-dir", lab.runs, "-o", "json").json["rows"])


@pytest.mark.long
def test_the_office_moves_in_two_stages(lab: Any) -> None:
    plan = planned(lab, MOVES)
    told = lab.shell("show", lab.shell.folder / "plan.json").out
    chosen = {change.id: change for change in plan.changes}
    assert len(plan.changes) == 2 * plan.notebooks > 8
    assert f"stages: stage 1 adds {OFFICE} ({plan.notebooks} notebooks, waves 1 to " in told
    assert f"; 1s later stage 2 removes {OLD} ({plan.notebooks} notebooks, waves " in told
    assert f"adds {OFFICE}, removes {OLD}" in told
    assert "is stopped and started 2 times, once for each stage" in told
    total = plan.notebooks + len(plan.settled)
    assert f"{total} selected: {plan.notebooks} to change" in told
    before = {row.id: (listed(row), row.status, ssh(row).copy()) for row in closed(lab)}
    rows = applied(lab, plan)
    assert sorted(row["id"] for row in rows) == sorted({*chosen, *(row.id for row in plan.settled)})
    for row in closed(lab):
        was, status, endpoint = before[row.id]
        if row.id in chosen:
            assert listed(row) == [*was[1:], OFFICE]
            assert ssh(row)["key_pair_names"] == endpoint["key_pair_names"]
            assert row.status == status
        else:
            assert listed(row) == was
    assert {row["outcome"] for row in rows if row["id"] in chosen} == {"changed"}
    (run,) = lab.shell("runs", "--run-dir", lab.runs, "-o", "json").json
    assert (run["counts"]["changed"], sum(run["counts"].values())) == (len(chosen), total)


@pytest.mark.long
def test_the_whole_list_comes_from_its_file_and_too_many_go_in_one_step(lab: Any) -> None:
    plan = planned(lab, WHOLE)
    told = lab.shell("show", lab.shell.folder / "plan.json").out
    assert f"stage 1 adds {OFFICE}, {ON_CALL} (" in told
    assert "stage 2 removes all others (" in told
    assert "old and new addresses are too many together: they are exchanged in one step" in told
    chosen = {change.id for change in plan.changes}
    assert len(chosen) < len(plan.changes) < 2 * len(chosen)
    applied(lab, plan)
    assert {tuple(listed(row)) for row in closed(lab) if row.id in chosen} == {(OFFICE, ON_CALL)}


def test_open_endpoints_are_closed_on_notebooks_that_are_stopped(lab: Any) -> None:
    opened = [
        row.id
        for row in lab.cloud.world.notebooks.values()
        if ssh(row) and not listed(row) and row.status == "STOPPED"
    ]
    assert opened
    plan = planned(lab, CLOSE)
    assert plan.stages == ()
    assert {*opened} <= {change.id for change in plan.changes}
    assert not any(change.needs_restart for change in plan.changes)
    told = lab.shell("show", lab.shell.folder / "plan.json").out
    assert f"its SSH endpoint is open to every address and is closed ({len(opened)} notebooks)" in told
    applied(lab, plan)
    assert all(listed(lab.cloud.world.notebooks[row]) == [ON_CALL, OFFICE] for row in opened)


def test_a_missing_file_of_addresses_is_told_in_one_line(lab: Any) -> None:
    (lab.shell.folder / "ip-whitelist-addresses.txt").unlink()
    complaint = lab.shell.refused("plan", WHOLE)
    assert "ip-whitelist-addresses.txt" in complaint


def test_a_job_without_leave_to_restart_tells_who_is_left_out(lab: Any) -> None:
    text = (lab.shell.folder / MOVES).read_text()
    lab.shell.write(MOVES, text.replace("disruption: restart", "disruption: none"))
    result = lab.shell("plan", MOVES)
    assert "stage 1: is RUNNING and would have to be stopped; rollout.disruption is none" in result.out
