"""A small plan, its events, and both journals under one name."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

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
    Step,
)
from fleet.core.notebook import Lease, Status
from fleet.core.planning.plan import Plan, PlanScope, Settled
from fleet.journal.writer import InlineJournal, Journal
from tests import plans
from tests.plans import NEW, OLD

Make = type[Journal] | type[InlineJournal]


@pytest.fixture
def make_plan() -> Callable[[int], Plan]:
    """A sealed plan with so many changes, and one notebook that needs none."""

    def make(size: int) -> Plan:
        changes = tuple(
            plans.make_change(item, lease=Lease(enable=True, create_at=1_000_000, duration=7_200_000))
            for item in range(size)
        )
        done = Settled(size, "lab-a", "id-done", "done", "bob", Outcome.UNCHANGED, "already so", "RUNNING")
        scope = PlanScope("lab-a", "cn-north-4", "0" * 32, "https://x", size + 1, "key", "60/min")
        return plans.make_plan(*changes, scopes=(scope,), settled=(done,))

    return make


@pytest.fixture
def plan(make_plan: Callable[[int], Plan]) -> Plan:
    return make_plan(3)


@pytest.fixture
def history(plan: Plan) -> list[Event]:
    """A run in which every notebook of the plan is changed."""
    events: list[Event] = [RunStarted(1001.0, "20261130-081500-k3f9", plan.digest)]
    for change in plan.changes:
        item, at = change.item, 1010.0 + change.item
        events += [
            Began(item, at),
            Saw(item, at, Sight(Status.RUNNING, {"image_id": OLD}), request_id="g1"),
            Intended(item, at, Step.STOP, 1),
            Answered(item, at + 1, Step.STOP, Fate.ACCEPTED, status=200, request_id="s1"),
            Saw(item, at + 30, Sight(Status.STOPPED, {"image_id": OLD}), sends=0),
            Intended(item, at + 31, Step.PUT, 1, {"image_id": NEW}),
            Answered(item, at + 32, Step.PUT, Fate.ACCEPTED, status=200, request_id="p1"),
            Intended(item, at + 33, Step.START, 1, {"duration": 7_000_000, "type": "TIMING"}),
            Answered(item, at + 34, Step.START, Fate.ACCEPTED, status=200, request_id="t1"),
            Saw(item, at + 90, Sight(Status.RUNNING, {"image_id": NEW}), request_id="g2"),
            Ended(item, at + 91, Outcome.CHANGED),
        ]
    return [*events, RunEnded(1200.0, RunEnd.FINISHED)]


@pytest.fixture(params=[Journal, InlineJournal], ids=["thread", "inline"])
def kind(request: pytest.FixtureRequest) -> Make:
    """Both journals keep the same contract."""
    made: Make = request.param
    return made


@pytest.fixture
def path(tmp_path: Path) -> Path:
    folder = tmp_path / "20261130-081500-k3f9"
    folder.mkdir(mode=0o700)
    return folder / "journal.db"
