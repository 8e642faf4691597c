"""Two runs that know nothing of each other work on the same notebooks: neither overwrites, both tell."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.simulator.audit import is_write
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab, Run

pytestmark = pytest.mark.looptime

OTHER_IMAGE = """\
job: image-migration
name: tensor
select: image.name.startsWith("pytorch1.8")
with: {to: {name: tensorflow2.1}}
rollout: {disruption: restart}
"""


@pytest.mark.row(54)
@pytest.mark.parametrize("behind", [0.0, 1.0, 15.0, 60.0, 100.0, 600.0])
async def test_of_two_runs_without_a_shared_store_one_changes_a_notebook_and_the_other_sees_it(
    world: MakeLab, behind: float
) -> None:
    lab = await world(running=4)
    mine, theirs = await lab.plan(), await lab.plan(OTHER_IMAGE)

    async def later() -> Run:
        await asyncio.sleep(behind)
        return await lab.apply(theirs)

    first, second = await asyncio.gather(lab.apply(mine), later())
    assert (first.outcomes, first.report.exit) == (["changed"] * 4, Exit.DONE)
    assert (second.outcomes, second.report.exit) == (["drifted"] * 4, Exit.SOME_DRIFTED)
    assert first.report.debts == second.report.debts == ()
    for notebook in lab.notebooks:
        assert notebook.status is Status.RUNNING
        assert notebook.image.name.startswith("pytorch2.6")
        writes = [one for one in lab.cloud.log if one.notebook == notebook.id and is_write(one)]
        applied = [one.operation for one in writes if one.applied]
        assert applied == ["StopNotebook", "UpdateNotebook", "StartNotebook"]
