"""A breaker opens when most of what is tried fails, probes, and lets changes come again slowly."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.sight import Sight
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
    Saw,
    Step,
)
from fleet.core.notebook import Status
from fleet.core.pacing.breaker import (
    ALIKE,
    HOPELESS,
    LONGEST_WAIT,
    MOMENT,
    PROBE_WAIT,
    STEP,
    WINDOW,
    Breaker,
    calls_of,
    cause_of,
    untroubled,
)
from fleet.core.planning.closing import closed_by
from fleet.core.planning.plan import Change

MOST = 16


def opened(at: float = 0.0) -> Breaker:
    """A breaker that too many failed calls opened, with nothing under way."""
    breaker = Breaker(MOST)
    assert breaker.called(20, 3, at) == "3 of 20 calls failed or were repeated"
    return breaker


def opened_by_changes(at: float = 0.0, count: int = ALIKE) -> Breaker:
    """A breaker that changes which failed alike opened."""
    breaker = Breaker(MOST)
    for _ in range(count):
        breaker.began()
    for _ in range(count):
        breaker.ended(Outcome.FAILED, "forbidden", at)
    return breaker


@pytest.mark.row(5)
@pytest.mark.parametrize(
    ("calls", "failed", "opens"),
    [(19, 19, False), (20, 2, False), (20, 3, True), (1000, 100, False), (1000, 101, True)],
)
def test_more_than_a_tenth_of_enough_calls_must_fail(calls: int, failed: int, opens: bool) -> None:
    breaker = Breaker(MOST)
    breaker.called(calls, failed, 0.0)
    assert breaker.open is opens
    assert breaker.admits(0.0) is not opens


def test_calls_that_left_the_window_count_no_more() -> None:
    breaker = Breaker(MOST)
    breaker.called(10, 10, 0.0)
    assert breaker.called(10, 0, WINDOW) == ""
    assert breaker.called(10, 0, WINDOW + 1.0) == ""
    assert breaker.closed


def test_a_flood_of_calls_is_remembered_by_its_moments() -> None:
    breaker = Breaker(MOST)
    for number in range(10_000):
        breaker.called(1, 0, number / 1000)
    assert len(breaker._recent) <= 10 / MOMENT + 1
    assert breaker.called(1200, 1200, 10.0) == "1200 of 11200 calls failed or were repeated"


@pytest.mark.parametrize("status", Status)
@pytest.mark.parametrize("sends", [0, 1, 2])
@pytest.mark.parametrize("fate", Fate)
def test_whoever_is_told_that_an_event_is_untroubled_misses_nothing(
    planned: Callable[..., Change], status: Status, sends: int, fate: Fate
) -> None:
    meaning = None if fate is Fate.ACCEPTED else Meaning.FROZEN
    answered = Answered(0, 0.0, Step.PUT, fate, meaning=meaning, sends=sends)
    for event in (Saw(0, 0.0, Sight(status), sends=sends), answered):
        told = (calls_of(event), cause_of(event), closed_by(event, planned(), sent=True))
        assert untroubled(event) is (told == ((1, 0), None, None))


@pytest.mark.row(5)
def test_one_new_change_is_let_through_as_a_probe_and_no_second_one() -> None:
    breaker = opened()
    assert [breaker.admits(at) for at in (0.0, PROBE_WAIT - 0.1, PROBE_WAIT)] == [False, False, True]
    assert breaker.wait(1.0) == PROBE_WAIT - 1.0
    breaker.began()
    assert not breaker.admits(1000.0)
    assert breaker.wait(1000.0) is None


def test_a_probe_that_is_due_is_waited_for_no_longer() -> None:
    breaker = opened()
    assert (breaker.admits(PROBE_WAIT), breaker.wait(PROBE_WAIT)) == (True, None)


def test_what_is_heard_before_the_probe_is_due_says_nothing() -> None:
    breaker = opened()
    breaker.called(5, 0, PROBE_WAIT - 0.1)
    breaker.called(5, 5, PROBE_WAIT - 0.1)
    assert breaker.open
    assert breaker.admits(PROBE_WAIT)


def test_a_look_of_a_change_under_way_ends_the_storm_as_well() -> None:
    breaker = opened()
    assert breaker.called(1, 0, PROBE_WAIT) == "it works again: new changes start slowly"
    assert breaker.admits(PROBE_WAIT)


def test_the_wait_for_the_next_probe_doubles_up_to_a_minute() -> None:
    breaker, now, waits = opened(), 0.0, []
    for _ in range(6):
        wait = breaker.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        breaker.began()
        breaker.called(8, 8, now)
        breaker.ended(Outcome.FAILED, f"other each time {now}", now)
    assert waits == [5.0, 10.0, 20.0, 40.0, 60.0, LONGEST_WAIT]


def test_a_probe_that_ends_without_a_word_makes_room_for_another() -> None:
    breaker = opened()
    breaker.began()
    breaker.ended(Outcome.NOT_STARTED, "", PROBE_WAIT)
    assert breaker.admits(PROBE_WAIT)


@pytest.mark.row(5)
def test_the_slow_start_doubles_with_every_step_that_went_well() -> None:
    breaker, now, room = opened(), PROBE_WAIT, []
    breaker.called(1, 0, now)
    while not breaker.closed:
        started = 0
        while breaker.admits(now):
            breaker.began()
            started += 1
        room.append(started)
        now += STEP
        breaker.called(10, 0, now)
        for _ in range(started):
            breaker.ended(Outcome.CHANGED, "", now)
    assert room == [1, 2, 4, 8]
    assert breaker.admits(now)


def test_the_slow_start_waits_for_its_step() -> None:
    breaker = opened()
    breaker.called(1, 0, PROBE_WAIT)
    breaker.began()
    breaker.called(10, 0, PROBE_WAIT + STEP - 0.1)
    assert not breaker.admits(PROBE_WAIT + STEP - 0.1)
    breaker.called(10, 0, PROBE_WAIT + STEP)
    assert breaker.admits(PROBE_WAIT + STEP)


def test_a_failure_early_in_the_slow_start_opens_it_again_for_longer() -> None:
    breaker = opened()
    breaker.called(1, 0, PROBE_WAIT)
    assert breaker.called(1, 1, PROBE_WAIT + 1.0) != ""
    assert breaker.open
    assert breaker.wait(PROBE_WAIT + 1.0) == 2 * PROBE_WAIT


@pytest.mark.row(36)
@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.STRANDED, Outcome.UNKNOWN])
def test_equal_failures_in_a_row_open_it_and_only_a_success_lets_more_come(outcome: Outcome) -> None:
    breaker = Breaker(MOST)
    news = []
    for _ in range(ALIKE):
        breaker.began()
        news.append(breaker.ended(outcome, "forbidden", 0.0))
    assert news == ["", "", "", "", "5 changes in a row failed alike: forbidden"]
    breaker.called(100, 0, PROBE_WAIT)
    assert breaker.open
    assert breaker.admits(PROBE_WAIT)
    breaker.began()
    assert breaker.ended(Outcome.CHANGED, "", PROBE_WAIT) != ""
    assert breaker.admits(PROBE_WAIT)


def test_a_row_is_broken_by_a_success_and_by_another_cause_but_not_by_a_change_left_alone() -> None:
    breaker = Breaker(MOST)
    failed, changed, skipped = Outcome.FAILED, Outcome.CHANGED, Outcome.SKIPPED
    row = [(failed, "a")] * 4 + [(changed, "")] + [(failed, "a")] * 4 + [(failed, "b")] * 3
    for outcome, cause in row:
        breaker.ended(outcome, cause, 0.0)
    assert breaker.closed
    breaker.ended(skipped, "", 0.0)
    breaker.ended(failed, "b", 0.0)
    assert breaker.closed
    breaker.ended(failed, "b", 0.0)
    assert breaker.open


@pytest.mark.row(19, 36)
def test_too_many_equal_failures_are_hopeless() -> None:
    assert opened_by_changes(count=HOPELESS - 1).hopeless is None
    assert opened_by_changes(count=HOPELESS).hopeless == "20 changes in a row failed alike: forbidden"


def test_probes_that_fail_alike_come_ever_more_slowly() -> None:
    breaker, now, waits = opened_by_changes(), 0.0, []
    while breaker.hopeless is None:
        wait = breaker.wait(now)
        assert wait is not None
        waits.append(wait)
        now += wait
        breaker.began()
        breaker.ended(Outcome.FAILED, "forbidden", now)
    assert waits == [5.0, 10.0, 20.0, 40.0] + [60.0] * (HOPELESS - ALIKE - 4)


ENDS = st.tuples(st.sampled_from(list(Outcome)), st.sampled_from(["", "a", "b"]))


@given(data=st.data(), most=st.integers(1, 64))
def test_whatever_happened_good_times_let_it_run_at_full_width_again(data: st.DataObject, most: int) -> None:
    breaker, now, under_way = Breaker(most), 0.0, 0
    for _ in range(data.draw(st.integers(0, 60))):
        now += data.draw(st.sampled_from([0.0, 0.1, 1.0, 5.0, 30.0, 200.0]))
        while under_way < most and data.draw(st.booleans()) and breaker.admits(now):
            was_open = breaker.open
            breaker.began()
            under_way += 1
            assert not (was_open and breaker.admits(now)), "a second probe"
        if data.draw(st.booleans()):
            calls = data.draw(st.integers(0, 40))
            breaker.called(calls, data.draw(st.integers(0, calls)), now)
        elif under_way:
            breaker.ended(*data.draw(ENDS), now)
            under_way -= 1
    for _ in range(200):
        if breaker.closed:
            break
        now += 10.0
        while breaker.admits(now) and under_way < most:
            breaker.began()
            under_way += 1
            breaker.called(3, 0, now)
        if under_way:
            breaker.called(3, 0, now)
            breaker.ended(Outcome.CHANGED, "", now)
            under_way -= 1
    assert breaker.closed


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 30), st.floats(0, 50)), max_size=60))
def test_nothing_starts_before_the_probe_is_due(calls: list[tuple[int, int, float]]) -> None:
    breaker, now = Breaker(MOST), 0.0
    for count, failed, later in calls:
        now += later
        breaker.called(count, min(count, failed), now)
        wait = breaker.wait(now)
        assert breaker.open or wait is None
        assert breaker.admits(now) is (wait is None)


def answered(fate: Fate, meaning: Meaning | None = None, code: str = "", sends: int = 1) -> Answered:
    return Answered(0, 0.0, Step.PUT, fate, meaning=meaning, code=code, sends=sends)


@pytest.mark.parametrize(
    ("event", "calls"),
    [
        (Saw(0, 0.0, Sight(Status.RUNNING)), (1, 0)),
        (Saw(0, 0.0, Sight(Status.RUNNING), sends=4, repeats=3), (4, 3)),
        (Saw(0, 0.0, Sight(Status.RUNNING), sends=2), (2, 0)),
        (Saw(0, 0.0, Sight(Status.RUNNING), sends=0), (0, 0)),
        (Blind(0, 0.0, Meaning.SERVER, "", sends=8), (8, 8)),
        (Blind(0, 0.0, Meaning.UNREACHABLE, "", sends=0), (1, 1)),
        (Blind(0, 0.0, Meaning.FORBIDDEN, ""), None),
        (answered(Fate.ACCEPTED, sends=3), (3, 2)),
        (answered(Fate.REFUSED, Meaning.INVALID), (1, 0)),
        (answered(Fate.REFUSED, Meaning.THROTTLED, sends=2), (2, 2)),
        (answered(Fate.IN_DOUBT, Meaning.LOST), (1, 1)),
        (Intended(0, 0.0, Step.PUT, 1), None),
        (Began(0, 0.0), None),
        (Ended(0, 0.0, Outcome.CHANGED), None),
    ],
)
def test_an_event_tells_of_calls_and_of_those_that_failed_in_passing(
    event: ChangeEvent, calls: tuple[int, int] | None
) -> None:
    assert calls_of(event) == calls


@pytest.mark.parametrize(
    ("event", "cause"),
    [
        (answered(Fate.REFUSED, Meaning.FORBIDDEN, "ModelArts.0112"), "forbidden (ModelArts.0112)"),
        (answered(Fate.IN_DOUBT, Meaning.LOST), "no answer"),
        (answered(Fate.ACCEPTED), None),
        (Blind(0, 0.0, Meaning.FORBIDDEN, "foreign text"), "forbidden"),
        (Saw(0, 0.0, Sight(Status.START_FAILED, fail_reason="differs")), "START_FAILED"),
        (Saw(0, 0.0, Sight(Status.RUNNING)), None),
        (Late(0, 0.0, "its time was up (foreign text)"), "the time was up"),
        (Began(0, 0.0), None),
    ],
)
def test_causes_are_equal_whatever_the_texts_say(event: ChangeEvent, cause: str | None) -> None:
    assert cause_of(event) == cause
