"""A notebook that does not come up again: the old value is put back once; a debt is told and can be paid."""

from __future__ import annotations

import asyncio
import shlex
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.core.jobfiles.job_values import parse_duration
from fleet.service.bringing import bring_running
from fleet.simulator.faults import FailingStart, SoldOut
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from tests.scenarios.conftest import Lab, MakeLab

pytestmark = pytest.mark.looptime

SOLD_OUT = "modelarts.vm.cpu.2u"


async def pay(lab: Lab, fix: str) -> None:
    """Does what the command in a report does."""
    fleet, start, *words = shlex.split(fix)
    assert (fleet, start) == ("fleet", "start")
    assert words[0] == "--scope"
    scope, notebook = words[1], words[2]
    lease = dict(zip((word.removeprefix("--") for word in words[3::2]), words[4::2], strict=True))
    lease["duration"] = str(int(parse_duration(lease["duration"]) * 1000))
    (spec,) = [spec for spec in lab.specs if spec.name == scope]
    await bring_running(spec, notebook, lease, lab.clock, lab.base / "claims.db", print)


@pytest.mark.row(34)
async def test_one_failed_start_puts_the_old_image_back(world: MakeLab) -> None:
    lab = await world(running=2, faults=[FailingStart(times=1, reason="Failed to pull the image.")])
    run = await lab.go()
    assert sorted(run.outcomes) == ["changed", "failed"]
    assert run.report.exit is Exit.SOME_FAILED
    failed = next(row for row in run.report.rows if row.outcome == "failed")
    assert "Failed to pull the image." in failed.reason
    assert "the old value was put back" in failed.reason
    assert failed.after == failed.before
    notebook = lab.cloud.world.notebooks[failed.id]
    assert run.calls(notebook) == ["stop", "put", "start", "put", "start"]
    assert notebook.status is Status.RUNNING
    assert run.findings() == []
    assert run.report.debts == ()


@pytest.mark.row(34)
async def test_a_notebook_that_never_starts_again_is_a_debt_that_its_fix_pays(world: MakeLab) -> None:
    lab = await world(running=1, faults=[FailingStart(until=3600.0)])
    (notebook,) = lab.notebooks
    run = await lab.go()
    assert (run.outcomes, run.report.exit) == (["stranded"], Exit.STRANDED)
    assert run.calls() == ["stop", "put", "start", "put", "start"]
    assert run.only.debt
    assert [debt.fix for debt in run.report.debts] == [run.only.fix]
    assert run.only.fix.startswith(f"fleet start --scope lab-a {notebook.id} --duration ")
    await asyncio.sleep(3600.0)
    await pay(lab, run.only.fix)
    left = (notebook.lease.end() or 0.0) - (notebook.running_since or 0.0)
    assert notebook.status is Status.RUNNING
    assert notebook.image.name.startswith("pytorch1.8")
    assert left == pytest.approx(5 * 3600.0, abs=600.0)
    assert notebook.lease.type == "TIMING"


@pytest.mark.row(35)
async def test_a_start_is_tried_again_until_there_is_stock(world: MakeLab) -> None:
    lab = await world(running=1, faults=[SoldOut(flavor=SOLD_OUT, after=1.0, until=90.0)])
    run = await lab.go()
    assert (run.outcomes, run.findings()) == (["changed"], [])
    assert run.calls(applied=True) == ["stop", "put", "start"]
    assert run.calls().count("start") > 1
    assert not run.only.debt


async def test_a_person_who_starts_it_first_when_stock_is_back_is_not_overwritten(world: MakeLab) -> None:
    lab = await world(running=1, faults=[SoldOut(flavor=SOLD_OUT, after=1.0, until=100.0)])
    (notebook,) = lab.notebooks
    lab.at(101.0, lambda: lab.start(notebook))
    run = await lab.go()
    assert run.calls(applied=True) == ["stop", "put"]
    assert run.report.debts == ()
