"""The first refusal that is not about one notebook alone closes its group."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import Answered, ChangeEvent, Ended, Fate, Outcome, Saw, Step
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.closing import Group, closed_by, groups_of
from fleet.core.planning.plan import Change, Phase

Planned = Callable[..., Change]
NEW_FLAVOR = Group("lab-a", "new-flavor")
SCOPE = Group("lab-a")


def refused(step: Step, meaning: Meaning) -> Answered:
    return Answered(0, 0.0, step, Fate.REFUSED, meaning=meaning)


@pytest.mark.row(35, 36)
@pytest.mark.parametrize(
    ("event", "closed"),
    [
        (refused(Step.START, Meaning.SOLD_OUT), (NEW_FLAVOR, Meaning.SOLD_OUT)),
        (refused(Step.PUT, Meaning.SOLD_OUT), (NEW_FLAVOR, Meaning.SOLD_OUT)),
        (refused(Step.PUT, Meaning.QUOTA), (NEW_FLAVOR, Meaning.QUOTA)),
        (refused(Step.START, Meaning.QUOTA), (NEW_FLAVOR, Meaning.QUOTA)),
        (refused(Step.LEASE, Meaning.QUOTA), None),
        (refused(Step.STOP, Meaning.FROZEN), (SCOPE, Meaning.FROZEN)),
        (refused(Step.PUT, Meaning.FROZEN), (SCOPE, Meaning.FROZEN)),
        (Saw(0, 0.0, Sight(Status.FROZEN)), (SCOPE, Meaning.FROZEN)),
        (Saw(0, 0.0, Sight(Status.START_FAILED)), None),
        (refused(Step.PUT, Meaning.INVALID), None),
        (Answered(0, 0.0, Step.START, Fate.ACCEPTED), None),
        (Ended(0, 0.0, Outcome.FAILED), None),
    ],
)
def test_what_an_event_closes(
    planned: Planned, event: ChangeEvent, closed: tuple[Group, Meaning] | None
) -> None:
    assert closed_by(event, planned(), sent=True) == closed


def test_a_notebook_seen_frozen_before_anything_was_sent_closes_nothing(planned: Planned) -> None:
    assert closed_by(Saw(0, 0.0, Sight(Status.FROZEN)), planned(), sent=False) is None


def test_a_change_that_keeps_its_flavor_belongs_to_that_one(planned: Planned) -> None:
    image_only = planned(Status.RUNNING, Phase(When.STOPPED, {"image_id": "new-image"}))
    assert groups_of(image_only) == (Group("lab-a", "old-flavor"), SCOPE)
    assert groups_of(planned()) == (NEW_FLAVOR, SCOPE)


def test_groups_are_told_by_name() -> None:
    assert [str(NEW_FLAVOR), str(SCOPE)] == ["flavor new-flavor in lab-a", "scope lab-a"]
