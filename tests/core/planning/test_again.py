"""What an earlier run says of its notebooks: which values it gave them, and what may be taken back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from fleet.core.catalog import Catalog
from fleet.core.events import Answered, Event, Fate, Intended, Outcome, Step
from fleet.core.job import Context, Skip
from fleet.core.notebook import Flavor, Image, Notebook, Status, Volume
from fleet.core.patch import from_body
from fleet.core.planning.again import Again, Past, Recall, Writes, retry, undo
from fleet.core.planning.one_notebook import Target, plan_one
from fleet.core.planning.plan import Change, Settled
from fleet.core.rollout import Disruption, Rollout
from fleet.core.rows import Row
from tests.plans import make_change

OLD, NEW, THIRD = (f"{digit * 8}-0000-0000-0000-000000000000" for digit in "123")
ID = "f9937afa-4451-42db-a76b-72d624749f66"
CONTEXT = Context("lab-a", Catalog(images={}, flavors={}), 0)
HOOKS = {"container_hooks": {"pre_start": {"script": "/x", "type": "SCRIPT"}}}


def row(
    outcome: Outcome, before: Mapping[str, Any], after: Mapping[str, Any] | None = None, fix: str = ""
) -> Row:
    return Row(
        item=0,
        scope="lab-a",
        id=ID,
        name="nb",
        owner="ada",
        wave=1,
        outcome=outcome,
        reason="",
        before=before,
        after=before if after is None else after,
        run_state_before="RUNNING",
        run_state_after="RUNNING",
        lease_before=None,
        lease_after=None,
        fix=fix,
    )


def put(body: Mapping[str, Any], fate: Fate | None) -> list[Event]:
    """A PUT and what became of it; None when the process died before the answer."""
    sent: list[Event] = [Intended(0, 1.0, Step.PUT, 1, body)]
    return sent if fate is None else [*sent, Answered(0, 2.0, Step.PUT, fate)]


def past(row: Row, wanted: Mapping[str, Any]) -> Past:
    """A notebook that one change was to give `wanted`."""
    return Past(row, ((make_change(row.item, id=ID, before=row.before, after=wanted), row),))


def seen(*events: Event) -> Writes:
    writes = Writes()
    for event in events:
        writes.see(event)
    return writes


def notebook(
    image: str = OLD, *, name: str = "nb", size: int = 50, status: Status = Status.RUNNING
) -> Notebook:
    return Notebook(ID, status, name=name, image=Image(image), volume=Volume("EVS", size))


def taken_back(
    row: Row, wanted: Mapping[str, Any], found: Notebook, *events: Event, gaps: bool = False
) -> Any:
    """What undo proposes for `found`: the body of the PUT, or the outcome and reason of leaving it alone."""
    recalls = undo([past(row, wanted)], seen(*events), gaps=gaps)
    job = Again(recalls=recalls)
    planned = plan_one(Target(found, CONTEXT), job, Rollout(disruption=Disruption.RESTART))
    if isinstance(planned, Settled):
        return planned.outcome, planned.reason
    assert isinstance(planned, Change)
    return dict(planned.after)


IMAGE = {"image_id": NEW}
WAS = {"image_id": OLD}


@pytest.mark.parametrize("fate", [Fate.ACCEPTED, Fate.IN_DOUBT, None])
@pytest.mark.parametrize(
    "outcome", [Outcome.UNKNOWN, Outcome.STRANDED, Outcome.FAILED, Outcome.DRIFTED, Outcome.GONE]
)
def test_a_put_that_arrived_or_may_have_is_taken_back_however_the_change_ended(
    outcome: Outcome, fate: Fate | None
) -> None:
    assert taken_back(row(outcome, WAS), IMAGE, notebook(NEW), *put(IMAGE, fate)) == WAS


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN, Outcome.NOT_STARTED, Outcome.DRIFTED])
def test_a_put_that_was_refused_or_never_sent_is_no_business_of_undo(outcome: Outcome) -> None:
    for events in ([], put(IMAGE, Fate.REFUSED)):
        assert undo([past(row(outcome, WAS), IMAGE)], seen(*events)) == {}


def test_a_put_in_doubt_stays_so_when_the_next_one_is_refused() -> None:
    assert seen(*put(IMAGE, Fate.IN_DOUBT), *put(IMAGE, Fate.REFUSED)).fields(0) == {"image_id"}
    assert seen(*put(IMAGE, None), *put(IMAGE, Fate.REFUSED)).fields(0) == {"image_id"}
    assert seen(*put(IMAGE, None)).fields(1) == set()


def test_other_writes_say_nothing_of_fields() -> None:
    assert seen(Intended(0, 1.0, Step.START, 1, {"duration": 1})).fields(0) == set()


def test_what_was_changed_is_taken_back_even_where_no_put_of_ours_can_be_seen() -> None:
    assert taken_back(row(Outcome.CHANGED, WAS, IMAGE), IMAGE, notebook(NEW)) == WAS


def test_one_that_is_as_before_is_unchanged() -> None:
    told = taken_back(row(Outcome.UNKNOWN, WAS), IMAGE, notebook(OLD), *put(IMAGE, Fate.IN_DOUBT))
    assert told == (Outcome.UNCHANGED, "already so")


def test_one_that_holds_what_somebody_else_gave_it_is_drifted() -> None:
    outcome, reason = taken_back(
        row(Outcome.DRIFTED, WAS), IMAGE, notebook(THIRD), *put(IMAGE, Fate.ACCEPTED)
    )
    assert outcome is Outcome.DRIFTED
    assert reason == f"image_id is {THIRD}, was {NEW} as the run left it"


def test_of_a_change_in_two_steps_only_the_step_that_was_sent_is_taken_back() -> None:
    both = {"name": "new", "image_id": NEW}
    before = {"name": "nb", "image_id": OLD}
    found = notebook(NEW, name="new")  # somebody else chose the same image
    assert taken_back(row(Outcome.FAILED, before), both, found, *put({"name": "new"}, Fate.ACCEPTED)) == {
        "name": "nb"
    }


def test_a_row_whose_old_value_was_put_back_is_unchanged() -> None:
    events = [*put(IMAGE, Fate.ACCEPTED), *put(WAS, Fate.ACCEPTED)]
    told = taken_back(row(Outcome.FAILED, WAS), IMAGE, notebook(OLD), *events)
    assert told == (Outcome.UNCHANGED, "already so")


FIX = f"fleet start --scope lab-a {ID} --duration 3600000 --type TIMING"


@pytest.mark.parametrize(
    "status", [Status.STOPPED, Status.START_FAILED, Status.FROZEN, Status.ERROR, Status.STOPPING]
)
def test_a_stranded_one_is_left_out_with_the_command_that_comes_first(status: Status) -> None:
    told = taken_back(
        row(Outcome.STRANDED, WAS, fix=FIX), IMAGE, notebook(NEW, status=status), *put(IMAGE, Fate.ACCEPTED)
    )
    assert told == (Outcome.SKIPPED, f"left away by the run: bring it back first with: {FIX}")


@pytest.mark.parametrize("status", [Status.RUNNING, Status.STARTING])
def test_a_stranded_one_that_somebody_brought_back_is_taken_back(status: Status) -> None:
    found = notebook(NEW, status=status)
    assert taken_back(row(Outcome.STRANDED, WAS, fix=FIX), IMAGE, found, *put(IMAGE, Fate.ACCEPTED)) == WAS


@pytest.mark.parametrize(
    ("status", "outcome"), [(Status.STOPPED, Outcome.SKIPPED), (Status.RUNNING, Outcome.UNCHANGED)]
)
def test_a_stranded_one_that_was_not_written_to_gets_a_row_all_the_same(
    status: Status, outcome: Outcome
) -> None:
    found = notebook(OLD, status=status)
    told = taken_back(row(Outcome.STRANDED, WAS, fix=FIX), IMAGE, found)
    assert told[0] is outcome
    assert (FIX in told[1]) is (status is Status.STOPPED)


def test_one_that_is_owed_as_the_run_broke_off_comes_home_first() -> None:
    owed = replace(row(Outcome.STRANDED, WAS, fix=FIX), outcome=None, debt=True)
    told = taken_back(owed, IMAGE, notebook(OLD, status=Status.STOPPED))
    assert told == (Outcome.SKIPPED, f"left away by the run: bring it back first with: {FIX}")


GROWN = {"storage_new_size": 80}


@pytest.mark.parametrize(
    ("size", "outcome"), [(80, Outcome.SKIPPED), (50, Outcome.UNCHANGED), (99, Outcome.DRIFTED)]
)
def test_a_disk_that_may_have_grown_is_told_as_it_is(size: int, outcome: Outcome) -> None:
    events = put(GROWN, Fate.IN_DOUBT)
    told = taken_back(row(Outcome.UNKNOWN, {"storage_new_size": 50}), GROWN, notebook(size=size), *events)
    assert told[0] is outcome


@pytest.mark.parametrize(
    ("size", "remark"), [(80, ("storage_new_size cannot be undone and stays",)), (50, ())]
)
def test_what_stays_is_remarked_only_where_it_happened(size: int, remark: tuple[str, ...]) -> None:
    wanted = {**GROWN, **IMAGE}
    failed = row(Outcome.FAILED, {"storage_new_size": 50, **WAS})
    writes = seen(*put(GROWN, Fate.IN_DOUBT), *put(IMAGE, Fate.ACCEPTED))
    job = Again(recalls=undo([past(failed, wanted)], writes))
    assert job.remarks(notebook(NEW, size=size), CONTEXT) == remark
    assert job.propose(notebook(NEW, size=size), CONTEXT) == from_body(WAS)


def test_hooks_cannot_be_taken_back() -> None:
    told = taken_back(row(Outcome.CHANGED, {}, {"hooks": HOOKS}), {"hooks": HOOKS}, notebook())
    assert told == (Outcome.SKIPPED, "cannot be undone: hooks")


@pytest.mark.parametrize("outcome", Outcome)
def test_with_gaps_in_the_journal_every_change_may_have_been_written_that_did_not_end_without(
    outcome: Outcome,
) -> None:
    found = undo([past(row(outcome, WAS), IMAGE)], Writes(), gaps=True)
    assert bool(found) == (outcome not in (Outcome.UNCHANGED, Outcome.SKIPPED, Outcome.NOT_STARTED))


def test_a_row_that_the_plan_settled_is_not_touched() -> None:
    assert undo([Past(row(Outcome.GONE, WAS))], Writes(), gaps=True) == {}


def test_retry_takes_the_chosen_rows_that_the_plan_was_to_change() -> None:
    failed = past(row(Outcome.FAILED, WAS), IMAGE)
    assert retry([failed], Writes(), [Outcome.FAILED]) == {
        ("lab-a", ID): Recall("nb", (IMAGE,), holds={"image_id": ()}, before=WAS)
    }
    assert retry([failed], Writes(), [Outcome.DRIFTED]) == {}
    assert retry([Past(failed.row)], Writes(), [Outcome.FAILED]) == {}


def tried_again(wanted: Mapping[str, Any], was: Mapping[str, Any], found: Notebook, *events: Event) -> Any:
    """What retry proposes for `found`: the body of the PUT, or the outcome and reason of leaving it alone."""
    recalls = retry([past(row(Outcome.FAILED, was), wanted)], seen(*events), [Outcome.FAILED])
    planned = plan_one(Target(found, CONTEXT), Again(recalls=recalls), Rollout(disruption=Disruption.RESTART))
    if isinstance(planned, Settled):
        return planned.outcome, planned.reason
    assert isinstance(planned, Change)
    return dict(planned.after)


BOTH, BOTH_WAS = {"name": "new", "image_id": NEW}, {"name": "nb", "image_id": OLD}


def test_retry_makes_the_change_where_the_values_from_before_are_still_there() -> None:
    assert tried_again(IMAGE, WAS, notebook(OLD)) == IMAGE
    assert tried_again(BOTH, BOTH_WAS, notebook(OLD)) == BOTH


def test_retry_leaves_alone_what_somebody_has_given_another_value_since() -> None:
    told = (Outcome.DRIFTED, f"image_id is {THIRD}, was {OLD} as the run left it")
    assert tried_again(IMAGE, WAS, notebook(THIRD)) == told
    assert tried_again(BOTH, BOTH_WAS, notebook(THIRD)) == told
    outcome, reason = tried_again(BOTH, BOTH_WAS, notebook(OLD, name="theirs"))
    assert (outcome, reason) == (Outcome.DRIFTED, "name is theirs, was nb as the run left it")


def test_retry_goes_on_from_a_value_that_the_run_gave() -> None:
    first = {"name": "new"}
    found = notebook(OLD, name="new")
    assert tried_again(BOTH, BOTH_WAS, found, *put(first, Fate.ACCEPTED)) == IMAGE
    assert tried_again(BOTH, BOTH_WAS, found, *put(first, Fate.IN_DOUBT)) == IMAGE
    assert tried_again(BOTH, BOTH_WAS, found, *put(first, Fate.REFUSED))[0] is Outcome.DRIFTED
    assert tried_again(BOTH, BOTH_WAS, notebook(THIRD, name="new"), *put(first, Fate.ACCEPTED)) == (
        Outcome.DRIFTED,
        f"image_id is {THIRD}, was {OLD} as the run left it",
    )


def test_what_somebody_else_brought_to_its_end_is_unchanged_for_retry() -> None:
    assert tried_again(BOTH, BOTH_WAS, notebook(NEW, name="new")) == (Outcome.UNCHANGED, "already so")


def test_what_no_answer_shows_is_retried() -> None:
    assert tried_again({"hooks": HOOKS}, {}, notebook()) == {"hooks": HOOKS}
    assert tried_again({"hooks": HOOKS, **IMAGE}, WAS, notebook(THIRD))[0] is Outcome.DRIFTED


def test_with_gaps_in_the_journal_retry_takes_every_planned_value_for_one_that_was_given() -> None:
    failed = past(row(Outcome.FAILED, BOTH_WAS), BOTH)
    job = Again(recalls=retry([failed], Writes(), [Outcome.FAILED], gaps=True))
    assert not isinstance(job.propose(notebook(OLD, name="new"), CONTEXT), Skip)
    assert isinstance(job.propose(notebook(THIRD, name="new"), CONTEXT), Skip)


@pytest.mark.parametrize(
    ("wanted", "flavor", "asked"),
    [
        ({"flavor": "small"}, "large", True),
        ({"image_id": OLD}, "large", False),
        ({"image_id": OLD}, "of a pool", True),
        ({"name": "old"}, "of a pool", False),
    ],
)
def test_the_cloud_is_asked_for_flavors_where_the_way_back_depends_on_them(
    wanted: dict[str, Any], flavor: str, asked: bool
) -> None:
    job = Again(recalls={("lab-a", ID): Recall("nb", (wanted,))})
    context = Context("lab-a", Catalog(flavors={"large": Flavor("large")}), 0)
    assert job.wants().switchable
    assert job.needs_switchable(Notebook(ID, Status.STOPPED, flavor=flavor), context) is asked
