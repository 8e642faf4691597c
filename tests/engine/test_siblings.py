"""A bug of ours, or a notebook that we may not touch: what the other changes have to do with it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet.core.calls import Receipt
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Outcome, RunEnd
from fleet.core.fold import fold
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]


def break_put(made: Any, key: str) -> Callable[[], None]:
    """The PUT of one notebook finds a bug of ours; returns what mends it."""
    put = made.cloud.put

    async def broken(notebook_id: str, body: Any, turn: Any) -> Receipt:
        if notebook_id == key:
            raise ZeroDivisionError
        receipt: Receipt = await put(notebook_id, body, turn)
        return receipt

    made.cloud.put = broken

    def mend() -> None:
        made.cloud.put = put

    return mend


@pytest.mark.row(69)
@pytest.mark.parametrize("seconds", [0.0, 0.05, 1.0, 40.0])
async def test_a_bug_in_one_change_leaves_no_other_stopped(bench: Making, seconds: float) -> None:
    """The others come home, nothing new starts, and the broken one is told truthfully and can be resumed."""
    made = bench(6, concurrency=6)
    mend = break_put(made, "nb-2")
    made.cloud.call_takes += seconds
    assert await made.run() is RunEnd.HALTED
    broken = made.ended[2]
    assert (broken.outcome, broken.debt) == (Outcome.STRANDED, True)
    assert "ZeroDivisionError" in broken.reason
    assert all(event.outcome is Outcome.CHANGED for item, event in made.ended.items() if item != 2)
    mend()
    past = fold(made.plan, made.recorder.events).earlier()
    clouds, poll, control = {"lab-a": made.cloud}, {"lab-a": 20.0}, Control()
    end = await run_plan(made.plan, "run", clouds, made.tape, made.clock, control, poll, past)
    assert end is RunEnd.FINISHED
    assert all(made.cloud.read(key).image.id == "new" for key in made.cloud.notebooks)


@pytest.mark.row(19)
@pytest.mark.parametrize(("step", "outcome"), [("stop", Outcome.FAILED), ("put", Outcome.FAILED)])
async def test_a_notebook_that_we_may_not_touch_fails_alone(
    bench: Making, call_error: Failing, step: str, outcome: Outcome
) -> None:
    made = bench(3, concurrency=1)
    made.cloud.refuse[step] = [call_error(Meaning.FORBIDDEN, "ModelArts.0112")]
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [outcome, Outcome.CHANGED, Outcome.CHANGED]
    assert "it was forbidden" in made.ended[0].reason
    assert made.log.words().count(f"send {step} nb-0") == 1
