"""Who may start at a given moment, whom to look at when, and how cautious the time for a window is."""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.events import Leave, Outcome
from fleet.core.notebook import Lease, LeaseType, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Change, Phase, Took
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.core.scheduling.readiness import (
    FRESH,
    LAG,
    MODEST,
    REQUEST,
    UNKNOWN,
    Drop,
    Facts,
    Go,
    Judge,
    Lookout,
    Pace,
    Standing,
    Wait,
    Why,
    leave_of,
    moment,
    stops,
)
from fleet.core.scheduling.timing import Moment, Notice, Otherwise
from tests.plans import make_change

DAY = 86_400.0
RUNNING = make_change()
STILL = make_change(run_state=Status.STOPPED)
LATER = make_change(run_state=Status.STOPPED, stage=2, follows=0)  # a person may start it before
GENTLE = make_change(phases=(Phase(When.ANY, {"name": "b"}),))
NEXT: dict[str, Any] = {"when": Moment.NEXT_STOP, "patience": DAY}
IDLE: dict[str, Any] = {"when": Moment.IDLE, "patience": DAY}
TOLD: dict[str, Any] = {"notice": Notice(("mail",), lead=100.0)}


def judged(
    change: Change = RUNNING,
    now: float = 0.0,
    postponed: float | None = None,
    ends: float | None = None,
    facts: Facts | None = None,
    pace: Pace | None = None,
    **rollout: Any,
) -> Standing:
    """What becomes of a change whose wave began at 0."""
    made = Rollout(**rollout)
    facts = facts or Facts(0.0, stops(change))
    opening = partial(made.calendar.next_opening, now)
    return Judge(made, ends, pace or Pace()).standing(change, facts, now, postponed, opening)


def known(**facts: Any) -> Facts:
    return Facts(0.0, True, **facts)


def late(outcome: Outcome, reason: str) -> Drop:
    return Drop(outcome, reason)


FORCE: dict[str, Any] = {"otherwise": Otherwise.FORCE}
WISH = "its owner asked for no stop before 1970-01-03 00:00 UTC, which is after the "

CASES: list[tuple[Standing, dict[str, Any]]] = [
    (Go(None), {"change": STILL}),
    (Go(None), {"change": STILL, **NEXT, **TOLD}),
    (Go(Leave.SPARE), {"change": GENTLE, **NEXT}),
    (Go(Leave.SPARE), {"change": GENTLE, **TOLD}),
    (Go(Leave.STOP), {"change": GENTLE}),
    (Wait(Why.STOP, DAY), NEXT),
    (Wait(Why.IDLE, DAY), IDLE),
    (Wait(Why.STOP, DAY), {**NEXT, "now": DAY - 1}),
    (Wait(Why.STOP, DAY), {**NEXT, "facts": known(idle_at=0.0)}),
    (Go(Leave.SPARE), {**NEXT, "facts": known(stopped=True)}),
    (Go(Leave.SPARE), {**IDLE, "facts": known(stopped=True)}),
    (Go(Leave.IDLE), {**IDLE, "now": FRESH, "facts": known(idle_at=0.0)}),
    (Wait(Why.IDLE, DAY), {**IDLE, "now": FRESH + 1, "facts": known(idle_at=0.0)}),
    (late(Outcome.SKIPPED, "did not stop by itself within 1d"), {**NEXT, "now": DAY}),
    (late(Outcome.SKIPPED, "did not become idle or stop within 1d"), {**IDLE, "now": DAY}),
    (Go(Leave.FORCED), {**NEXT, **FORCE, "now": DAY}),
    (Go(Leave.SPARE), {**NEXT, **FORCE, "now": DAY, "facts": known(stopped=True)}),
    # a notice
    (Wait(Why.NOTICE), TOLD),
    (Wait(Why.NOTICE, 150.0), {**TOLD, "now": 149.0, "facts": known(noticed=50.0)}),
    (Go(Leave.STOP), {**TOLD, "now": 150.0, "facts": known(noticed=50.0)}),
    (late(Outcome.SKIPPED, "its owner could not be told: no"), {**TOLD, "facts": known(unnoticed="no")}),
    (Go(Leave.SPARE), {**NEXT, **TOLD, "facts": known(stopped=True, unnoticed="no")}),
    (Wait(Why.NOTICE), {**NEXT, **FORCE, **TOLD, "now": DAY}),
    (Wait(Why.NOTICE, DAY + 10), {**NEXT, **FORCE, **TOLD, "now": DAY, "facts": known(noticed=DAY - 90)}),
    # a wish
    (Wait(Why.POSTPONED, 500.0), {**TOLD, "now": 200.0, "facts": known(noticed=0.0), "postponed": 500.0}),
    (Go(Leave.STOP), {**TOLD, "now": 500.0, "facts": known(noticed=0.0), "postponed": 500.0}),
    (Wait(Why.POSTPONED), {**TOLD, "now": 200.0, "facts": known(noticed=0.0), "postponed": UNKNOWN}),
    (late(Outcome.SKIPPED, f"{WISH}deadline"), {**TOLD, "ends": DAY, "postponed": 2 * DAY}),
    (late(Outcome.SKIPPED, f"{WISH}patience"), {**NEXT, **FORCE, **TOLD, "now": DAY, "postponed": 2 * DAY}),
    (Wait(Why.POSTPONED, DAY), {**IDLE, **TOLD, "facts": known(idle_at=0.0), "postponed": 2 * DAY}),
    (Go(Leave.SPARE), {**NEXT, **TOLD, "facts": known(stopped=True), "postponed": 2 * DAY}),
]


