"""What a look means: the table is complete, and the recovery rules hold row by row."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from fleet.core.changing.change import decide
from fleet.core.changing.life import HOUR_MS, LOOKS, Life, Stage
from fleet.core.changing.looks import TABLE, after_look
from fleet.core.changing.reopen import reopened
from fleet.core.changing.sight import Sight
from fleet.core.events import Leave, Outcome, Saw, Step
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase
from tests.plans import make_change

Planned = Callable[..., Change]
Walking = Callable[..., Any]

NEW = {"image_id": "new-image", "flavor": "new-flavor"}
OLD = {"image_id": "old-image", "flavor": "old-flavor"}
GROW = Phase(When.RUNNING, {"storage_new_size": 80})
SIZE = {"storage_new_size": 50}
ANSWER_DUE = {
    Stage.READY,
    Stage.SAVE_SENT,
    Stage.STOP_SENT,
    Stage.PUT_SENT,
    Stage.START_SENT,
    Stage.LEASE_SENT,
    Stage.SPARED,
    Stage.PUT_OFF,
    Stage.ENDED,
}

ON = Lease(enable=True, create_at=1_750_000_000_000 - HOUR_MS, duration=5 * HOUR_MS)
IDLE = replace(ON, type=LeaseType.IDLE)

STOPPED_BY_US = ("RUNNING", "stop ok", "STOPPED")
WRITTEN = (*STOPPED_BY_US, "put ok", "STOPPED new")
STARTED = (*WRITTEN, "start ok")
BACK = (*STARTED, "RUNNING default")
RENEWED = (*BACK, "lease ok")


def test_every_stage_in_which_a_look_can_arrive_has_a_rule_for_every_status() -> None:
    assert set(TABLE) == set(Stage) - ANSWER_DUE
    for stage, row in TABLE.items():
        assert set(row) == set(Status), stage


@given(st.data())
def test_no_look_at_any_life_raises_and_each_leaves_a_move(data: st.DataObject) -> None:
    planned = make_change(
        run_state=data.draw(st.sampled_from([Status.RUNNING, Status.STOPPED])),
        arriving=data.draw(st.booleans()),
        may_restart=data.draw(st.booleans()),
        phases=(Phase(When.STOPPED, NEW), GROW),
        before={**OLD, **SIZE},
        after={**NEW, **GROW.body},
    )
    values = st.fixed_dictionaries(
        {
            "image_id": st.sampled_from(["old-image", "new-image", "third"]),
            "flavor": st.sampled_from(["old-flavor", "new-flavor", "third"]),
            "storage_new_size": st.sampled_from([50, 80, 60]),
        }
    )
    leases = st.sampled_from([None, Lease(enable=False), Lease(enable=True, create_at=5, duration=7)])
    life = Life(
        change=planned,
        stage=data.draw(st.sampled_from(sorted(TABLE))),
        phases=data.draw(st.sampled_from([planned.phases, planned.phases[1:]])),
        expected=data.draw(st.sampled_from([planned.before, {**planned.before, **NEW}])),
        current=data.draw(st.sampled_from([Status.RUNNING, Status.STOPPED])),
        tries={step: data.draw(st.integers(0, 6)) for step in (Step.STOP, Step.PUT, Step.START, Step.LEASE)},
        lease=data.draw(leases),
        settle=data.draw(st.integers(0, 60)),
        debt=data.draw(st.booleans()),
        planned=planned.run_state,
        leave=data.draw(st.none() | st.sampled_from(Leave)),
        doubt=data.draw(st.booleans()),
        written=data.draw(st.booleans()),
        restarted=data.draw(st.booleans()),
        reverting=data.draw(st.booleans()),
        refused_state=data.draw(st.booleans()),
        late=data.draw(st.booleans()),
    )
    sight = Sight(data.draw(st.sampled_from(Status)), data.draw(values), data.draw(leases), update_at=3)
    after = after_look(life, Saw(0, 1.0, sight))
    decide(after)
    assert (after.end is not None) == (after.stage is Stage.ENDED)
    if after.stage is Stage.ENDED and sight.status in (Status.DELETED, Status.DELETING):
        assert not after.debt


# What the journal says, what a look shows, what is to be done. A way ends with the write whose fate is open.
RECOVERY = [
    # stop
    (("RUNNING", "stop lost"), ("RUNNING",), "look 10"),
    (("RUNNING", "stop lost"), ("RUNNING",) * LOOKS, "stop"),
    (("RUNNING", "stop lost", *("RUNNING",) * LOOKS, "stop lost"), ("RUNNING",) * LOOKS, "end failed"),
    (("RUNNING", "stop lost"), ("STOPPING",), "await"),
    (("RUNNING", "stop lost"), ("STOPPED",), "put"),
    (("RUNNING", "stop lost"), ("STARTING",), "look 10"),
    (("RUNNING", "stop lost"), ("SNAPSHOTTING",), "look 10"),
    (("RUNNING", "stop lost"), ("STARTING", "RUNNING restarted"), "end drifted"),
    (("RUNNING", "stop lost"), ("RUNNING restarted",), "end drifted"),
    (("RUNNING", "stop lost"), ("RUNNING touched",), "end drifted"),
    (("RUNNING", "stop busy"), ("RUNNING touched",), "look 10"),
    (("RUNNING", "stop busy"), ("STOPPING",), "look 10"),
    (("RUNNING", "stop busy"), ("STOPPED",), "end drifted"),
    (("RUNNING", "stop busy"), ("SNAPSHOTTING", "SNAPSHOTTING", "RUNNING"), "stop"),
    (("RUNNING", "stop lost", *("RUNNING",) * LOOKS, "stop busy"), ("STOPPED",), "put"),
    (("RUNNING", "stop ok"), ("STOPPED third",), "start"),
    (("RUNNING", "stop ok"), ("RUNNING restarted",), "end drifted"),
    (("RUNNING", "stop ok"), ("RUNNING touched",), "await"),
    # put
    ((*STOPPED_BY_US, "put lost"), ("STOPPED new",), "start"),
    ((*STOPPED_BY_US, "put lost"), ("STOPPED old",), "look 10"),
    ((*STOPPED_BY_US, "put lost"), ("STOPPED old",) * LOOKS, "put"),
    ((*STOPPED_BY_US, "put 500"), ("STOPPED mixed",) * LOOKS, "put"),
    ((*STOPPED_BY_US, "put lost"), ("STOPPED third",), "start"),
    ((*STOPPED_BY_US, "put busy"), ("STOPPED new",), "start"),
    ((*STOPPED_BY_US, "put busy"), ("STOPPED old",) * LOOKS, "put"),
    ((*STOPPED_BY_US, "put ok"), ("STOPPED old",) * LOOKS, "start"),
    ((*STOPPED_BY_US, "put ok"), ("STOPPED third",), "start"),
    ((*STOPPED_BY_US, "put lost"), ("RUNNING restarted",), "end drifted"),
    ((*STOPPED_BY_US, "put state"), ("STARTING", "RUNNING restarted"), "end drifted"),
    ((*STOPPED_BY_US, "put ok"), ("RUNNING restarted new",), "end changed"),
    ((*STOPPED_BY_US, "put ok"), ("START_FAILED new",), "start"),
    # start
    ((*WRITTEN, "start lost"), ("RUNNING",), "end changed"),
    ((*WRITTEN, "start lost"), ("RUNNING third",), "end drifted"),
    ((*WRITTEN, "start lost"), ("STARTING",), "await"),
    ((*WRITTEN, "start lost"), ("STOPPED",), "look 10"),
    ((*WRITTEN, "start lost"), ("STOPPED",) * LOOKS, "start"),
    ((*WRITTEN, "start busy"), ("RUNNING",), "end changed"),
    ((*WRITTEN, "start ok"), ("STARTING",), "await"),
    ((*WRITTEN, "start ok"), ("STARTING", "RUNNING"), "end changed"),
    ((*WRITTEN, "start ok"), ("RUNNING third",), "end drifted"),
    ((*WRITTEN, "start ok"), ("RUNNING old",), "end drifted"),
    ((*WRITTEN, "start ok"), ("RUNNING default",), "lease"),
    ((*WRITTEN, "start ok"), ("RUNNING shortened",), "lease"),
    ((*WRITTEN, "start ok"), ("RUNNING extended",), "end changed"),
    ((*WRITTEN, "start ok"), ("RUNNING off",), "end changed"),
    ((*WRITTEN, "start ok"), ("START_FAILED",), "put"),
    ((*WRITTEN, "start ok"), ("START_FAILED third",), "end stranded"),
    ((*WRITTEN, "start ok"), ("ERROR",), "end stranded"),
    # running again, and its lease renewed
    (RENEWED, ("RUNNING",), "end changed"),
    (RENEWED, ("STARTING",), "await"),
    (RENEWED, ("STARTING", "RUNNING"), "end changed"),
    (RENEWED, ("STOPPING", "STOPPED"), "end changed"),
    (RENEWED, ("STOPPED third",), "end drifted"),
    (RENEWED, ("RUNNING shortened",), "end changed"),
    (RENEWED, ("STARTING", *("STOPPED",) * LOOKS), "start"),
    (RENEWED, ("RUNNING third",), "end drifted"),
    (RENEWED, ("START_FAILED",), "put"),
    (RENEWED, ("ERROR",), "end stranded"),
]


@pytest.mark.parametrize(("way", "looks", "then"), RECOVERY)
def test_what_a_look_shows_decides_what_follows_a_write(
    planned: Planned, walk: Walking, way: tuple[str, ...], looks: tuple[str, ...], then: str
) -> None:
    assert walk(planned())(*way, *looks).move == then


OPEN_STAGES = [
    ("RUNNING", "stop ok"),
    ("RUNNING", "stop lost"),
    (*STOPPED_BY_US, "put ok"),
    (*STOPPED_BY_US, "put lost"),
    (*WRITTEN, "start ok"),
    (*WRITTEN, "start lost"),
    RENEWED,
]


@pytest.mark.parametrize("way", OPEN_STAGES, ids=lambda way: way[-1])
@pytest.mark.parametrize(
    ("status", "outcome"),
    [
        ("DELETED", Outcome.GONE),
        ("DELETING", Outcome.GONE),
        ("FROZEN", Outcome.STRANDED),
        ("ERROR", Outcome.STRANDED),
        ("CREATE_FAILED", Outcome.STRANDED),
        ("DELETE_FAILED", Outcome.STRANDED),
    ],
)
def test_a_status_that_no_call_can_help_ends_the_change_wherever_it_is(
    planned: Planned, walk: Walking, way: tuple[str, ...], status: str, outcome: Outcome
) -> None:
    walked = walk(planned())(*way, status)
    assert walked.end.outcome is outcome
    assert walked.end.debt == (outcome is Outcome.STRANDED)
    assert walked.end.fix.startswith("fleet start") == walked.end.debt


@pytest.mark.row(28, 39)
@pytest.mark.parametrize("way", OPEN_STAGES, ids=lambda way: way[-1])
def test_a_status_nobody_knows_is_waited_out_never_acted_on(
    planned: Planned, walk: Walking, way: tuple[str, ...]
) -> None:
    assert walk(planned())(*way, *("?",) * 50).move in ("look 10", "await")


@pytest.mark.parametrize("status", ["FROZEN", "ERROR", "START_FAILED", "CREATE_FAILED", "DELETE_FAILED", "?"])
def test_a_broken_notebook_is_skipped_before_the_first_write(
    planned: Planned, walk: Walking, status: str
) -> None:
    walked = walk(planned())(status)
    assert walked.end.outcome is Outcome.SKIPPED
    assert status in walked.end.reason


# --- the fence -------------------------------------------------------------------------------------------


@pytest.mark.row(38, 54)
@pytest.mark.parametrize(
    ("looks", "then"),
    [
        (("RUNNING",), "stop"),
        (("RUNNING third",), "end drifted"),
        (("RUNNING mixed",), "end drifted"),
        (("RUNNING new",), "end unchanged"),
        (("STOPPED",), "end drifted"),
        (("STOPPED new",), "end drifted"),  # stopped by whom? perhaps by us, before a journal lost its end
        (("STOPPING",), "await"),
        (("STOPPING", "STOPPED"), "look"),
        (("STOPPING", "STOPPED", "STOPPED"), "end drifted"),
        (("SNAPSHOTTING", "RUNNING", "RUNNING"), "stop"),
        (("DELETED",), "end gone"),
    ],
)
def test_the_fence_lets_only_the_planned_notebook_through(
    planned: Planned, walk: Walking, looks: tuple[str, ...], then: str
) -> None:
    assert walk(planned())(*looks).move == then


def test_a_notebook_that_arrives_elsewhere_than_planned_is_skipped(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(arriving=True))
    assert walked.move == "look"
    assert walked("STARTING").move == "await"
    assert walked("STOPPED", "STOPPED").end.outcome is Outcome.SKIPPED


def test_what_the_run_learned_of_a_field_never_restarts_where_restarts_are_not_allowed(
    planned: Planned, walk: Walking
) -> None:
    rename = Phase(When.ANY, {"name": "b"})
    change = planned(Status.RUNNING, rename, before={"name": "a"}, may_restart=False)
    walked = walk(change, {"name": When.STOPPED})("RUNNING")
    assert walked.end.outcome is Outcome.SKIPPED
    assert walked.end.reason == "name: needs a restart; disruption is none"


# --- a later write that had to wait for its turn ----------------------------------------------------------


@pytest.mark.row(38, 54)
@pytest.mark.parametrize(
    ("look", "then"),
    [
        ("STOPPED", "put"),
        ("STOPPED mixed", "put"),
        ("START_FAILED", "put"),
        ("STOPPED third", "start"),  # drifted, and brought home
        ("STOPPED new", "start"),
        ("STARTING", "look 10"),
        ("SNAPSHOTTING", "look 10"),
        ("RUNNING restarted", "end drifted"),
        ("RUNNING restarted new", "end unchanged"),
        ("DELETED", "end gone"),
        ("ERROR", "end stranded"),
        ("?", "look 10"),
    ],
)
def test_a_look_right_before_a_put_decides_whether_it_is_still_due(
    planned: Planned, walk: Walking, look: str, then: str
) -> None:
    walked = walk(planned())(*STOPPED_BY_US)
    walked.looks_before_write(look)
    assert walked.move == then


@pytest.mark.row(38, 54)
@pytest.mark.parametrize(
    ("look", "then"),
    [
        ("RUNNING", "stop"),
        ("RUNNING restarted", "end drifted"),
        ("STOPPED", "put"),  # the first one arrived after all
        ("STOPPING", "await"),
        ("DELETED", "end gone"),
    ],
)
def test_a_look_right_before_another_stop_decides_whether_it_is_still_due(
    planned: Planned, walk: Walking, look: str, then: str
) -> None:
    walked = walk(planned())("RUNNING", "stop lost", *("RUNNING",) * LOOKS)
    walked.looks_before_write(look)
    assert walked.move == then


@pytest.mark.row(38)
@pytest.mark.parametrize(
    ("look", "then"),
    [
        ("RUNNING", "lease"),
        ("RUNNING shortened", "end changed"),  # granted since the look before: somebody's
        ("RUNNING extended", "end changed"),
        ("RUNNING off", "end changed"),
        ("RUNNING third", "end drifted"),
        ("STOPPING", "look 10"),
        ("STOPPED", "end changed"),
        ("STARTING", "await"),
        ("START_FAILED", "put"),
        ("DELETED", "end gone"),
        ("ERROR", "end stranded"),
    ],
)
def test_a_look_right_before_a_renewal_decides_whether_it_is_still_due(
    planned: Planned, walk: Walking, look: str, then: str
) -> None:
    walked = walk(planned())(*BACK)
    walked.looks_before_write(look)
    assert walked.move == then


def test_a_lease_granted_right_before_our_renewal_is_no_restart(planned: Planned, walk: Walking) -> None:
    """Of hooks nothing can be seen, so that only the lease tells."""
    hooks = Phase(When.STOPPED, {"hooks": {"container_hooks": {}}})
    walked = walk(planned(Status.RUNNING, hooks))(*STOPPED_BY_US, "put ok", "STOPPED", "start ok")
    walked("RUNNING default").looks_before_write("RUNNING shortened")
    assert walked.end.outcome is Outcome.CHANGED


def test_a_look_right_before_a_start_holds_nothing_up(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*WRITTEN)
    walked.looks_before_write("STOPPED third")
    assert walked.move == "start"


# --- somebody else ---------------------------------------------------------------------------------------


def test_our_own_put_that_shows_late_is_no_drift(planned: Planned, walk: Walking) -> None:
    """Its time is up while the old value is still shown; on the way home the new one appears."""
    walked = walk(planned())("RUNNING", "stop ok", "STOPPED", "put ok", "late", "STOPPED old")
    walked("start ok", "RUNNING new", "RUNNING new")
    assert walked.end.outcome is Outcome.FAILED
    assert "it was applied later after all: image_id" in walked.end.reason


@pytest.mark.parametrize("passing", ["STOPPING", "STARTING"])
def test_what_we_stopped_is_owed_whoever_passes_by_until_it_runs(
    planned: Planned, walk: Walking, passing: str
) -> None:
    """Stopped again after a stale row or a start that fell back: no look showed it running since our stop."""
    walked = walk(planned())("RUNNING", "stop ok", "STOPPED", "put ok", passing, "STOPPED")
    assert (walked.move, walked.life.debt) == ("start", True)
    walked("start ok", "RUNNING new", "RUNNING new")
    assert (walked.end.outcome, walked.end.debt) == (Outcome.DRIFTED, False)


@pytest.mark.row(38)
@pytest.mark.parametrize("looks", [("RUNNING new",), ("STARTING new", "RUNNING new"), ("START_FAILED new",)])
def test_a_person_who_starts_a_stopped_notebook_meanwhile_is_left_alone(
    planned: Planned, walk: Walking, looks: tuple[str, ...]
) -> None:
    walked = walk(planned(Status.STOPPED))("STOPPED", "put ok", *looks)
    assert walked.end.outcome is Outcome.DRIFTED
    assert not walked.end.fix


@pytest.mark.row(38)
def test_a_person_who_stops_a_running_notebook_meanwhile_is_not_undone(
    planned: Planned, walk: Walking
) -> None:
    rename = Phase(When.ANY, {"name": "b"})
    walked = walk(planned(Status.RUNNING, rename, before={"name": "a"}))
    assert walked("RUNNING", "put ok", "STOPPING new", "STOPPED").end.outcome is Outcome.DRIFTED


def test_a_notebook_that_somebody_started_before_us_is_not_stopped_again(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))("STOPPED", "start busy", "RUNNING")
    assert walked.end.outcome is Outcome.DRIFTED


@pytest.mark.parametrize("look", ["STARTING new", "RUNNING new", "START_FAILED new"])
def test_a_person_who_starts_a_notebook_that_we_just_stopped_again_is_left_alone(
    planned: Planned, walk: Walking, look: str
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))
    walked("STOPPED", "start ok", "RUNNING", "put ok", "RUNNING new", "stop ok", "STOPPED", look)
    assert walked.end.outcome is Outcome.DRIFTED


def test_our_own_start_is_not_taken_for_a_persons(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))
    walked("STOPPED", "start ok", "RUNNING touched", "put invalid", "stop lost")
    assert walked(*("RUNNING",) * LOOKS).move == "stop"


def test_our_own_put_is_not_taken_for_a_persons(planned: Planned, walk: Walking) -> None:
    grow_first = planned(Status.RUNNING, GROW, Phase(When.STOPPED, NEW), before={**OLD, **SIZE})
    walked = walk(grow_first)("RUNNING", "put lost")
    walked.values["storage_new_size"] = 80
    assert walked("RUNNING touched", "stop lost", "RUNNING").move == "look 10"


def test_a_person_who_restarts_a_notebook_that_we_started_is_left_alone(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned(Status.STOPPED, GROW, before=SIZE))("STOPPED", "start ok", "RUNNING", "put ok")
    assert walked("STOPPING", "STARTING", "RUNNING").end.outcome is Outcome.DRIFTED


@pytest.mark.row(38)
def test_values_that_somebody_set_while_a_notebook_started_are_not_overwritten(
    planned: Planned, walk: Walking
) -> None:
    change = planned(Status.STOPPED, GROW, before=SIZE)
    walked = walk(change)("STOPPED", "start ok")
    walked.values["storage_new_size"] = 60
    assert walked("RUNNING").move == "stop"
    assert walked("stop ok", "STOPPED", "STOPPED").end.outcome is Outcome.DRIFTED


def test_the_old_value_is_not_put_back_over_a_third_one(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*WRITTEN, "start lost", *("STOPPED third",) * LOOKS, "start quota")
    assert walked.end.outcome is Outcome.STRANDED
    assert "somebody's image" in walked.end.reason
    assert walked.end.debt


def test_a_start_that_did_not_last_is_a_debt_again(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*RENEWED)
    assert not walked.life.debt
    assert walked("STARTING").life.debt


# --- somebody else, after our start ----------------------------------------------------------------------


@pytest.mark.row(38)
@pytest.mark.parametrize(
    ("lease", "look", "says"),
    [
        (ON, "extended", "600 minutes of lease left, 239 were to be given back"),
        (ON, "off", "auto stop is off, it was on"),
        (IDLE, "extended", "auto stop type is TIMING, it was IDLE"),
    ],
)
def test_a_lease_longer_than_the_one_owed_is_somebodys_and_stays(
    planned: Planned, walk: Walking, lease: Lease, look: str, says: str
) -> None:
    walked = walk(planned(lease=lease))(*STARTED, f"RUNNING {look}")
    assert walked.end.outcome is Outcome.CHANGED
    assert walked.end.reason == f"lease left as somebody set it: {says}"
    assert walked.life.tried(Step.LEASE) == 0


@pytest.mark.parametrize("look", ["default", "shortened", "extended"])
def test_auto_stop_that_our_start_did_not_switch_off_is_switched_off(
    planned: Planned, walk: Walking, look: str
) -> None:
    """No lease is longer than none, and what a start with -1 does the cloud alone knows."""
    walked = walk(planned(lease=Lease(enable=False)))(*STARTED, f"RUNNING {look}")
    assert (walked.move, walked.body) == ("lease", {"duration": -1})


@pytest.mark.row(38)
def test_what_somebody_stops_after_it_ran_again_stays_stopped_and_is_changed(
    planned: Planned, walk: Walking
) -> None:
    walked = walk(planned())(*RENEWED, "STOPPED")
    assert walked.end.outcome is Outcome.CHANGED
    assert walked.end.reason == "stopped by somebody after our start, or at the end of its lease"
    assert (walked.end.debt, walked.end.fix) == (False, "")


@pytest.mark.row(38)
@pytest.mark.parametrize("way", [BACK, (*BACK, "lease unanswered"), (*RENEWED, "blind")])
def test_a_later_process_does_not_start_what_somebody_stopped_after_it_ran_again(
    planned: Planned, walk: Walking, way: tuple[str, ...]
) -> None:
    walked = walk(planned())(*way)
    walked.life = reopened(walked.life)
    walked(*("STOPPED",) * (1 if walked.life.stage is Stage.VERIFY else LOOKS))
    assert (walked.end.outcome, walked.end.debt) == (Outcome.CHANGED, False)


@pytest.mark.row(38)
@pytest.mark.parametrize("way", [BACK, (*BACK, "lease unanswered")])
def test_what_the_hour_of_our_own_start_stopped_is_owed(
    planned: Planned, walk: Walking, way: tuple[str, ...]
) -> None:
    """The run died before it gave back the longer lease, and is taken up when the hour is over."""
    walked = walk(planned())(*way)
    walked.life = reopened(walked.life)
    walked.at += 3600
    walked(*("STOPPED",) * (1 if walked.life.stage is Stage.VERIFY else LOOKS))
    assert (walked.move, walked.life.debt) == ("start", True)


def test_a_start_that_nobody_saw_running_stays_a_debt(planned: Planned, walk: Walking) -> None:
    walked = walk(planned())(*STARTED, "STARTING", *("STOPPED",) * LOOKS)
    assert (walked.move, walked.life.debt) == ("start", True)


def test_what_somebody_stops_before_all_is_done_has_drifted(planned: Planned, walk: Walking) -> None:
    walked = walk(planned(Status.RUNNING, Phase(When.STOPPED, NEW), GROW, before={**OLD, **SIZE}))
    walked(*STOPPED_BY_US, "put ok")
    walked.values.update(NEW)
    walked("STOPPED", "start ok", "RUNNING")
    assert walked.move == "put"
    walked.life = reopened(walked.life)
    walked(*("STOPPED",) * LOOKS)
    assert (walked.end.outcome, walked.end.debt) == (Outcome.DRIFTED, False)
    assert walked.end.reason == "stopped by somebody meanwhile"
