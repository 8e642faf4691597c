"""What sequences of events mean: rows, debts, counts and the exit code."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.sight import GONE, Sight
from fleet.core.errors import Exit, Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    ChangeEvent,
    Counted,
    Ended,
    Event,
    Fate,
    Intended,
    Late,
    Outcome,
    Reopened,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Saw,
    Slowed,
    Spent,
    Step,
    WaveEnded,
    WaveStarted,
    dump_event,
    load_event,
)
from fleet.core.fold import RunState, count, debts, exit_code, fold
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.pacing.limits import Limit
from fleet.core.planning.plan import Plan, PlanScope, Settled
from fleet.core.rows import Calls, LeaseLeft, Row
from tests.plans import NEW, OLD, make_change, make_plan

PLANNED = 1000.0
HOUR = 3_600_000


SCOPE = PlanScope("lab-a", "cn-north-4", "0" * 32, "https://x", 3, "k", "60/min")


LEASE = Lease(enable=True, type=LeaseType.TIMING, create_at=1_000_000, duration=2 * HOUR)
RUNNING, STOPPED = make_change(0, lease=LEASE), make_change(1, run_state=Status.STOPPED)
UNCHANGED = Settled(
    2, "lab-a", "id-2", "nb-2", "bob", Outcome.UNCHANGED, "already so", "RUNNING", {"image_id": NEW}
)
PLAN = make_plan(RUNNING, STOPPED, scopes=(SCOPE,), created_at=PLANNED, settled=(UNCHANGED,))


def intended(step: Step, at: float, item: int = 0, **body: Any) -> Intended:
    return Intended(item, at, step, 1, body)


def answered(step: Step, at: float, fate: Fate = Fate.ACCEPTED, item: int = 0, sends: int = 1) -> Answered:
    return Answered(item, at, step, fate, request_id=f"{step}-{at:g}", sends=sends)


def saw(status: Status, at: float, item: int = 0, **values: Any) -> Saw:
    return Saw(item, at, Sight(status, values), f"get-{at:g}")


FENCE = Saw(
    0, 1010.0, Sight(Status.RUNNING, {"image_id": OLD}, LEASE, LEASE.left(1_010_000)), request_id="g1"
)
STOP_ACCEPTED: tuple[Event, ...] = (
    Began(0, 1009.0),
    FENCE,
    intended(Step.STOP, 1010.0),
    answered(Step.STOP, 1011.0),
)
HOME: tuple[Event, ...] = (
    saw(Status.STOPPED, 1060.0, image_id=OLD),
    intended(Step.PUT, 1061.0, image_id=NEW),
    answered(Step.PUT, 1062.0, sends=2),
    saw(Status.STOPPED, 1063.0, image_id=NEW),
    intended(Step.START, 1064.0),
    answered(Step.START, 1065.0),
    Saw(0, 1130.0, Sight(Status.RUNNING, {"image_id": NEW}, LEASE, HOUR), request_id="g3"),
    Ended(0, 1131.0, Outcome.CHANGED),
)


def row_of(*events: Event, plan: Plan = PLAN, item: int = 0) -> Row:
    return fold(plan, events).rows()[item]


def test_a_whole_change_tells_everything_about_the_notebook() -> None:
    row = row_of(*STOP_ACCEPTED, *HOME)
    assert row.outcome is Outcome.CHANGED
    assert (row.before, row.after) == ({"image_id": OLD}, {"image_id": NEW})
    assert (row.run_state_before, row.run_state_after) == ("RUNNING", "RUNNING")
    assert row.lease_before == LeaseLeft(True, LeaseType.TIMING, 7190)
    assert row.lease_after == LeaseLeft(True, LeaseType.TIMING, 3600)
    assert (row.started_at, row.finished_at) == (1009.0, 1131.0)
    assert row.away_s == 120.0
    assert row.calls == Calls(put=2, stop=1, start=1, get=4)
    assert row.request_ids == ("g1", "stop-1011", "get-1060", "put-1062", "get-1063", "start-1065", "g3")
    assert (row.debt, row.fix) == (False, "")


def test_only_changes_that_began_have_an_outcome_or_none_yet() -> None:
    assert fold(PLAN, ()).outcomes() == {}
    assert fold(PLAN, STOP_ACCEPTED).outcomes() == {0: None}
    assert fold(PLAN, (*STOP_ACCEPTED, *HOME)).outcomes() == {0: Outcome.CHANGED}


def test_every_selected_notebook_has_a_row_before_anything_happened() -> None:
    rows = fold(PLAN, ()).rows()
    assert [row.id for row in rows] == [RUNNING.id, STOPPED.id, "id-2"]
    assert [row.outcome for row in rows] == [None, None, Outcome.UNCHANGED]
    assert rows[0].lease_before == rows[0].lease_after == LeaseLeft(True, LeaseType.TIMING, 7200)
    assert rows[0].after == rows[0].before == {"image_id": OLD}
    assert (rows[2].reason, rows[2].run_state_after, rows[2].wave) == ("already so", "RUNNING", None)
    assert rows[2].before == rows[2].after == {"image_id": NEW}


def test_rows_come_in_the_order_of_the_plans_items() -> None:
    plan = make_plan(make_change(2), make_change(0), settled=(replace(UNCHANGED, item=1),))
    assert [row.item for row in fold(plan, ()).rows()] == [0, 1, 2]


def test_auto_stop_that_is_off_has_no_time_left() -> None:
    plan = make_plan(make_change(lease=Lease(enable=False)))
    assert row_of(plan=plan).lease_before == LeaseLeft(False, LeaseType.TIMING, None)


@pytest.mark.row(48)
def test_a_stop_that_nobody_answered_is_a_debt() -> None:
    row = row_of(Began(0, 1009.0), FENCE, intended(Step.STOP, 1010.0))
    assert row.debt
    assert row.fix.startswith("fleet start ")
    assert RUNNING.id in row.fix
    assert row.fix.endswith("--duration 1h59m50s --type TIMING")
    assert row.calls.stop == 1


def test_a_stop_that_was_refused_is_no_debt() -> None:
    refused = answered(Step.STOP, 1011.0, Fate.REFUSED)
    row = row_of(Began(0, 1009.0), FENCE, intended(Step.STOP, 1010.0), refused)
    assert not row.debt
    assert row.away_s == 0.0


def test_a_refused_second_stop_leaves_the_debt_of_the_first() -> None:
    doubt, refused = Fate.IN_DOUBT, Fate.REFUSED
    events = (
        intended(Step.STOP, 1010.0),
        answered(Step.STOP, 1011.0, doubt),
        intended(Step.STOP, 1020.0),
        Answered(0, 1021.0, Step.STOP, refused, Meaning.BUSY),
    )
    assert row_of(*events).debt


def test_stopping_a_notebook_that_was_stopped_before_is_no_debt() -> None:
    assert not row_of(intended(Step.STOP, 1010.0, item=1), item=1).debt


def test_a_running_seen_right_after_our_stop_may_be_older_than_it() -> None:
    assert row_of(*STOP_ACCEPTED, saw(Status.RUNNING, 1012.0)).debt
    assert row_of(*STOP_ACCEPTED, saw(Status.STOPPING, 1012.0), saw(Status.RUNNING, 1013.0)).debt


def test_running_after_our_start_pays_the_debt() -> None:
    start = (intended(Step.START, 1060.0), answered(Step.START, 1061.0))
    row = row_of(
        *STOP_ACCEPTED, saw(Status.STOPPED, 1050.0, image_id=OLD), *start, saw(Status.RUNNING, 1100.0)
    )
    assert not row.debt
    assert row.away_s == 90.0


def test_a_stop_that_did_nothing_does_not_count_as_absence() -> None:
    doubt = answered(Step.STOP, 1011.0, Fate.IN_DOUBT)
    again = (intended(Step.STOP, 1040.0), answered(Step.STOP, 1041.0))
    events = (intended(Step.STOP, 1010.0), doubt, saw(Status.RUNNING, 1030.0), *again)
    start = (intended(Step.START, 1071.0), answered(Step.START, 1072.0))
    assert row_of(*events, saw(Status.STOPPED, 1070.0), *start, saw(Status.RUNNING, 1100.0)).away_s == 60.0


def test_the_lease_to_give_back_is_the_one_before_our_stop() -> None:
    off = Saw(0, 1060.0, Sight(Status.STOPPED, {}, Lease(enable=False)))
    row = row_of(*STOP_ACCEPTED, off)
    assert row.fix == row_of(*STOP_ACCEPTED).fix
    assert (row.lease_before, row.lease_after) == (
        LeaseLeft(True, LeaseType.TIMING, 7190),
        LeaseLeft(False, LeaseType.TIMING, None),
    )


@pytest.mark.parametrize("sight", [GONE, Sight(Status.DELETING)])
def test_nothing_is_owed_for_a_notebook_that_somebody_deletes(sight: Sight) -> None:
    assert not row_of(*STOP_ACCEPTED, Saw(0, 1020.0, sight)).debt


def test_the_end_of_a_change_says_whether_it_is_owed() -> None:
    stranded = Ended(0, 1200.0, Outcome.STRANDED, "START_FAILED", debt=True)
    row = row_of(*STOP_ACCEPTED, saw(Status.STOPPED, 1060.0), stranded)
    assert (row.debt, row.reason, row.away_s) == (True, "START_FAILED", 190.0)
    assert row.fix.startswith(f"fleet start --scope lab-a {RUNNING.id} --duration ")
    row = row_of(*STOP_ACCEPTED, Ended(0, 1200.0, Outcome.DRIFTED, "restarted by somebody"))
    assert (row.debt, row.fix) == (False, "")


def test_a_debt_is_paid_by_the_process_that_takes_the_change_up_again() -> None:
    stranded = Ended(0, 1200.0, Outcome.STRANDED, debt=True)
    broke_off = (*STOP_ACCEPTED, saw(Status.STOPPED, 1060.0, image_id=OLD), stranded)
    again = (*broke_off, Reopened(0, 2000.0), intended(Step.START, 2001.0), answered(Step.START, 2002.0))
    assert row_of(*again).outcome is None
    row = row_of(*again, saw(Status.RUNNING, 2100.0))
    assert (row.debt, row.fix, row.away_s) == (False, "", 1090.0)


def test_debts_are_listed_with_their_commands() -> None:
    state = fold(PLAN, STOP_ACCEPTED)
    (debt,) = debts(state)
    assert (debt.id, debt.at) == (RUNNING.id, 1010.0)
    assert RUNNING.id in debt.fix
    assert debts(fold(PLAN, (*STOP_ACCEPTED, *HOME))) == ()


def test_a_field_that_no_look_shows_counts_as_it_was_accepted() -> None:
    hooks = {"container_hooks": {"pre_start": {"script": "/a.sh", "type": "SCRIPT"}}}
    put = intended(Step.PUT, 1010.0, hooks=hooks, image_id=NEW)
    accepted = row_of(put, answered(Step.PUT, 1011.0))
    assert accepted.after == {"image_id": OLD, "hooks": hooks}
    refused = row_of(put, answered(Step.PUT, 1011.0, Fate.REFUSED))
    assert refused.after == {"image_id": OLD}


def test_calls_count_every_request_sent() -> None:
    events = (
        saw(Status.RUNNING, 1.0),
        Saw(0, 1.5, Sight(Status.RUNNING), sends=2),
        Blind(0, 2.0, Meaning.SERVER, "oops", sends=4),
        intended(Step.PUT, 3.0),
        answered(Step.PUT, 4.0, Fate.REFUSED, sends=0),
        intended(Step.LEASE, 5.0),
    )
    assert row_of(*events).calls == Calls(put=0, get=7, lease=1)


def test_a_new_beginning_opens_a_change_that_had_ended() -> None:
    first = Ended(0, 1020.0, Outcome.UNKNOWN, "could not be read", debt=True, fix="fix")
    row = row_of(*STOP_ACCEPTED, first, Began(0, 2000.0))
    assert (row.outcome, row.reason, row.finished_at, row.started_at) == (None, "", None, 1009.0)
    assert row.debt
    assert row_of(*STOP_ACCEPTED, first, Began(0, 2000.0), *HOME).outcome is Outcome.CHANGED


@pytest.mark.row(48)
@pytest.mark.parametrize(
    ("events", "outcome"),
    [
        ((), Outcome.NOT_STARTED),
        ((Began(0, 1.0),), Outcome.UNKNOWN),
        (STOP_ACCEPTED, Outcome.STRANDED),
    ],
)
def test_what_is_open_at_the_end_of_a_run_is_told_for_the_worst(
    events: tuple[Event, ...], outcome: Outcome
) -> None:
    state = fold(PLAN, events)
    assert state.rows()[0].outcome is None
    state.apply(RunEnded(3000.0, RunEnd.INTERRUPTED, "by a person"))
    row = state.rows()[0]
    assert row.outcome is outcome
    assert row.reason.endswith("the run was interrupted: by a person")


@pytest.mark.parametrize(
    ("events", "outcome", "worst", "told"),
    [
        ((), Outcome.NOT_STARTED, Outcome.UNKNOWN, ""),
        ((Began(0, 1.0),), None, Outcome.UNKNOWN, "not followed to its end"),
        (STOP_ACCEPTED, None, Outcome.STRANDED, "stopped by us and not seen RUNNING since"),
    ],
)
def test_what_a_run_had_begun_that_broke_off_is_open_unless_nobody_can_go_on_with_it(
    events: tuple[Event, ...], outcome: Outcome | None, worst: Outcome, told: str
) -> None:
    state = fold(PLAN, events)
    row = state.rows(over=True)[0]
    assert (row.outcome, row.reason) == (outcome, "; ".join(filter(None, (told, "the run broke off"))))
    state.gaps = True
    assert state.rows(over=True)[0].outcome is worst


def test_a_run_state_is_known_only_once_a_look_has_shown_it() -> None:
    assert row_of().run_state_after == ""
    assert row_of(saw(Status.RUNNING, 1.0)).run_state_after == "RUNNING"
    assert (row_of(*STOP_ACCEPTED).run_state_before, row_of(*STOP_ACCEPTED).run_state_after) == (
        "RUNNING",
        "",
    )
    assert row_of(*STOP_ACCEPTED, saw(Status.STOPPED, 1060.0)).run_state_after == "STOPPED"


def test_with_gaps_in_the_journal_nothing_is_known_as_not_started() -> None:
    state = fold(PLAN, ())
    state.gaps = True
    assert state.rows(over=True)[1].outcome is Outcome.UNKNOWN


def test_a_continued_run_has_its_first_beginning_and_its_last_end() -> None:
    state = fold(
        PLAN, (RunStarted(10.0, "r", "d"), RunEnded(20.0, RunEnd.INTERRUPTED), RunStarted(30.0, "r", "d"))
    )
    assert (state.started_at, state.finished_at, state.end) == (10.0, None, None)
    state.apply(RunEnded(40.0, RunEnd.FINISHED))
    assert (state.finished_at, state.end) == (40.0, RunEnd.FINISHED)


def test_of_each_key_the_latest_limit_by_policy_and_window_is_kept() -> None:
    user, api, less = Limit("user", 60, 60.0), Limit("api", 10, 1.0), Limit("user", 30, 60.0)
    hourly = Limit("user", 900, 3600.0)
    told = [Slowed(float(at), "k", "", limit) for at, limit in enumerate((user, api, hourly, less))]
    state = fold(PLAN, (*told, Slowed(4.0, "j", "", api)))
    assert {key: set(named.values()) for key, named in state.limits.items()} == {
        "k": {less, api, hourly},
        "j": {api},
    }


def test_throttling_that_names_no_limit_teaches_none() -> None:
    state = fold(PLAN, (Slowed(1.0, "k", "slower"), Slowed(2.0, "k", "pausing")))
    assert (state.limits, state.throttled) == ({}, {"k": "pausing"})


def test_requests_add_up_over_scopes_and_processes() -> None:
    first = (Spent(1.0, "a", {"get": 2, "list": 1}), Spent(2.0, "b", {"get": 1}))
    state = fold(PLAN, (*first, RunEnded(3.0, RunEnd.HALTED), RunResumed(4.0), Spent(5.0, "a", {"list": 4})))
    assert (state.spent, state.broke_off) == (Counter(get=3, list=5), False)


def test_a_process_that_died_left_requests_untold() -> None:
    assert fold(PLAN, (RunStarted(1.0, "r", "d"), RunResumed(2.0))).broke_off


def test_an_event_about_no_change_of_the_plan_is_refused() -> None:
    with pytest.raises(ValueError, match="item 7"):
        fold(PLAN, (Began(7, 1.0),))


def test_counts_name_every_outcome_and_add_up() -> None:
    counts = count(fold(PLAN, (Began(0, 1.0),)).rows())
    assert counts["unchanged"] == 1
    assert counts["open"] == 2
    assert set(counts) == {outcome.value for outcome in Outcome} | {"open"}
    assert "open" not in count(fold(PLAN, ()).rows(over=True))


SAMPLE = fold(PLAN, ()).rows()[0]


@pytest.mark.parametrize(
    ("outcomes", "end", "code"),
    [
        ((), RunEnd.FINISHED, Exit.DONE),
        ((Outcome.CHANGED, Outcome.UNCHANGED, Outcome.SKIPPED), RunEnd.FINISHED, Exit.DONE),
        ((Outcome.FAILED,), RunEnd.FINISHED, Exit.SOME_FAILED),
        ((Outcome.FAILED, Outcome.NOT_STARTED), RunEnd.HALTED, Exit.STOPPED_BY_GUARD),
        ((), RunEnd.LOCKED_OUT, Exit.STOPPED_BY_GUARD),
        ((Outcome.FAILED, Outcome.DRIFTED), RunEnd.HALTED, Exit.SOME_DRIFTED),
        ((Outcome.GONE,), RunEnd.FINISHED, Exit.SOME_DRIFTED),
        ((Outcome.GONE, Outcome.NOT_STARTED), RunEnd.INTERRUPTED, Exit.INTERRUPTED),
        ((Outcome.CHANGED,), None, Exit.INTERRUPTED),
        ((Outcome.STRANDED, Outcome.FAILED), RunEnd.INTERRUPTED, Exit.STRANDED),
        ((Outcome.UNKNOWN,), RunEnd.FINISHED, Exit.STRANDED),
    ],
)
def test_the_largest_exit_code_wins(outcomes: tuple[Outcome, ...], end: RunEnd | None, code: Exit) -> None:
    assert exit_code([replace(SAMPLE, outcome=outcome) for outcome in outcomes], end) is code


def test_a_debt_is_exit_code_7_whatever_the_outcome() -> None:
    owing = replace(SAMPLE, outcome=Outcome.FAILED, debt=True)
    assert exit_code([owing], RunEnd.FINISHED) is Exit.STRANDED


# Any sequence of events, however odd: a damaged journal can have any gap.

items = st.sampled_from([0, 1])
instants = st.integers(0, 2000).map(float)
sights = st.builds(
    Sight,
    st.sampled_from(Status),
    st.dictionaries(st.sampled_from(["image_id", "name"]), st.sampled_from([OLD, NEW])),
    st.none() | st.builds(Lease, st.booleans(), st.sampled_from(LeaseType), st.integers(0, HOUR)),
    st.none() | st.integers(-HOUR, HOUR),
)
writes = st.sampled_from([Step.STOP, Step.PUT, Step.START, Step.LEASE])
bodies = st.dictionaries(st.sampled_from(["image_id", "hooks"]), st.sampled_from([OLD, NEW]))
sends = st.integers(0, 3)
events_of_a_run: st.SearchStrategy[Event] = st.one_of(
    st.builds(Began, items, instants),
    st.builds(Intended, items, instants, writes, st.integers(1, 3), bodies),
    st.builds(
        Answered,
        items,
        instants,
        writes,
        st.sampled_from(Fate),
        request_id=st.sampled_from("abc"),
        sends=sends,
    ),
    st.builds(Saw, items, instants, sights, sends=sends),
    st.builds(Blind, items, instants, st.sampled_from(Meaning), st.just("text"), sends),
    st.builds(Late, items, instants),
    st.builds(Ended, items, instants, st.sampled_from(Outcome), st.just("why"), st.booleans(), st.just("")),
    st.builds(RunStarted, instants, st.just("run"), st.just("digest")),
    st.builds(WaveStarted, instants, st.just(1), st.just(2)),
    st.builds(WaveEnded, instants, st.just(1), st.booleans()),
    st.builds(Slowed, instants, st.sampled_from("kl"), st.just("60/min")),
    st.builds(RunEnded, instants, st.sampled_from(RunEnd)),
)
histories = st.lists(events_of_a_run, max_size=30)


@given(histories, st.integers(0, 30))
def test_a_fold_of_all_equals_a_fold_of_any_split(history: list[Event], cut: int) -> None:
    state: RunState = fold(PLAN, history[:cut])
    state.rows(over=True)  # looking must not change anything
    debts(state)
    for event in history[cut:]:
        state.apply(load_event(dump_event(event)))
    assert state == fold(PLAN, history)
    assert state.rows() == fold(PLAN, history).rows()


@given(histories)
def test_any_history_gives_one_sound_row_for_each_notebook(history: list[Event]) -> None:
    state = fold(PLAN, history)
    rows = state.rows(over=True)
    assert [row.item for row in rows] == [0, 1, 2]
    begun = {event.item for event in history if isinstance(event, ChangeEvent)}
    assert all(row.outcome is not None or (row.item in begun and state.end is None) for row in rows)
    assert all(row.away_s >= 0 for row in rows)
    assert min(min(row.calls.put, row.calls.stop, row.calls.start, row.calls.get) for row in rows) >= 0
    assert [debt.item for debt in debts(state)] == [row.item for row in rows if row.debt]
    assert all(row.fix for row in rows if row.debt)
    assert sum(count(rows).values()) == len(rows)


@given(histories)
def test_only_our_stop_our_start_or_an_end_that_says_so_makes_a_debt(history: list[Event]) -> None:
    """A start too: what we started and does not run is owed again."""
    harmless = [
        event
        for event in history
        if not (isinstance(event, Intended | Answered) and event.step in (Step.STOP, Step.START))
        and not (isinstance(event, Ended) and event.debt)
    ]
    assert debts(fold(PLAN, harmless)) == ()


@given(histories)
def test_nothing_but_a_look_a_refusal_or_an_end_takes_a_debt_away(history: list[Event]) -> None:
    paying = (Saw, Ended)
    rest = [
        event
        for event in history
        if not isinstance(event, paying) and not (isinstance(event, Answered) and event.fate is Fate.REFUSED)
    ]
    stop = Intended(0, 1.0, Step.STOP, 1)
    assert 0 in [debt.item for debt in debts(fold(PLAN, [stop, *rest]))]


def test_the_largest_count_in_any_window_is_that_of_all_processes() -> None:
    counts = [Counted(float(most), "k, reads", "user", 60.0, 60, most) for most in (57, 58, 12)]
    other = Counted(9.0, "k, reads", "configured", 1.0, 5, 5)
    state = fold(PLAN, (*counts, other))
    assert state.peaks == {"k, reads": {Limit("user", 60, 60.0): 58, Limit("configured", 5, 1.0): 5}}


@pytest.mark.parametrize(
    "after",
    [
        Late(0, 1011.0, "the journal cannot be written"),
        Ended(0, 1011.0, Outcome.NOT_STARTED, "nothing was sent"),
    ],
)
def test_a_write_that_got_no_further_than_the_journal_is_no_call(after: Event) -> None:
    row = row_of(Began(0, 1009.0), intended(Step.PUT, 1010.0, image_id=NEW), after)
    assert row.calls == Calls()
    assert not row.written


def test_a_write_of_a_process_that_was_killed_counts_whatever_its_successor_does() -> None:
    killed = (Began(0, 1009.0), intended(Step.PUT, 1010.0, image_id=NEW), Reopened(0, 1020.0))
    late = (Late(0, 1030.0), Ended(0, 1031.0, Outcome.NOT_STARTED))
    for row in (row_of(*killed), row_of(*killed, *late)):
        assert row.calls == Calls(put=1)
        assert row.written


@pytest.mark.parametrize(
    ("fate", "written"), [(Fate.ACCEPTED, True), (Fate.IN_DOUBT, True), (Fate.REFUSED, False)]
)
def test_a_put_that_was_not_refused_may_have_written(fate: Fate, written: bool) -> None:
    put = (Began(0, 1009.0), intended(Step.PUT, 1010.0, image_id=NEW), answered(Step.PUT, 1011.0, fate))
    assert row_of(*put).written is written
    assert not row_of(*STOP_ACCEPTED).written
    again = intended(Step.PUT, 1012.0, image_id=NEW), answered(Step.PUT, 1013.0, Fate.REFUSED)
    assert row_of(*put, *again).written is written


def test_a_put_whose_answer_the_journal_lost_may_have_written() -> None:
    lost = (Began(0, 1009.0), intended(Step.PUT, 1010.0, image_id=NEW), intended(Step.START, 1020.0))
    assert row_of(*lost, answered(Step.START, 1021.0)).written