@pytest.mark.parametrize(("standing", "case"), CASES)
def test_every_case_has_its_standing(standing: Standing, case: dict[str, Any]) -> None:
    assert judged(**case) == standing


NIGHT = Calendar((Window("0 2 * * *", 3600.0),))  # 7200 to 10800 of a UTC day


@pytest.mark.parametrize(
    ("now", "change", "standing"),
    [
        (0.0, RUNNING, Wait(Why.WINDOW, 7200.0)),
        (7200.0, RUNNING, Go(Leave.STOP)),
        (10_600.0, RUNNING, Go(Leave.STOP)),
        (10_700.0, RUNNING, Wait(Why.WINDOW, 7200.0 + DAY)),  # a restart takes three minutes
        (10_700.0, STILL, Go(None)),
    ],
)
def test_a_change_starts_only_if_it_will_be_over_before_its_window(
    now: float, change: Change, standing: Standing
) -> None:
    assert judged(change, now, calendar=NIGHT) == standing


def test_a_notebook_that_stopped_by_itself_needs_less_of_a_window() -> None:
    facts = known(stopped=True)
    assert judged(now=10_700.0, facts=facts, calendar=NIGHT, **NEXT) == Go(Leave.SPARE)


def test_what_takes_longer_than_every_window_is_never_begun() -> None:
    short = Calendar((Window("0 2 * * *", 120.0),))
    standing = judged(calendar=short)
    assert isinstance(standing, Drop)
    assert standing.reason == "takes about 3m4s: no window will be long enough"


@given(
    st.sampled_from([RUNNING, GENTLE, STILL]),
    st.sampled_from(list(Moment)),
    st.sampled_from(list(Otherwise)),
    st.booleans(),
    st.builds(
        Facts,
        since=st.just(0.0),
        stops=st.just(True),
        stopped=st.booleans(),
        idle_at=st.none() | st.floats(0, 3 * DAY),
        noticed=st.none() | st.floats(0, 3 * DAY),
        unnoticed=st.sampled_from(["", "no"]),
    ),
    st.floats(0, 3 * DAY),
    st.none() | st.floats(0, 4 * DAY),
)
def test_nobody_may_stop_a_notebook_before_its_moment(
    change: Change,
    when: Moment,
    otherwise: Otherwise,
    tells: bool,
    facts: Facts,
    now: float,
    postponed: float | None,
) -> None:
    notice = Notice(("mail",), lead=100.0) if tells else None
    facts.stops = stops(change)
    rollout: dict[str, Any] = {"when": when, "patience": DAY, "otherwise": otherwise, "notice": notice}
    standing = judged(change, now, postponed, facts=facts, **rollout)
    if not isinstance(standing, Go) or standing.leave in (None, Leave.SPARE) or not facts.stops:
        return
    if when is Moment.NEXT_STOP:
        assert (standing.leave, otherwise, now >= DAY) == (Leave.FORCED, Otherwise.FORCE, True)
    if when is Moment.IDLE and standing.leave is Leave.IDLE:
        assert facts.idle_at is not None
        assert now - facts.idle_at <= FRESH
    if tells:
        assert facts.noticed is not None
        assert now >= facts.noticed + 100.0
        assert postponed is None or postponed <= now
        assert not facts.unnoticed


