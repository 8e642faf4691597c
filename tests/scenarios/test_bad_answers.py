"""The wire breaks in every way around a write: it is applied once, and looked for before it is sent again."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from fleet.core.errors import Exit
from fleet.simulator.faults import load_faults

if TYPE_CHECKING:
    from tests.scenarios.conftest import MakeLab

pytestmark = pytest.mark.looptime

OPERATIONS = {"stop": "StopNotebook", "put": "UpdateNotebook", "start": "StartNotebook"}


# What happens to the call, and whether the cloud carries it out.
FAULTS = [
    pytest.param("kind: server-error, status: 502, applied: true", True, marks=pytest.mark.row(4)),
    pytest.param("kind: server-error, status: 502, applied: false", False, marks=pytest.mark.row(4)),
    pytest.param("kind: server-error, status: 504, applied: true", True, marks=pytest.mark.row(4)),
    pytest.param("kind: server-error, status: 504, applied: false", False, marks=pytest.mark.row(4)),
    pytest.param("kind: slow-headers, seconds: 90", True, marks=pytest.mark.row(8)),
    pytest.param("kind: drip, seconds: 90", True, marks=pytest.mark.row(9)),
    pytest.param("kind: half-body, chunked: false", True, marks=pytest.mark.row(10)),
    pytest.param("kind: half-body, chunked: true", True, marks=pytest.mark.row(10)),
    pytest.param("kind: reset, applied: true", True, marks=pytest.mark.row(11)),
    pytest.param("kind: reset, applied: false", False, marks=pytest.mark.row(12)),
    pytest.param("kind: lost-answer, applied: true", True, marks=pytest.mark.row(13)),
    pytest.param("kind: html-page, status: 502, applied: true", True, marks=pytest.mark.row(26)),
    pytest.param("kind: html-page, status: 200, applied: true", True, marks=pytest.mark.row(27)),
    pytest.param("kind: html-page, status: 200, applied: false", False, marks=pytest.mark.row(26, 27)),
    pytest.param("kind: odd-answer, body: 'null'", True, marks=pytest.mark.row(28)),
    pytest.param("kind: odd-answer, body: deep", True, marks=pytest.mark.row(28)),
    pytest.param("kind: odd-answer, body: huge-numbers", True, marks=pytest.mark.row(28)),
    pytest.param("kind: bomb, megabytes: 20, compressed: true", True, marks=pytest.mark.row(29)),
    pytest.param("kind: bomb, megabytes: 20, compressed: false", True, marks=pytest.mark.row(29)),
    pytest.param("kind: redirect, status: 307, to: 'http://127.0.0.1:9/'", False, marks=pytest.mark.row(30)),
]


@pytest.mark.parametrize("step", OPERATIONS)
@pytest.mark.parametrize(("fault", "applied"), FAULTS)
async def test_a_write_with_a_bad_answer_is_applied_once_and_looked_for_before_it_is_sent_again(
    world: MakeLab, step: str, fault: str, applied: bool
) -> None:
    operation = OPERATIONS[step]
    faults = load_faults(f"[{{{fault}, match: {{operation: {operation}}}, times: 1}}]")
    lab = await world(running=1, faults=faults)
    run = await lab.go()
    assert (run.outcomes, run.report.exit, run.findings()) == (["changed"], Exit.DONE, [])
    assert run.calls(applied=True) == ["stop", "put", "start"]
    assert run.calls().count(step) == (1 if applied else 2)
    sent = [index for index, record in enumerate(run.log) if record.operation == operation]
    for first, second in pairwise(sent):
        assert "ShowNotebook" in [record.operation for record in run.log[first:second]]


@pytest.mark.parametrize("fault", [one.values[0] for one in FAULTS])
async def test_reads_with_bad_answers_are_tried_again(world: MakeLab, fault: str) -> None:
    lab = await world(
        running=1, faults=load_faults(f"[{{{fault}, match: {{method: GET}}, after: 1, times: 3}}]")
    )
    plan = await lab.plan()
    lab.slept = 2.0
    run = await lab.apply(plan)
    assert (run.outcomes, run.findings()) == (["changed"], [])
    assert run.calls() == ["stop", "put", "start"]
    assert sum(record.operation == "ShowNotebook" for record in run.log) > 3
