"""What is counted while events are written agrees with what all of them add up to."""

from __future__ import annotations

import pytest

from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
    Ended,
    Fate,
    Intended,
    Late,
    Outcome,
    Reopened,
    Step,
)
from fleet.core.fold import fold
from fleet.core.planning.plan import Plan
from fleet.journal.tally import Tally

BEGUN = (Began(0, 1.0), Intended(0, 2.0, Step.PUT, 1, {"image_id": "x"}))
LOST = Ended(0, 3.0, Outcome.UNKNOWN)


@pytest.mark.parametrize(
    ("then", "written"),
    [
        ([LOST], True),
        ([Ended(0, 3.0, Outcome.DRIFTED)], True),
        ([Ended(0, 3.0, Outcome.NOT_STARTED)], False),
        ([LOST, Late(0, 4.0), LOST], False),  # it got no further than the journal
        ([LOST, Reopened(0, 4.0), Late(0, 5.0), LOST], True),
        ([LOST, Blind(0, 4.0, Meaning.UNREACHABLE, "no"), LOST], True),
        ([Late(0, 3.0), LOST], False),
        ([Answered(0, 3.0, Step.PUT, Fate.REFUSED), LOST], False),
        ([Answered(0, 3.0, Step.PUT, Fate.IN_DOUBT), LOST], True),
        ([Intended(0, 3.0, Step.START, 1), LOST], True),
    ],
)
def test_a_put_that_may_have_been_applied_is_counted_as_written(
    plan: Plan, then: list[ChangeEvent], written: bool
) -> None:
    tally = Tally.of(plan)
    for event in (*BEGUN, *then):
        tally.take(event)
    assert not tally.dump()["pending"]
    assert tally.dump()["written"] is written
    assert any(row.written for row in fold(plan, [*BEGUN, *then]).change_rows()) is written