@pytest.mark.parametrize("careful", [NEXT, IDLE, TOLD, {"calendar": NIGHT}])
def test_whoever_may_be_found_running_is_held_dear(careful: dict[str, Any]) -> None:
    assert leave_of(Rollout(), RUNNING) is leave_of(Rollout(), LATER) is None
    assert leave_of(Rollout(**careful), STILL) is None
    assert leave_of(Rollout(**careful), GENTLE) is leave_of(Rollout(**careful), LATER) is Leave.SPARE


def test_a_later_stage_found_running_waits_like_any_other_and_needs_time_for_a_restart() -> None:
    assert judged(LATER, **NEXT) == Go(Leave.SPARE)
    assert judged(LATER, facts=known(), **NEXT) == Wait(Why.STOP, DAY)
    assert judged(LATER, facts=known(), **TOLD) == Wait(Why.NOTICE)
    assert judged(LATER, 10_700.0, facts=known(), calendar=NIGHT) == Wait(Why.WINDOW, 7200.0 + DAY)
    assert judged(LATER, 10_700.0, calendar=NIGHT) == Go(Leave.SPARE)


def test_instants_are_told_in_utc() -> None:
    assert moment(1_750_000_000.0) == "2025-06-15 15:06 UTC"


# --- how long changes take -------------------------------------------------------------------------------


def test_changes_are_assumed_to_take_their_time_until_enough_were_seen() -> None:
    pace = Pace()
    assumed = pace.needs(RUNNING)
    for _ in range(4):
        pace.took(RUNNING, 50.0)
    assert pace.needs(RUNNING) == assumed
    pace.took(RUNNING, 50.0)
    assert pace.needs(RUNNING) == pytest.approx(55.0)
    assert pace.usual(RUNNING) == 50.0
    assert pace.needs(STILL) < 5.0


def test_one_long_change_makes_others_of_its_flavor_cautious_until_most_were_quicker() -> None:
    pace, other = Pace(), make_change(flavor="another")
    before = pace.needs(RUNNING)
    pace.took(RUNNING, 1000.0)
    assert pace.needs(RUNNING) == pytest.approx(1100.0)
    assert pace.needs(other) == before
    for _ in range(9):
        pace.took(RUNNING, 50.0)
    assert pace.needs(RUNNING) == pytest.approx(55.0)


LEARNED = {RUNNING.flavor: Took(600, 900, 700, 1000, of=30)}


def test_what_earlier_runs_took_on_a_flavor_decides_when_the_last_one_may_start() -> None:
    other = make_change(flavor="another")
    late = 10_800.0 - 1650.0
    assert judged(now=late, calendar=NIGHT, pace=Pace(LEARNED)) == Wait(Why.WINDOW, 7200.0 + DAY)
    assert judged(now=late - 100.0, calendar=NIGHT, pace=Pace(LEARNED)) == Go(Leave.STOP)
    assert judged(other, late, calendar=NIGHT, pace=Pace(LEARNED)) == Go(Leave.STOP)


