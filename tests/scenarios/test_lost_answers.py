"""Answers stay out, or say 5xx: every write is applied once, and none is sent again before a look."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.core.events import RunEnd
from fleet.simulator.faults import (
    FailingStart,
    Fault,
    LostAnswer,
    Match,
    ServerError,
    SlowAnswer,
    Throttled,
)
from fleet.simulator.routing import Operation
from fleet.simulator.states import Status

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime

WRITES = {
    "stop": Operation.STOP_NOTEBOOK,
    "put": Operation.UPDATE_NOTEBOOK,
    "start": Operation.START_NOTEBOOK,
}
FAULTS: dict[str, tuple[bool, Callable[[Match, int], Fault]]] = {
    "lost after": (True, lambda match, times: LostAnswer(match=match, times=times, applied=True)),
    "lost before": (False, lambda match, times: LostAnswer(match=match, times=times, applied=False)),
    "500 after": (True, lambda match, times: ServerError(match=match, times=times, applied=True)),
    "500 before": (False, lambda match, times: ServerError(match=match, times=times, applied=False)),
    "504 after": (True, lambda match, times: ServerError(match=match, times=times, applied=True, status=504)),
    "503 before": (
        False,
        lambda match, times: ServerError(match=match, times=times, applied=False, status=503),
    ),
    "too late": (True, lambda match, times: SlowAnswer(match=match, times=times, seconds=45.0)),
}


@pytest.mark.row(3, 4, 8, 11, 12)
@pytest.mark.parametrize("step", WRITES)
@pytest.mark.parametrize("fault", FAULTS)
async def test_a_write_without_an_answer_is_applied_once(world: MakeLab, step: str, fault: str) -> None:
    applied, make = FAULTS[fault]
    lab = await world(running=1, faults=[make(Match(operation=WRITES[step]), 1)])
    run = await lab.go()
    assert (run.outcomes, run.report.exit) == (["changed"], Exit.DONE)
    assert run.calls(applied=True) == ["stop", "put", "start"]
    assert run.calls().count(step) == (1 if applied else 2)
    assert run.findings() == []
    sent = [index for index, record in enumerate(run.log) if record.operation == WRITES[step]]
    for first, second in pairwise(sent):
        assert "ShowNotebook" in [record.operation for record in run.log[first:second]]


@pytest.mark.row(11, 12)
@pytest.mark.parametrize("applied", [True, False])
async def test_every_write_of_a_small_fleet_may_lose_its_answer(world: MakeLab, applied: bool) -> None:
    faults = [LostAnswer(match=Match(operation=one), times=4, applied=applied) for one in WRITES.values()]
    lab = await world(running=4, stopped=2, faults=faults)
    run = await lab.go()
    assert run.outcomes == ["changed"] * 6
    for notebook in lab.notebooks:
        ran = run.row(notebook).run_state_before == "RUNNING"
        assert run.calls(notebook, applied=True) == (["stop", "put", "start"] if ran else ["put"])
    assert run.findings() == []


@pytest.mark.parametrize("operation", [Operation.SHOW_NOTEBOOK, Operation.LIST_ALL_NOTEBOOKS])
async def test_reads_are_simply_tried_again(world: MakeLab, operation: Operation) -> None:
    faults = [
        LostAnswer(match=Match(operation=operation), times=3),
        ServerError(match=Match(operation=operation), times=3, status=502),
    ]
    lab = await world(running=1, faults=faults)
    run = await lab.go()
    assert (run.outcomes, run.calls()) == (["changed"], ["stop", "put", "start"])


@pytest.mark.row(6)
async def test_a_cloud_that_never_answers_stops_is_given_up_with_everything_running(world: MakeLab) -> None:
    lost = LostAnswer(match=Match(operation=Operation.STOP_NOTEBOOK), applied=False)
    lab = await world(running=1, faults=[lost])
    run = await lab.go()
    assert (run.outcomes, run.report.exit) == (["failed"], Exit.SOME_FAILED)
    assert "would not stop" in run.only.reason
    assert run.calls() == ["stop", "stop"]
    assert (run.report.debts, run.findings()) == ((), [])


@pytest.mark.parametrize("seed", range(4))
async def test_in_bad_weather_every_row_tells_the_truth(world: MakeLab, seed: int) -> None:
    faults = [
        LostAnswer(probability=0.08, applied=True),
        LostAnswer(probability=0.05, applied=False),
        ServerError(probability=0.05, status=502, applied=True),
        Throttled(probability=0.05, limit=600, seconds=60),
        FailingStart(probability=0.2),
    ]
    lab = await world(running=14, stopped=4, seed=seed, faults=faults)
    run = await lab.go()
    assert run.end is RunEnd.FINISHED
    assert set(run.outcomes) <= {"changed", "failed", "stranded"}
    assert "changed" in run.outcomes
    for notebook in lab.notebooks:
        row = run.row(notebook)
        applied = run.calls(notebook, applied=True)
        ran = row.run_state_before == "RUNNING"
        assert row.debt == (ran and notebook.status is not Status.RUNNING)
        assert row.debt == (row.outcome == "stranded")
        assert applied.count("stop") <= ran
        assert applied.count("put") <= (2 if "the old value was put back" in row.reason else 1)
        assert notebook.image.name.startswith("pytorch2.6" if row.outcome == "changed" else "pytorch1.8")
    stranded = [notebook for notebook in lab.notebooks if run.row(notebook).debt]
    assert run.findings(*stranded) == []
