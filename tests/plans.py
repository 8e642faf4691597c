"""Plans and changes for tests: whatever a test does not care about is the same everywhere."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from fleet.core.job import Context, JobSpec, Skip
from fleet.core.notebook import Notebook, Status
from fleet.core.patch import When
from fleet.core.planning.plan import FORMAT, Change, Estimate, Phase, Plan
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Rollout

OLD, NEW = "11111111-1111-1111-1111-111111111111", "22222222-2222-2222-2222-222222222222"

PLAN = Plan(
    format=FORMAT,
    job="torch",
    job_type="image-migration",
    select="true",
    created_at=1000.0,
    engine="0.1.0",
    scopes=(),
    rollout=Rollout(),
    changes=(),
    settled=(),
    checks=(),
    estimate=Estimate(1, 1, 1.0),
)


class Anything(JobSpec, extra="allow"):
    """A job type that takes every parameter."""

    def propose(self, notebook: Notebook, context: Context) -> Skip:
        return Skip("nothing to do")


def make_change(item: int = 0, old: str = OLD, new: str = NEW, **fields: Any) -> Change:
    """A running notebook that gets another image; `fields` are what is different."""
    usual = Change(
        item=item,
        scope="lab-a",
        id=f"f9937afa-4451-42db-a76b-{item:012d}",
        name=f"nb-{item}",
        owner="ann",
        pool="",
        flavor="modelarts.vm.cpu.2u",
        wave=1,
        run_state=Status.RUNNING,
        arriving=False,
        may_restart=True,
        phases=(Phase(When.STOPPED, {"image_id": new}),),
        before={"image_id": old},
        after={"image_id": new},
    )
    return replace(usual, **fields)


def make_plan(*changes: Change, **fields: Any) -> Plan:
    """The sealed plan of these changes; `fields` are what is different."""
    return seal(replace(PLAN, changes=changes, **fields))