def test_one_that_took_longer_than_any_window_keeps_no_usual_one_from_its_own() -> None:
    pace = Pace()
    pace.took(RUNNING, 3500.0)
    assert judged(now=0.0, calendar=NIGHT, pace=pace) == Wait(Why.WINDOW, 7200.0)
    assert judged(now=7200.0, calendar=NIGHT, pace=pace) == Go(Leave.STOP)
    assert judged(now=10_700.0, calendar=NIGHT, pace=pace) == Wait(Why.WINDOW, 7200.0 + DAY)
    for _ in range(4):
        pace.took(RUNNING, 3700.0)
    assert isinstance(judged(calendar=NIGHT, pace=pace), Drop)


# --- whom to look at -------------------------------------------------------------------------------------


def timing(ends: float, kind: LeaseType = LeaseType.TIMING, enable: bool = True) -> Lease:
    return Lease(enable, kind, create_at=0, duration=int(ends * 1000))


def test_all_are_looked_at_at_once_and_then_at_a_modest_pace() -> None:
    lookout = Lookout(20.0)
    assert lookout.next is None
    for name in ("a", "b"):
        lookout.watch(name, None, 1000.0)
    assert lookout.next is not None
    assert lookout.next <= 1000.0
    assert lookout.due(1000.0) == ["a", "b"]
    assert lookout.next == 1000.0 + MODEST
    assert lookout.due(1000.0 + MODEST - 1) == []


def test_the_more_requests_a_round_takes_the_rarer_it_is() -> None:
    lookout = Lookout(20.0)
    lookout.pages = 10
    for number in range(100):
        lookout.watch(f"{number}", None, 0.0)
    lookout.due(0.0)
    assert lookout.next == 10 * REQUEST


def test_a_countdown_is_waited_for() -> None:
    lookout = Lookout(20.0)
    lookout.watch("a", timing(30.0), 0.0)
    lookout.watch("b", None, 0.0)
    lookout.due(0.0)
    assert lookout.next == 30.0 + LAG
    assert lookout.due(35.0) == ["a"]
    lookout.saw("a", 35.0, Status.STOPPING, timing(30.0))
    assert lookout.next == 55.0  # soon again
    lookout.saw("a", 55.0, Status.RUNNING, timing(7000.0))  # its person gave it more time
    assert lookout.next == MODEST


@pytest.mark.parametrize("lease", [timing(30.0, LeaseType.IDLE), timing(30.0, enable=False), None])
def test_only_a_countdown_says_when_a_notebook_stops(lease: Lease | None) -> None:
    lookout = Lookout(20.0)
    lookout.watch("a", lease, 0.0)
    lookout.due(0.0)
    assert lookout.next == MODEST


def test_a_countdown_that_is_long_over_is_not_looked_at_for_ever() -> None:
    lookout = Lookout(20.0)
    lookout.watch("a", timing(30.0), 10_000.0)
    lookout.due(10_000.0)
    assert lookout.next == 10_000.0 + MODEST


def test_one_that_comes_back_waits_for_the_next_round() -> None:
    lookout = Lookout(20.0)
    lookout.watch("a", None, 0.0)
    lookout.due(0.0)
    lookout.forget("a")
    lookout.watch("a", None, 1.0, at_once=False)
    assert lookout.next == MODEST


def test_whoever_is_forgotten_is_looked_at_no_more() -> None:
    lookout = Lookout(20.0)
    lookout.watch("a", timing(30.0), 0.0)
    lookout.forget("a")
    lookout.saw("a", 1.0, Status.RUNNING, None)
    assert (lookout.next, lookout.watched) == (None, [])


@given(st.lists(st.floats(0, 5000) | st.none(), min_size=1, max_size=5), st.floats(1, 60))
def test_looking_never_stands_still_and_never_hurries(ends: list[float | None], soon: float) -> None:
    lookout, now, looks = Lookout(soon), 0.0, 0
    for number, end in enumerate(ends):
        lookout.watch(f"{number}", None if end is None else timing(end), now)
    while now < 4000.0:
        assert lookout.next is not None
        now = max(now, lookout.next)
        due = lookout.due(now)
        assert due
        for name in due:
            lookout.saw(name, now)
        looks += 1
    assert looks <= 4000 / MODEST + len(ends) * (130 / soon + 3) + 2
    assert math.isfinite(now)
