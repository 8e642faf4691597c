"""A plan that restarts notebooks asks how full the quota of instances is, and trusts no silence."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import anyio
import pytest

from fleet.core.errors import Exit, GuardError
from fleet.core.planning.quota import SOURCE
from fleet.service.planning import plan_job
from fleet.simulator.faults.calls import Refused
from fleet.simulator.faults.occasions import Match
from fleet.simulator.refusals import Refusal
from fleet.simulator.routing import Operation
from fleet.simulator.rules import Rules

if TYPE_CHECKING:
    from fleet.core.planning.plan import Plan
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime

ASKED = Match(operation=Operation.LIST_FEATURES)

MOVE = """\
job: image-migration
name: torch
select: "true"
with: {to: {name: pytorch2.6}}
rollout: {disruption: restart}
"""
RENAME = """\
job: edit
name: rename
select: "true"
with: {set: {description: new}}
rollout: {disruption: none}
"""


def quota_lines(plan: Plan) -> list[str]:
    return [line for line in plan.checks if "quota" in line]


async def test_the_plan_says_quota_and_use(world: MakeLab) -> None:
    lab = await world(running=2, stopped=1, rules=Rules(quota=9))
    plan = await lab.plan()
    assert quota_lines(plan) == [f"quota of instances: lab-a uses 3 of 9 {SOURCE}"]
    assert [record.operation for record in lab.cloud.log].count("ListFeatures") == 1


async def test_a_plan_that_restarts_nothing_does_not_ask(world: MakeLab) -> None:
    lab = await world(stopped=2, rules=Rules(quota=1))
    plan = await lab.plan(RENAME)
    assert len(plan.changes) == 2
    assert "ListFeatures" not in {record.operation for record in lab.cloud.log}


async def test_nobody_is_stopped_in_an_account_that_is_over_its_quota(world: MakeLab) -> None:
    lab = await world(running=3, rules=Rules(quota=2))
    with pytest.raises(GuardError, match=r"lab-a \(3 of 2\).*--override quota"):
        await lab.plan()
    lab.stop(lab.notebooks[0])
    await anyio.sleep(900.0)
    with pytest.raises(Refusal, match=r"ModelArts\.0113"):  # the cloud would have meant it
        lab.start(lab.notebooks[0])


async def test_an_override_lifts_it_and_the_plan_keeps_the_reason(world: MakeLab) -> None:
    lab = await world(running=3, rules=Rules(quota=2))
    order = replace(lab.order(MOVE), overrides={"quota": "CHG-7"})
    plan = await plan_job(order, lab.specs, lab.clock)
    assert plan.overrides["quota"].endswith("overridden: CHG-7")


@pytest.mark.parametrize(
    ("code", "status"), [("APIGW.0302", 403), ("APIGW.0101", 404), ("ModelArts.0104", 400)]
)
async def test_a_scope_that_does_not_tell_is_planned_with_a_note(
    world: MakeLab, code: str, status: int
) -> None:
    lab = await world(running=2, faults=[Refused(match=ASKED, code=code, status=status)])
    plan = await lab.plan()
    (said,) = quota_lines(plan)
    assert said.startswith("the quota of instances is not known for lab-a (")
    run = await lab.apply(plan)
    assert run.report.exit is Exit.DONE


async def test_a_full_quota_is_said_and_a_stopped_notebook_keeps_its_place(world: MakeLab) -> None:
    lab = await world(running=2, rules=Rules(quota=2))
    plan = await lab.plan()
    assert any(line.startswith("no instance is left of the quota of lab-a") for line in plan.checks)
    run = await lab.apply(plan)
    assert (run.outcomes, run.findings()) == (["changed"] * 2, [])
