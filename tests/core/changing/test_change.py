"""The moves of a change: what an answer means in each stage, and every way home."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from fleet.core.changing.change import Await, advance, decide
from fleet.core.changing.life import BUSY_TRIES, HOUR_MS, LOOKS, TRIES, Stage
from fleet.core.changing.look_rules import GROW_LOOKS, STOPS_IN_DOUBT
from fleet.core.changing.reopen import is_open
from fleet.core.events import Ended, Outcome, Reopened, Step
from fleet.core.notebook import Lease, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase

Planned = Callable[..., Change]
Walking = Callable[..., Any]

NEW = {"image_id": "new-image", "flavor": "new-flavor"}
OLD = {"image_id": "old-image", "flavor": "old-flavor"}
IMAGE = Phase(When.STOPPED, {"image_id": "new-image"})
RENAME = Phase(When.ANY, {"name": "new"})
GROW = Phase(When.RUNNING, {"storage_new_size": 80})
SIZE = {"storage_new_size": 50}

STOPPED_BY_US = ("RUNNING", "stop ok", "STOPPED")
WRITTEN = (*STOPPED_BY_US, "put ok", "STOPPED new")
STARTED = (*WRITTEN, "start ok")
RENEWED = (*STARTED, "RUNNING default", "lease ok")
STILL_RUNNING = ("RUNNING",) * LOOKS
STILL_STOPPED = ("STOPPED",) * LOOKS


def test_a_running_notebook_is_stopped_changed_started_and_over_as_soon_as_a_look_shows_it_running(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned())(*STARTED)
    assert (walked.move, walked.life.debt) == ("await", True)
    walked("RUNNING")
    assert walked.end.outcome is Outcome.CHANGED
    assert (walked.end.reason, walked.end.debt, walked.end.fix) == ("", False, "")
    assert walked.life.tries == {Step.STOP: 1, Step.PUT: 0, Step.START: 1}


def test_a_stopped_notebook_is_changed_where_it_is(planned: Planned, walk: Walking) -> None:
    assert walk(planned(Status.STOPPED))("STOPPED", "put ok", "STOPPED new").move == "end changed"


def test_a_stopped_notebook_that_had_to_run_for_a_put_is_stopped_again(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))
    walked("STOPPED", "start ok", "RUNNING", "put ok", "RUNNING new", "stop ok", "STOPPED", "STOPPED")
    assert walked.end.outcome is Outcome.CHANGED
    assert walked.life.tried(Step.LEASE) == 0


def test_each_phase_is_sent_in_its_own_state_and_what_runs_goes_first(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.RUNNING, GROW, IMAGE, before={**OLD, **SIZE}))("RUNNING")
    assert walked.body == GROW.body
    walked("put ok")
    walked.values.update(GROW.body)
    walked("RUNNING", "stop ok", "STOPPED")
    assert walked.body == IMAGE.body


def test_waiting_is_for_the_end_of_what_we_began_or_saw(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", "stop ok")
    assert decide(walked.life) == Await(Status.STOPPING)
    assert decide(walked("STOPPED", "put ok", "STOPPED new", "start ok").life) == Await(Status.STARTING)
    assert decide(walk(planned(arriving=True))("SNAPSHOTTING").life) == Await(Status.SNAPSHOTTING)


# --- answers ---------------------------------------------------------------------------------------------


@pytest.mark.row(3, 11)
@pytest.mark.parametrize("answer", ["lost", "500", "busy"])
@pytest.mark.parametrize(
    ("way", "step", "stage"),
    [
        (("RUNNING",), "stop", Stage.STOP_SETTLE),
        (STOPPED_BY_US, "put", Stage.PUT_SETTLE),
        (WRITTEN, "start", Stage.START_SETTLE),
    ],
)
def test_a_write_whose_fate_is_open_is_looked_at_before_anything_else(
    planned: Planned, walk: Walking, way: tuple[str, ...], step: str, stage: Stage, answer: str
) -> None:
    walked = walk(planned())(*way, f"{step} {answer}")
    assert walked.life.stage is stage
    assert walked.move == "look"


@pytest.mark.row(15)
@pytest.mark.parametrize("step", ["stop", "put", "start"])
def test_a_write_that_never_left_burns_no_try_and_is_looked_at_again(
    planned: Planned, walk: Walking, step: str
) -> None:
    ways = {"stop": ("RUNNING",), "put": STOPPED_BY_US, "start": WRITTEN}
    walked = walk(planned())(*ways[step], f"{step} unreachable")
    assert walked.life.tried(Step(step)) == 0
    assert walked.move == "look"
    assert walked.life.debt is (step != "stop")


@pytest.mark.parametrize("step", ["stop", "put", "start"])
def test_an_intent_alone_is_never_followed_by_a_write(planned: Planned, walk: Walking, step: str) -> None:
    ways = {"stop": ("RUNNING",), "put": STOPPED_BY_US, "start": WRITTEN}
    assert walk(planned())(*ways[step], f"{step} unanswered").move == "look"


@pytest.mark.parametrize(
    ("way", "outcome"),
    [
        (("RUNNING", "stop gone"), Outcome.GONE),
        (("RUNNING", "stop invalid"), Outcome.FAILED),
        (("RUNNING", "stop forbidden"), Outcome.FAILED),
        ((*STOPPED_BY_US, "put gone"), Outcome.GONE),
        ((*WRITTEN, "start gone"), Outcome.GONE),
        ((*WRITTEN, "start forbidden"), Outcome.STRANDED),
    ],
)
def test_a_refusal_that_no_look_can_change_ends_the_change(
    planned: Planned, walk: Walking, way: tuple[str, ...], outcome: Outcome
) -> None:
    walked = walk(planned())(*way)
    assert walked.end.outcome is outcome
    assert walked.end.debt == (outcome is Outcome.STRANDED)
    assert bool(walked.end.fix) == walked.end.debt


def test_a_refused_put_brings_the_notebook_home_before_it_fails(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STOPPED_BY_US, "put invalid", "start ok", "RUNNING", "RUNNING")
    assert walked.end.outcome is Outcome.FAILED
    assert walked.end.reason == "update refused: ModelArts.0107 invalid"
    assert not walked.end.debt


@pytest.mark.row(39)
def test_a_busy_stop_is_tried_again_after_looks_and_given_up_without_harm(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned())("RUNNING", *("stop busy", *STILL_RUNNING) * (BUSY_TRIES - 1))
    assert walked.move == "stop"
    assert walked("stop busy", *STILL_RUNNING).end.outcome is Outcome.SKIPPED
    assert not walked.end.debt


def test_a_stop_that_stays_unanswered_is_sent_twice_at_most(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", *("stop lost", *STILL_RUNNING) * STOPS_IN_DOUBT)
    assert walked.end.outcome is Outcome.FAILED
    assert not walked.end.debt


def test_a_put_that_stays_unanswered_is_sent_three_times_at_most(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STOPPED_BY_US, *("put lost", *STILL_STOPPED) * TRIES)
    assert walked.move == "start"
    assert walked("start ok", "RUNNING", "RUNNING").end.outcome is Outcome.FAILED


def test_every_phase_has_its_own_tries(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.RUNNING, RENAME, IMAGE, before={**OLD, "name": "old"}))
    walked("RUNNING", *("put lost", *STILL_RUNNING) * (TRIES - 1), "put ok")
    walked.values["name"] = "new"
    walked("RUNNING", "stop ok", "STOPPED", "put lost", *STILL_STOPPED)
    assert walked.move == "put"


@pytest.mark.row(37)
def test_an_accepted_put_that_shows_nothing_is_never_sent_again(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STOPPED_BY_US, "put ok", *STILL_STOPPED, "start ok", "RUNNING", "RUNNING")
    assert walked.end.outcome is Outcome.FAILED
    assert "accepted, but the old value is still shown" in walked.end.reason


@pytest.mark.row(37)
def test_a_disk_gets_its_time_to_grow(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.RUNNING, GROW, before=SIZE))("RUNNING", "put ok")
    assert walked(*("RUNNING",) * (GROW_LOOKS - 1)).move == "look 10"
    walked.values.update(GROW.body)
    assert walked("RUNNING").move == "end changed"


@pytest.mark.row(37)
def test_a_disk_that_takes_longer_than_its_time_is_unknown_and_looked_for_by_the_next_process(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.RUNNING, GROW, before=SIZE))("RUNNING", "put ok", *("RUNNING",) * GROW_LOOKS)
    assert walked.end.outcome is Outcome.UNKNOWN
    walked.life = advance(walked.life, Reopened(0, walked.at))
    in_vain = walked.life
    walked("RUNNING")
    walked.values.update(GROW.body)
    assert walked("RUNNING").end.outcome is Outcome.CHANGED
    walked.life, walked.values = in_vain, dict(SIZE)
    assert walked(*("RUNNING",) * GROW_LOOKS).end.outcome is Outcome.FAILED


@pytest.mark.row(37)
@pytest.mark.parametrize(("size", "outcome"), [(80, Outcome.CHANGED), (50, Outcome.FAILED)])
def test_a_disk_that_did_not_grow_before_the_way_home_is_looked_for_once_more(
    planned: Planned, walk: Walking, size: int, outcome: Outcome
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))("STOPPED", "start ok", "RUNNING", "put ok")
    walked(*("RUNNING",) * GROW_LOOKS, "stop ok", "STOPPED", "STOPPED")
    assert walked.end.outcome is Outcome.UNKNOWN
    walked.life = advance(walked.life, Reopened(0, walked.at))
    walked.values["storage_new_size"] = size
    while walked.move.startswith("look"):
        walked("STOPPED")
    assert walked.end.outcome is outcome


def test_what_came_true_after_its_time_was_up_is_as_planned(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.RUNNING, GROW, before=SIZE))("RUNNING", "put ok", "RUNNING", "late")
    walked.values.update(GROW.body)
    assert walked("RUNNING").end.outcome is Outcome.CHANGED


def test_hooks_alone_are_proven_by_the_answer(planned: Planned, walk: Walking) -> None:
    hooks = Phase(When.STOPPED, {"hooks": {"container_hooks": {}}})
    walked = walk(planned(Status.STOPPED, hooks))
    assert walked("STOPPED", "put lost", *STILL_STOPPED).move == "put"
    assert walked("put ok", "STOPPED").end.outcome is Outcome.CHANGED


def test_a_refused_stop_on_the_way_home_ends_stranded_and_is_not_sent_forever(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))
    walked("STOPPED", "start ok", "RUNNING", "put ok", "RUNNING new", "stop forbidden")
    assert walked.end.outcome is Outcome.STRANDED
    assert walked.end.fix.startswith("fleet stop")


def test_a_stop_refused_after_one_that_was_lost_and_not_applied_owes_nothing(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned())("RUNNING", "stop lost", *STILL_RUNNING, "stop forbidden")
    assert walked.end.outcome is Outcome.FAILED
    assert not walked.end.debt


# --- 6347: the field belongs to the other run state ------------------------------------------------------


def test_a_field_refused_while_running_is_sent_stopped_and_remembered(
    planned: Planned, walk: Walking
) -> None:
    change = planned(Status.RUNNING, RENAME, IMAGE, before={**OLD, "name": "old"})
    walked = walk(change)("RUNNING", "put state", "RUNNING", "stop ok", "STOPPED")
    assert walked.body == {"name": "new", "image_id": "new-image"}
    assert walked.life.moved == {"name": When.STOPPED}


def test_a_field_refused_while_running_is_skipped_where_restarts_are_not_allowed(
    planned: Planned, walk: Walking
) -> None:
    change = planned(Status.RUNNING, RENAME, before={"name": "old"}, may_restart=False)
    walked = walk(change)("RUNNING", "put state", "RUNNING")
    assert walked.end.outcome is Outcome.SKIPPED
    assert walked.end.reason == "name: needs a restart; disruption is none"
    assert walked.life.moved == {"name": When.STOPPED}


def test_a_field_refused_in_either_state_fails_at_home(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.RUNNING, RENAME, before={"name": "old"}))
    walked("RUNNING", "put state", "RUNNING", "stop ok", "STOPPED", "put state", "STOPPED")
    assert walked("start ok", "RUNNING", "RUNNING").end.outcome is Outcome.FAILED
    assert "refused in either state" in walked.end.reason


def test_a_notebook_that_was_started_for_its_put_is_looked_at_once_more(
    planned: Planned, walk: Walking
) -> None:
    """The read-back proves the values; only a look after it can prove the lease."""
    walked = walk(planned(Status.RUNNING, IMAGE))(
        *STOPPED_BY_US, "put state", "STOPPED", "start ok", "RUNNING"
    )
    assert walked("put ok", "RUNNING new").move == "look"


# --- starts that fail ------------------------------------------------------------------------------------


@pytest.mark.row(34)
def test_a_failed_start_gets_the_old_values_back_once_and_starts_again(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned())(*STARTED, "START_FAILED")
    assert walked.body == OLD
    walked("put ok", "START_FAILED old", "start ok", "RUNNING", "RUNNING")
    assert walked.end.outcome is Outcome.FAILED
    assert walked.end.reason == "START_FAILED: why it failed; the old value was put back"
    assert not walked.end.debt


def test_a_start_that_fails_with_the_old_values_too_is_stranded(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STARTED, "START_FAILED", "put ok", "START_FAILED old", "start ok")
    assert walked("START_FAILED").end.outcome is Outcome.STRANDED
    assert walked.end.debt


def test_a_start_that_fails_with_nothing_to_put_back_is_stranded(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.RUNNING, RENAME, before={"name": "old"}))
    walked("RUNNING", "put state", "RUNNING", "stop ok", "STOPPED", "put ok", "STOPPED new", "start ok")
    assert walked("START_FAILED").end.outcome is Outcome.STRANDED


def test_a_late_change_still_puts_the_old_value_back(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STARTED, "START_FAILED", "put lost", "late", "START_FAILED")
    assert walked.move == "look 10"
    assert walked(*("START_FAILED",) * (LOOKS - 1)).move == "put"


def test_a_stopped_notebook_whose_start_failed_ends_with_its_old_image(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.STOPPED, IMAGE, GROW, before={**OLD, **SIZE}))("STOPPED", "put ok")
    walked.values["image_id"] = "new-image"
    walked("STOPPED", "start ok", "START_FAILED", "put ok")
    walked.values["image_id"] = "old-image"
    assert walked("START_FAILED").end.outcome is Outcome.FAILED


@pytest.mark.row(35)
def test_sold_out_of_the_new_flavor_puts_the_old_one_back(planned: Planned, walk: Walking) -> None:
    assert walk(planned())(*WRITTEN, "start sold-out").body == OLD


@pytest.mark.row(35)
def test_sold_out_of_the_flavor_it_had_is_waited_for(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.RUNNING, IMAGE))(*WRITTEN, "start sold-out", *STILL_STOPPED)
    assert walked.move == "start"
    walked(*("start sold-out", *STILL_STOPPED) * (BUSY_TRIES + 3))
    assert walked.move == "start"
    walked("start sold-out", "late", *STILL_STOPPED)
    assert (walked.end.outcome, walked.end.debt) == (Outcome.STRANDED, True)


@pytest.mark.parametrize("answer", ["forbidden", "quota", "invalid"])
def test_a_stopped_notebook_that_cannot_be_started_for_a_put_is_no_debt(
    planned: Planned, walk: Walking, answer: str
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))("STOPPED", f"start {answer}")
    assert walked.end.outcome is Outcome.FAILED
    assert (walked.end.debt, walked.end.fix) == (False, "")


def test_a_stopped_notebook_that_broke_after_our_start_is_stranded(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))("STOPPED", "start ok", "RUNNING", "put ok")
    assert walked("ERROR").end.outcome is Outcome.STRANDED


# --- late and blind --------------------------------------------------------------------------------------


def test_a_change_that_is_late_before_its_first_write_is_skipped(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("late")
    assert walked.end.outcome is Outcome.SKIPPED
    assert walked.end.reason == "its time was up before anything was sent"


def test_a_late_change_goes_home_without_its_put(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", "stop ok", "late", "STOPPED")
    assert walked.move == "start"
    assert walked("start ok", "RUNNING", "RUNNING").end.outcome is Outcome.FAILED
    assert walked.end.reason == "its time was up in stage: stopping"


@pytest.mark.parametrize(
    ("way", "outcome", "debt"),
    [
        (("RUNNING", "stop ok"), Outcome.STRANDED, True),
        (("RUNNING", "stop lost"), Outcome.STRANDED, True),
        ((*STOPPED_BY_US, "put lost"), Outcome.STRANDED, True),
        (STARTED, Outcome.STRANDED, True),
        (RENEWED, Outcome.UNKNOWN, False),
    ],
)
def test_a_change_that_is_late_twice_ends_where_it_is(
    planned: Planned, walk: Walking, way: tuple[str, ...], outcome: Outcome, debt: bool
) -> None:
    walked = walk(planned())(*way, "late", "late")
    assert (walked.end.outcome, walked.end.debt) == (outcome, debt)
    assert "still in stage" in walked.end.reason


def test_a_late_change_may_still_try_its_way_home(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))
    walked("STOPPED", "start ok", "RUNNING", "put ok", "late", "RUNNING", "stop busy")
    assert walked(*STILL_RUNNING).move == "stop"


def test_a_late_change_stops_nothing_any_more(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", "stop busy", "late", *STILL_RUNNING)
    assert walked.end.outcome is Outcome.SKIPPED


def test_a_notebook_that_cannot_be_read_fails_before_and_is_unknown_after_the_first_write(
    planned: Planned, walk: Walking
) -> None:
    assert walk(planned())("blind").end.outcome is Outcome.FAILED
    walked = walk(planned())("RUNNING", "stop ok", "blind")
    assert (walked.end.outcome, walked.end.debt) == (Outcome.UNKNOWN, True)
    assert walked.end.fix.startswith("fleet start --scope lab-a f9937afa")


def test_a_notebook_of_unknown_fate_that_we_started_names_the_stop_that_fixes_it(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))("STOPPED", "start ok", "RUNNING", "put ok")
    assert walked("blind").end.fix == f"fleet stop --scope lab-a {walked.change.id}"


def test_nobody_is_told_to_stop_a_notebook_that_is_gone(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))("STOPPED", "start ok", "RUNNING", "put gone")
    assert (walked.end.outcome, walked.end.fix) == (Outcome.GONE, "")


def test_an_end_that_the_looks_before_it_do_not_show_proves_nothing(planned: Planned, walk: Walking) -> None:
    """Events were lost: whoever goes on looks again."""
    life = advance(walk(planned())("RUNNING", "stop ok").life, Ended(0, 2.0, Outcome.CHANGED))
    assert (life.end, life.debt, is_open(life)) == (None, True, True)


# --- the lease -------------------------------------------------------------------------------------------


def test_the_start_gives_back_the_time_that_was_left_at_the_stop(planned: Planned, walk: Walking) -> None:
    """Four hours were left ten seconds before the stop, and the long wait after it costs nothing."""
    walked = walk(planned())("RUNNING", "stop ok")
    walked.at += 3000
    walked("STOPPED", "put ok", "STOPPED new")
    assert walked.body == {"duration": 4 * HOUR_MS - 10_000, "type": "TIMING"}


def test_what_a_stopped_notebook_shows_of_its_lease_does_not_count(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STOPPED_BY_US, "put ok", "STOPPED new off")
    assert walked.body == {"duration": 4 * HOUR_MS - 10_000, "type": "TIMING"}


def test_a_stop_that_was_refused_freezes_nothing(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())("RUNNING", "stop busy", *STILL_RUNNING, "stop ok", "STOPPED", "put ok")
    assert walked("STOPPED new").body["duration"] == 4 * HOUR_MS - 50_000


def test_a_lease_that_did_not_come_back_is_renewed_once_then_noted(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STARTED)
    walked.grant({"duration": HOUR_MS, "type": "TIMING"})
    walked("RUNNING")
    assert walked.move == "lease"
    assert walked("lease forbidden", "RUNNING").end.outcome is Outcome.CHANGED
    assert walked.end.reason.startswith("lease: 59 minutes of lease left, 239 were to be given back")


def test_a_renewed_lease_leaves_no_note(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STARTED)
    walked.grant({"duration": HOUR_MS, "type": "TIMING"})
    assert walked("RUNNING", "lease ok", "RUNNING").end.reason == ""


def test_auto_stop_that_was_off_is_switched_off_again(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(lease=Lease(enable=False)))(*WRITTEN)
    assert walked.body == {"duration": -1}
    assert walked("start ok", "RUNNING").end.reason == ""


def test_auto_stop_that_cannot_be_switched_off_is_set_to_72_hours_with_one_note(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(lease=Lease(enable=False)))(*WRITTEN, "start duration")
    assert walked.body == {"duration": 72 * HOUR_MS}
    walked("start ok", "RUNNING")
    assert walked.end.outcome is Outcome.CHANGED
    assert walked.end.reason == "auto stop was off and could not be switched off again: it is set to 72 hours"
