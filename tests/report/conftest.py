"""One run with an outcome of nearly every kind, as a report."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet.core.changing.sight import Sight
from fleet.core.events import (
    Answered,
    Began,
    Ended,
    Event,
    Fate,
    Intended,
    Outcome,
    RunEnd,
    RunEnded,
    RunStarted,
    Saw,
    Slowed,
    Spent,
    Step,
)
from fleet.core.fold import RunState, fold
from fleet.core.notebook import Lease, Status
from fleet.core.pacing.limits import Limit
from fleet.core.planning.plan import Plan, Settled
from fleet.report.summary import Report, summarize
from tests import plans

RUN = "20261130-081500-k3f9"
START = 1_796_026_500.0
LEASE = Lease(enable=True, create_at=int(START * 1000), duration=7_200_000)

MakePlan = Callable[..., Plan]


@pytest.fixture
def make_plan() -> MakePlan:
    """A plan of one change for each name, and one settled notebook."""

    def make(*names: str, stopped: frozenset[int] = frozenset()) -> Plan:
        changes = tuple(
            plans.make_change(
                item,
                "old",
                "new",
                id=f"id-{item}",
                name=name,
                run_state=Status.STOPPED if item in stopped else Status.RUNNING,
                lease=LEASE,
            )
            for item, name in enumerate(names)
        )
        skipped = Settled(
            len(names), "lab-a", "id-last", "keep-me", "bob", Outcome.SKIPPED, "protected", "STOPPED"
        )
        return plans.make_plan(*changes, created_at=START, settled=(skipped,))

    return make


def changed(item: int, at: float, away: float) -> list[Event]:
    """A RUNNING notebook stopped, updated and started again."""
    accepted = Fate.ACCEPTED
    return [
        Began(item, at),
        Saw(item, at, Sight(Status.RUNNING, {"image_id": "old"}, LEASE, 7_200_000), request_id="g1"),
        Intended(item, at + 1, Step.STOP, 1),
        Answered(item, at + 2, Step.STOP, accepted, request_id="s1"),
        Saw(item, at + 60, Sight(Status.STOPPED, {"image_id": "old"}), sends=0),
        Intended(item, at + 61, Step.PUT, 1, {"image_id": "new"}),
        Answered(item, at + 62, Step.PUT, accepted, request_id="p1"),
        Intended(item, at + 63, Step.START, 1),
        Answered(item, at + 64, Step.START, accepted, request_id="t1"),
        Saw(
            item, at + 1 + away, Sight(Status.RUNNING, {"image_id": "new"}, LEASE, 7_000_000), request_id="g2"
        ),
        Ended(item, at + 2 + away, Outcome.CHANGED),
    ]


@pytest.fixture
def state(make_plan: MakePlan) -> RunState:
    """Five changes: two changed, one failed, one left stopped, one never started."""
    plan = make_plan("nb-0", "nb-1", "nb-2", "nb-3", "nb-4", stopped=frozenset({1}))
    events: list[Event] = [
        RunStarted(START, RUN, plan.digest),
        Slowed(START + 1, "writes of lab-a", "keeping to 30/min", Limit("user", 30, 60.0)),
        Slowed(START + 2, "writes of lab-a", "keeping to 10/s", Limit("api", 10, 1.0)),
        Slowed(START + 3, "reads of lab-a", "pausing for 9 s"),
        Spent(START + 4, "lab-a", {"put": 2, "stop": 2, "start": 1, "list": 5, "login": 1}),
        *changed(0, START + 10, away=150.0),
        Began(1, START + 20),
        Intended(1, START + 21, Step.PUT, 1, {"image_id": "new"}),
        Answered(1, START + 22, Step.PUT, Fate.ACCEPTED, request_id="p2"),
        Saw(1, START + 23, Sight(Status.STOPPED, {"image_id": "new"}), request_id="g3"),
        Ended(1, START + 24, Outcome.CHANGED),
        Began(2, START + 30),
        Ended(2, START + 31, Outcome.FAILED, "stop refused: ModelArts.6404"),
        Began(3, START + 40),
        Saw(3, START + 40, Sight(Status.RUNNING, {"image_id": "old"}, LEASE, 7_160_000), request_id="g4"),
        Intended(3, START + 40, Step.STOP, 1),
        Saw(3, START + 100, Sight(Status.STOPPED, {"image_id": "old"}), sends=0),
        Ended(
            3, START + 400, Outcome.STRANDED, "START_FAILED", debt=True, fix="fleet start --scope lab-a id-3"
        ),
        Spent(START + 499, "lab-a", {"get": 7, "list": 3}),
        RunEnded(START + 500, RunEnd.HALTED, "2 failed"),
    ]
    return fold(plan, events)


@pytest.fixture
def report(state: RunState) -> Report:
    return summarize(state)
