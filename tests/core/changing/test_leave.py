"""What a change may do to a notebook that runs: spare it, or stop it; and where it is to end."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.change import Await, End, Look, Write, advance, decide
from fleet.core.changing.life import LOOKS, Life, Stage
from fleet.core.changing.sight import Sight
from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Began,
    ChangeEvent,
    Ended,
    Fate,
    Intended,
    Leave,
    Outcome,
    Reopened,
    Saw,
    Step,
)
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase
from tests.plans import make_change

OLD, NEW = {"image_id": "old", "name": "a"}, {"image_id": "new", "name": "b"}
IMAGE = make_change(phases=(Phase(When.STOPPED, NEW),), before=OLD, after=NEW)
NAME = make_change(phases=(Phase(When.ANY, {"name": "b"}),), before={"name": "a"}, after={"name": "b"})
GROW = make_change(
    phases=(Phase(When.RUNNING, {"storage_new_size": 80}), Phase(When.STOPPED, NEW)),
    before={**OLD, "storage_new_size": 50},
    after={**NEW, "storage_new_size": 80},
)
RUNNING, STOPPED, STARTING = Status.RUNNING, Status.STOPPED, Status.STARTING


def saw(change: Change, status: Status, *, new: bool = False) -> Saw:
    return Saw(0, 1.0, Sight(status, change.after if new else change.before))


def life_of(change: Change, leave: Leave | None, *events: ChangeEvent) -> Life:
    life = Life.begin(change)
    for event in (Began(0, 0.0, leave=leave), *events):
        life = advance(life, event)
    return life


def told(life: Life) -> str:
    """The next move as a word."""
    match decide(life):
        case Write(step):
            return step.value
        case End(outcome):
            return outcome.value
        case Look():
            return "look"
        case Await():
            return "await"


@pytest.mark.parametrize(
    ("leave", "status", "move", "run_state"),
    [
        (None, RUNNING, "stop", RUNNING),
        (None, STOPPED, "drifted", RUNNING),
        (Leave.SPARE, RUNNING, "not-started", RUNNING),
        (Leave.SPARE, STARTING, "not-started", RUNNING),
        (Leave.SPARE, STOPPED, "put", STOPPED),
        (Leave.SPARE, Status.STOPPING, "await", RUNNING),
        *((leave, RUNNING, "stop", RUNNING) for leave in (Leave.STOP, Leave.IDLE, Leave.FORCED)),
        *((leave, STOPPED, "put", STOPPED) for leave in (Leave.STOP, Leave.IDLE, Leave.FORCED)),
        (Leave.FORCED, STARTING, "await", RUNNING),
    ],
)
def test_the_look_before_the_first_write_decides(
    leave: Leave | None, status: Status, move: str, run_state: Status
) -> None:
    life = life_of(IMAGE, leave, saw(IMAGE, status))
    assert (told(life), life.change.run_state) == (move, run_state)


def test_one_that_was_spared_has_not_begun_and_begins_anew() -> None:
    life = life_of(IMAGE, Leave.SPARE, saw(IMAGE, RUNNING))
    assert (life.stage, life.end, life.tries) == (Stage.SPARED, None, {})
    life = advance(life, Ended(0, 2.0, Outcome.NOT_STARTED))
    again = advance(life, Began(0, 3.0, leave=Leave.FORCED))
    assert again._replace(leave=None) == Life.begin(IMAGE)


def test_one_that_was_found_stopped_and_then_runs_before_the_first_write_is_spared() -> None:
    paused = (saw(IMAGE, STOPPED), Reopened(0, 2.0))
    assert told(life_of(IMAGE, Leave.SPARE, *paused, saw(IMAGE, RUNNING))) == "not-started"
    assert told(life_of(IMAGE, Leave.IDLE, *paused, saw(IMAGE, RUNNING))) == "stop"


def test_what_is_already_so_is_unchanged_whatever_its_person_did() -> None:
    assert told(life_of(IMAGE, Leave.SPARE, saw(IMAGE, STOPPED, new=True))) == "unchanged"
    assert told(life_of(IMAGE, Leave.SPARE, saw(IMAGE, RUNNING, new=True))) == "unchanged"


def refused(change: Change) -> tuple[ChangeEvent, ...]:
    """A running notebook refuses the first PUT: not in this state."""
    phase = change.phases[0]
    return (
        saw(change, RUNNING),
        Intended(0, 2.0, Step.PUT, 1, phase.body),
        Answered(0, 2.0, Step.PUT, Fate.REFUSED, meaning=Meaning.WRONG_STATE, code="ModelArts.6347"),
        saw(change, RUNNING),
    )


def test_a_field_that_turns_out_to_need_a_stop_makes_it_wait_and_nothing_was_sent() -> None:
    life = life_of(NAME, Leave.SPARE, *refused(NAME))
    assert (told(life), life.tries, dict(life.moved)) == ("not-started", {}, {"name": When.STOPPED})
    assert told(life_of(NAME, None, *refused(NAME))) == "stop"
    assert told(life_of(NAME, Leave.STOP, *refused(NAME))) == "stop"


def test_the_end_of_one_that_never_began_is_final() -> None:
    life = advance(Life.begin(IMAGE), Ended(0, 2.0, Outcome.SKIPPED, "did not stop"))
    assert (life.end, life.recorded) == ((Outcome.SKIPPED, "did not stop"), True)
    life = advance(Life.begin(IMAGE), Ended(0, 2.0, Outcome.NOT_STARTED, "held"))
    assert (life.end, life.recorded) == (None, True)


STATUSES = st.sampled_from([RUNNING, STOPPED, STARTING, Status.STOPPING, Status.START_FAILED, Status.ERROR])
FATES = st.sampled_from(
    [
        (Fate.ACCEPTED, None),
        (Fate.IN_DOUBT, Meaning.LOST),
        (Fate.REFUSED, Meaning.WRONG_STATE),
        (Fate.REFUSED, Meaning.BUSY),
        (Fate.REFUSED, Meaning.THROTTLED),
        (Fate.REFUSED, Meaning.FORBIDDEN),
    ]
)


@given(
    st.sampled_from([IMAGE, NAME, GROW]),
    st.lists(st.tuples(STATUSES, st.booleans(), FATES, st.booleans()), min_size=1, max_size=30),
)
def test_whatever_is_seen_and_answered_one_to_spare_stops_only_what_it_started(
    change: Change, weather: Sequence[tuple[Status, bool, tuple[Fate, Meaning | None], bool]]
) -> None:
    life = life_of(change, Leave.SPARE)
    for status, new, (fate, meaning), dies in weather:
        if dies and life.tries:
            life = advance(life, Reopened(0, 1.0))
        match decide(life):
            case Write(step, body):
                assert step is not Step.STOP or life.restarted
                life = advance(life, Intended(0, 1.0, step, life.tried(step) + 1, body))
                life = advance(life, Answered(0, 1.0, step, fate, meaning))
            case End() as end:
                assert not end.debt
                return
            case _:
                life = advance(life, saw(change, status, new=new))
        assert not life.debt or life.restarted


@given(
    st.sampled_from([IMAGE, NAME, GROW]),
    st.none() | st.sampled_from([Leave.STOP, Leave.IDLE, Leave.FORCED]),
    st.integers(1, 4),
    st.lists(
        st.tuples(st.sampled_from([RUNNING, RUNNING, RUNNING, STOPPED]), st.just(False), FATES),
        min_size=8,
        max_size=30,
    ),
)
def test_one_taken_up_again_to_be_spared_is_stopped_no_more(
    change: Change,
    leave: Leave | None,
    dies_at: int,
    weather: Sequence[tuple[Status, bool, tuple[Fate, Meaning | None]]],
) -> None:
    life, writes = life_of(change, leave, saw(change, RUNNING)), 0
    for status, new, (fate, meaning) in weather:
        match decide(life):
            case Write(step, body):
                assert step is not Step.STOP or writes < dies_at or life.restarted
                life = advance(life, Intended(0, 1.0, step, life.tried(step) + 1, body))
                writes += 1
                if writes == dies_at:
                    life = advance(life, Reopened(0, 1.0, Leave.SPARE))
                else:
                    life = advance(life, Answered(0, 1.0, step, fate, meaning))
            case End():
                return
            case _:
                life = advance(life, saw(change, status, new=new))


def test_a_stop_of_ours_that_did_not_happen_leaves_nothing_owed_and_the_change_not_begun() -> None:
    sent = (saw(IMAGE, RUNNING), Intended(0, 2.0, Step.STOP, 1), Reopened(0, 3.0, Leave.SPARE))
    life = life_of(IMAGE, Leave.STOP, *sent)
    for _ in range(LOOKS):
        assert life.debt  # as long as it may yet stop
        life = advance(life, saw(IMAGE, RUNNING))
    assert (told(life), life.stage, life.debt, life.begun) == ("not-started", Stage.SPARED, False, False)
    again = advance(advance(life, Ended(0, 4.0, Outcome.NOT_STARTED)), Began(0, 5.0, leave=Leave.STOP))
    assert again._replace(leave=None) == Life.begin(IMAGE)


def test_what_was_written_before_is_not_begun_anew() -> None:
    events = (
        saw(GROW, RUNNING),
        Intended(0, 2.0, Step.PUT, 1, GROW.phases[0].body),
        Answered(0, 2.0, Step.PUT, Fate.ACCEPTED),
        Saw(0, 2.0, Sight(RUNNING, {**OLD, "storage_new_size": 80})),
        Intended(0, 3.0, Step.STOP, 1),
        Reopened(0, 4.0, Leave.SPARE),
    )
    life = life_of(GROW, Leave.STOP, *events)
    while told(life) == "look":
        life = advance(life, Saw(0, 5.0, Sight(RUNNING, {**OLD, "storage_new_size": 80})))
    assert (told(life), life.debt) == ("failed", False)
    assert life.end is not None
    assert life.end[1] == "image_id, name: needs a stop, which must wait"


LATER = make_change(
    phases=(Phase(When.STOPPED, NEW),), before=OLD, after=NEW, run_state=STOPPED, stage=2, follows=0
)


@pytest.mark.parametrize(
    ("leave", "status", "move", "run_state"),
    [
        (None, RUNNING, "stop", RUNNING),
        (Leave.SPARE, RUNNING, "not-started", RUNNING),
        (Leave.SPARE, STARTING, "not-started", STOPPED),
        (Leave.SPARE, STOPPED, "put", STOPPED),
        (Leave.STOP, RUNNING, "stop", RUNNING),
    ],
)
def test_a_later_stage_takes_the_notebook_as_it_is(
    leave: Leave | None, status: Status, move: str, run_state: Status
) -> None:
    life = life_of(LATER, leave, saw(LATER, status))
    assert (told(life), life.change.run_state) == (move, run_state)
    assert life.anew() == Life.begin(LATER)


@pytest.mark.parametrize("leave", Leave)
def test_who_was_stopped_by_its_person_is_not_started_for_a_field_that_needs_it_running(leave: Leave) -> None:
    life = life_of(GROW, leave, saw(GROW, STOPPED))
    assert life.end == (Outcome.SKIPPED, "stopped since the plan; storage_new_size: needs it running")
    assert not life.tries
