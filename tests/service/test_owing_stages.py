"""What a run owes of a notebook that its second stage found running, though it was stopped at plan time."""

from __future__ import annotations

from pathlib import Path

import pytest

from fleet.core.changing.sight import Sight
from fleet.core.events import Answered, Began, Ended, Event, Fate, Intended, Outcome, Saw, Step
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase, PlanScope
from fleet.journal.runs import JOURNAL
from fleet.journal.writer import InlineJournal
from fleet.service.owing import Debts, claim_key
from tests.plans import NEW, OLD, make_change, make_plan

RUN = "20261130-081500-k3f9"
SCOPE = PlanScope("lab-a", "cn-north-4", "0" * 32, "https://x.example.com", 1, "key", "")
OTHER = "33333333-3333-3333-3333-333333333333"
FIRST = make_change(0, run_state=Status.STOPPED)
SECOND = make_change(
    1,
    id=FIRST.id,
    wave=2,
    stage=2,
    follows=0,
    run_state=Status.STOPPED,
    phases=(Phase(When.STOPPED, {"image_id": OTHER}),),
    before={"image_id": NEW},
    after={"image_id": OTHER},
)
PLAN = make_plan(FIRST, SECOND, scopes=(SCOPE,), created_at=1000.0)
EVENTS: tuple[Event, ...] = (
    Began(0, 1100.0),
    Ended(0, 1101.0, Outcome.CHANGED),
    Began(1, 1900.0),
    Saw(1, 1901.0, Sight(Status.RUNNING, {"image_id": NEW})),
    Intended(1, 1902.0, Step.STOP, 1),
    Answered(1, 1903.0, Step.STOP, Fate.ACCEPTED, status=200),
)


@pytest.mark.parametrize(("found", "owed"), [(Status.STOPPED, True), (Status.RUNNING, False)])
async def test_it_is_owed_until_it_runs_again(tmp_path: Path, found: Status, owed: bool) -> None:
    folder = tmp_path / RUN
    folder.mkdir()
    journal = InlineJournal.create(folder / JOURNAL, PLAN, RUN)
    for event in EVENTS:
        await journal.commit(event)
    journal.close()
    later = make_plan(make_change(0, OLD, run_state=found), scopes=(SCOPE,), created_at=3000.0)
    key = claim_key(SCOPE, FIRST.id)
    assert list(Debts(later).among(folder, [key])) == ([key] if owed else [])
