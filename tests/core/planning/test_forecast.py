"""Who has to say yes reads in which window which wave goes, and when all is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Status
from fleet.core.planning.estimate import wave_seconds
from fleet.core.planning.forecast import forecast
from fleet.core.planning.plan import Plan
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Span, Window
from fleet.core.scheduling.timing import Moment, Notice, Otherwise
from tests.plans import make_change, make_plan

HOUR = 3600.0
DAY = 24 * HOUR
NIGHTLY = Calendar((Window("0 22 * * *", HOUR),))  # by UTC; the plans are of 00:00
FIRST, SECOND, THIRD = (Span(at * DAY + 22 * HOUR, at * DAY + 23 * HOUR) for at in range(3))


def plan_of(waves: int, *, each: int = 1, **fields: object) -> Plan:
    """Waves of `each` restarts that go one after the other: of 182.5 s each."""
    rollout = replace(Rollout(), concurrency=1, **fields)  # type: ignore[arg-type]  # fields of a rollout
    changes = [make_change(at, wave=1 + at // each) for at in range(waves * each)]
    return make_plan(*changes, rollout=rollout, created_at=0.0)


def words(plan: Plan) -> list[tuple[Span, list[str]]]:
    return [(span, [str(visit) for visit in visits]) for span, visits in forecast(plan).visits]


def test_waves_that_fit_share_a_window() -> None:
    plan = plan_of(3, calendar=NIGHTLY)
    assert words(plan) == [(FIRST, ["1", "2", "3"])]
    found = forecast(plan)
    assert (found.begins, found.first_stop) == (FIRST.begins, None)
    assert found.over == pytest.approx(FIRST.begins + 3 * wave_seconds(plan.changes, (), plan.rollout)[1])


def test_what_a_window_leaves_undone_goes_on_in_the_next_one() -> None:
    plan = plan_of(2, each=25, calendar=NIGHTLY)  # about 76 minutes each
    assert words(plan) == [
        (FIRST, ["1 (begins)"]),
        (SECOND, ["1 (ends)", "2 (begins)"]),
        (THIRD, ["2 (ends)"]),
    ]
    assert words(plan_of(1, each=50, calendar=NIGHTLY)) == [
        (FIRST, ["1 (begins)"]),
        (SECOND, ["1 (goes on)"]),
        (THIRD, ["1 (ends)"]),
    ]


def test_a_soak_can_last_beyond_the_window() -> None:
    assert words(plan_of(2, calendar=NIGHTLY, soak=2 * HOUR)) == [(FIRST, ["1"]), (SECOND, ["2"])]


def test_each_wave_waits_for_the_notice_of_its_owners() -> None:
    notice = Notice(("mail",), lead=23 * HOUR)
    plan = plan_of(2, calendar=NIGHTLY, notice=notice)
    assert words(plan) == [(SECOND, ["1"]), (THIRD, ["2"])]
    assert forecast(plan).first_stop == SECOND.begins


@pytest.mark.parametrize("when", [Moment.NEXT_STOP, Moment.NOW])
def test_where_nobody_is_stopped_nobody_is_told(when: Moment) -> None:
    notice = Notice(("mail",), lead=DAY)
    state = Status.STOPPED if when is Moment.NOW else Status.RUNNING
    rollout = Rollout(when=when, otherwise=Otherwise.SKIP, notice=notice)
    plan = make_plan(make_change(run_state=state), rollout=rollout, created_at=0.0)
    assert forecast(plan).first_stop is None
    assert (forecast(plan).over or 0.0) < HOUR


WAITING: dict[str, Any] = {"when": Moment.NEXT_STOP, "patience": 3 * DAY}
FORCED: dict[str, Any] = {**WAITING, "otherwise": Otherwise.FORCE}


@pytest.mark.parametrize(
    ("fields", "soonest", "latest", "first_stop"),
    [
        (WAITING, 0.0, 6 * DAY, None),
        ({**WAITING, "notice": Notice(("mail",), lead=DAY)}, 0.0, 6 * DAY, None),
        (FORCED, 0.0, 6 * DAY, 3 * DAY),
        ({**FORCED, "notice": Notice(("mail",), lead=DAY)}, 0.0, 6 * DAY, 3 * DAY),
        ({**FORCED, "notice": Notice(("mail",), lead=4 * DAY)}, 0.0, 8 * DAY, 4 * DAY),
        ({**FORCED, "soak": DAY}, DAY, 7 * DAY, 3 * DAY),
        ({**FORCED, "calendar": NIGHTLY}, FIRST.begins, 6 * DAY + FIRST.begins, 3 * DAY + FIRST.begins),
        ({**WAITING, "when": Moment.IDLE}, 0.0, 6 * DAY, None),
        (
            {**WAITING, "when": Moment.IDLE, "notice": Notice(("mail",), lead=DAY)},
            2 * DAY,
            6 * DAY,
            DAY,
        ),
    ],
)
def test_how_long_people_may_keep_their_notebooks_is_between_the_soonest_and_the_latest(
    fields: dict[str, Any], soonest: float, latest: float, first_stop: float | None
) -> None:
    plan = plan_of(2, **fields)
    over, late = forecast(plan).over, forecast(plan, slow=True).over
    assert over == pytest.approx(soonest, abs=0.3 * HOUR)
    assert late == pytest.approx(latest, abs=0.5 * HOUR)
    assert forecast(plan).first_stop == pytest.approx(first_stop)


def test_who_stands_still_already_is_waited_for_by_nobody() -> None:
    stopped = make_change(run_state=Status.STOPPED)
    plan = make_plan(stopped, rollout=Rollout(**FORCED), created_at=0.0)
    assert (forecast(plan, slow=True).over or 0.0) < HOUR
    assert forecast(plan).first_stop is None


def test_on_a_slow_day_it_takes_longer() -> None:
    plan = plan_of(2, calendar=NIGHTLY)
    usual, slow = forecast(plan), forecast(plan, slow=True)
    assert usual.over is not None
    assert slow.over is not None
    assert slow.over > usual.over


def test_a_window_that_never_opens_again_has_no_end() -> None:
    closed = Calendar((Window("0 22 29 2 *", HOUR),))  # next in 1972
    found = forecast(plan_of(1, calendar=closed))
    assert (found.begins, found.over, found.visits) == (None, None, ())


@given(waves=st.integers(1, 6), each=st.integers(1, 40), soak=st.sampled_from([0.0, 60.0, DAY]))
def test_every_wave_begins_and_ends_once_and_in_order(waves: int, each: int, soak: float) -> None:
    visits = forecast(plan_of(waves, each=each, calendar=NIGHTLY, soak=soak)).visits
    flat = [visit for _, found in visits for visit in found]
    assert [visit.wave for visit in flat if visit.begins] == list(range(1, waves + 1))
    assert [visit.wave for visit in flat if visit.ends] == list(range(1, waves + 1))
    assert [span for span, _ in visits] == sorted({span for span, _ in visits})
