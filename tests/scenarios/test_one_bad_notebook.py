"""One notebook for which every call fails, or that is made anew: the others are none the worse."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.simulator.faults import Match, ServerError
from fleet.simulator.routing import Operation
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime

OTHER_ID = "f9937afa-4451-42db-a76b-72d624749f66"


@pytest.mark.row(6)
@pytest.mark.parametrize(
    ("operation", "outcome", "calls"),
    [
        (None, "skipped", []),
        (Operation.STOP_NOTEBOOK, "failed", ["stop"] * 2),
        (Operation.UPDATE_NOTEBOOK, "failed", ["stop", "put", "put", "put", "start"]),
    ],
)
async def test_a_notebook_for_which_every_call_is_a_500_fails_alone(
    world: MakeLab, operation: Operation | None, outcome: str, calls: list[str]
) -> None:
    lab = await world(running=4, faults=[ServerError(match=Match(operation=operation, notebook="nb-1"))])
    bad = next(notebook for notebook in lab.notebooks if notebook.name == "nb-1")
    run = await lab.go()
    assert (run.row(bad).outcome, run.calls(bad)) == (outcome, calls)
    assert [run.row(one).outcome for one in lab.notebooks if one is not bad] == ["changed"] * 3
    assert all(notebook.status is Status.RUNNING for notebook in lab.notebooks)
    assert run.report.exit is (Exit.SOME_FAILED if outcome == "failed" else Exit.DONE)
    assert run.findings() == []


@pytest.mark.row(6)
async def test_a_start_that_is_a_500_for_ever_is_a_debt_of_that_notebook_alone(world: MakeLab) -> None:
    start = Match(operation=Operation.START_NOTEBOOK, notebook="nb-1")
    lab = await world(running=3, faults=[ServerError(match=start)])
    run = await lab.go()
    assert sorted(run.outcomes) == ["changed", "changed", "stranded"]
    assert [debt.name for debt in run.report.debts] == ["nb-1"]
    assert run.report.exit is Exit.STRANDED


@pytest.mark.row(31, 32)
@pytest.mark.parametrize("moment", ["plan", "StopNotebook", "UpdateNotebook"])
async def test_a_notebook_made_anew_under_the_same_name_is_never_touched(world: MakeLab, moment: str) -> None:
    lab = await world(running=2)
    old, other = lab.notebooks
    new = replace(old, id=OTHER_ID, timers={}, endpoints=[dict(item) for item in old.endpoints])

    def make_anew() -> None:
        lab.delete(old) if moment == "plan" else lab.put_into(old, Status.DELETING)
        lab.cloud.world.add([new])

    plan = await lab.plan()
    if moment == "plan":
        make_anew()
    else:
        lab.when(moment, make_anew, notebook=old)
    run = await lab.apply(plan)
    assert (run.row(old).outcome, run.row(other).outcome) == ("gone", "changed")
    assert [record for record in run.log if record.notebook == OTHER_ID] == []
    assert new.status is Status.RUNNING
    assert new.image.name.startswith("pytorch1.8")
    assert run.report.debts == ()
