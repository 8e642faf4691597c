"""Whoever takes a run up brings home what is owed before anything else is stopped."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from msgspec.structs import replace

from fleet.core.changing.sight import sight_of
from fleet.core.errors import Meaning
from fleet.core.events import Answered, Began, ChangeEvent, Fate, Intended, Outcome, RunEnd, Saw, Step
from fleet.core.fold import debts, fold
from fleet.core.notebook import Status
from fleet.engine.run import run_plan
from tests.virtual import EPOCH, IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]


def stopping(made: Any, item: int, answer: Answered) -> Iterator[ChangeEvent]:
    """A change that has come as far as the answer to its stop."""
    change = made.plan.changes[item]
    yield Began(item, EPOCH)
    yield Saw(item, EPOCH, sight_of(made.cloud.notebooks[change.id], change.after, int(EPOCH * 1000)))
    yield Intended(item, EPOCH, Step.STOP, 1)
    yield answer


def stopped(made: Any, item: int) -> Iterator[ChangeEvent]:
    yield from stopping(made, item, Answered(item, EPOCH, Step.STOP, Fate.ACCEPTED))
    key = made.plan.changes[item].id
    made.cloud.notebooks[key] = replace(made.cloud.notebooks[key], status=Status.STOPPED)


def refused(made: Any, item: int) -> Iterator[ChangeEvent]:
    return stopping(made, item, Answered(item, EPOCH, Step.STOP, Fate.REFUSED, meaning=Meaning.BUSY))


async def test_a_new_process_pays_every_debt_before_it_stops_a_notebook_again(bench: Making) -> None:
    made = bench(5, concurrency=2)
    events = [event for item in (0, 1) for event in refused(made, item)]
    events += [event for item in (2, 3) for event in stopped(made, item)]
    state = fold(made.plan, events)
    earlier = state.earlier()
    assert {debt.item for debt in debts(state)} == {2, 3}
    clouds, polls = {"lab-a": made.cloud}, {"lab-a": 20.0}
    end = await run_plan(made.plan, "run", clouds, made.tape, made.clock, made.control, polls, earlier)
    assert (end, made.outcomes) == (RunEnd.FINISHED, [Outcome.CHANGED] * 5)
    assert max(made.at("send start nb-2") + made.at("send start nb-3")) < min(made.at("send stop"))
