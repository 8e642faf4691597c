"""Who has to say yes reads in which window which wave goes, and when all is over."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.notebook import Status
from fleet.core.planning.estimate import expected
from fleet.core.planning.forecast import Misfits, forecast
from fleet.core.planning.plan import Estimate, Plan, Took
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Span, Window
from fleet.core.scheduling.readiness import Drop, Facts, Go, Judge, Pace, Wait
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
    return [(span, [str(visit) for visit in visits]) for span, visits in forecast(plan, 0.0).visits]


def test_waves_that_fit_share_a_window() -> None:
    plan = plan_of(3, calendar=NIGHTLY)
    assert words(plan) == [(FIRST, ["1", "2", "3"])]
    found = forecast(plan, 0.0)
    assert (found.begins, found.first_stop) == (FIRST.begins, None)
    assert found.over == pytest.approx(FIRST.begins + 3 * expected(plan.changes[0]).seconds)


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


def test_without_carry_over_what_the_first_window_leaves_undone_is_left() -> None:
    plan = plan_of(2, each=25, calendar=NIGHTLY, carry_over=False)
    assert words(plan) == [(FIRST, ["1 (begins)"])]
    found = forecast(plan, 0.0)
    carried = dict(forecast(replace(plan, rollout=replace(plan.rollout, carry_over=True)), 0.0).visits)
    assert 25 < found.left < 50
    assert found.over is not None
    assert FIRST.begins < found.over <= FIRST.ends
    assert list(carried) == [FIRST, SECOND, THIRD]


def test_without_carry_over_a_wave_that_no_longer_fits_after_another_is_left_whole() -> None:
    plan = plan_of(2, each=19, calendar=NIGHTLY, carry_over=False)  # about 58 minutes each
    assert words(plan) == [(FIRST, ["1"])]
    assert forecast(plan, 0.0).left == 19


def test_without_carry_over_no_stop_is_foretold_that_comes_after_the_window() -> None:
    changes = [make_change(0, run_state=Status.STOPPED), make_change(1)]
    rollout = Rollout(calendar=NIGHTLY, carry_over=False, notice=Notice(("mail",), lead=23 * HOUR))
    waves = [changes[0], replace(changes[1], wave=2)]
    found = forecast(make_plan(*waves, rollout=rollout, created_at=0.0), 0.0)
    assert (found.begins, found.first_stop, found.left) == (FIRST.begins, None, 1)


def test_without_carry_over_all_is_over_when_the_window_closes_whoever_is_waited_for() -> None:
    plan = plan_of(2, calendar=NIGHTLY, carry_over=False, **FORCED)
    assert forecast(plan, 0.0, slow=True).over == FIRST.ends
    late = forecast(plan_of(2, calendar=NIGHTLY, carry_over=False, soak=2 * HOUR), 0.0)
    assert (late.over, late.left) == (FIRST.ends, 1)


def test_where_all_fit_the_first_window_nothing_is_left() -> None:
    plan = plan_of(3, calendar=NIGHTLY, carry_over=False)
    assert (words(plan), forecast(plan, 0.0).left) == ([(FIRST, ["1", "2", "3"])], 0)


def test_a_soak_can_last_beyond_the_window() -> None:
    assert words(plan_of(2, calendar=NIGHTLY, soak=2 * HOUR)) == [(FIRST, ["1"]), (SECOND, ["2"])]


def test_each_wave_waits_for_the_notice_of_its_owners() -> None:
    notice = Notice(("mail",), lead=23 * HOUR)
    plan = plan_of(2, calendar=NIGHTLY, notice=notice)
    assert words(plan) == [(SECOND, ["1"]), (THIRD, ["2"])]
    assert forecast(plan, 0.0).first_stop == SECOND.begins


@pytest.mark.parametrize("when", [Moment.NEXT_STOP, Moment.NOW])
def test_where_nobody_is_stopped_nobody_is_told(when: Moment) -> None:
    notice = Notice(("mail",), lead=DAY)
    state = Status.STOPPED if when is Moment.NOW else Status.RUNNING
    rollout = Rollout(when=when, otherwise=Otherwise.SKIP, notice=notice)
    plan = make_plan(make_change(run_state=state), rollout=rollout, created_at=0.0)
    assert forecast(plan, 0.0).first_stop is None
    assert (forecast(plan, 0.0).over or 0.0) < HOUR


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
    over, late = forecast(plan, 0.0).over, forecast(plan, 0.0, slow=True).over
    assert over == pytest.approx(soonest, abs=0.3 * HOUR)
    assert late == pytest.approx(latest, abs=0.5 * HOUR)
    assert forecast(plan, 0.0).first_stop == pytest.approx(first_stop)


def test_who_stands_still_already_is_waited_for_by_nobody() -> None:
    stopped = make_change(run_state=Status.STOPPED)
    plan = make_plan(stopped, rollout=Rollout(**FORCED), created_at=0.0)
    assert (forecast(plan, 0.0, slow=True).over or 0.0) < HOUR
    assert forecast(plan, 0.0).first_stop is None


def test_on_a_slow_day_it_takes_longer() -> None:
    plan = plan_of(2, calendar=NIGHTLY)
    usual, slow = forecast(plan, 0.0), forecast(plan, 0.0, slow=True)
    assert usual.over is not None
    assert slow.over is not None
    assert slow.over > usual.over


def test_a_window_that_never_opens_again_has_no_end() -> None:
    closed = Calendar((Window("0 22 29 2 *", HOUR),))  # next in 1972
    found = forecast(plan_of(1, calendar=closed), 0.0)
    assert (found.begins, found.over, found.visits) == (None, None, ())


@given(waves=st.integers(1, 6), each=st.integers(1, 40), soak=st.sampled_from([0.0, 60.0, DAY]))
def test_every_wave_begins_and_ends_once_and_in_order(waves: int, each: int, soak: float) -> None:
    visits = forecast(plan_of(waves, each=each, calendar=NIGHTLY, soak=soak), 0.0).visits
    flat = [visit for _, found in visits for visit in found]
    assert [visit.wave for visit in flat if visit.begins] == list(range(1, waves + 1))
    assert [visit.wave for visit in flat if visit.ends] == list(range(1, waves + 1))
    assert [span for span, _ in visits] == sorted({span for span, _ in visits})


# --- a change begins only if it will be back before the window closes ------------------------------------


def nightly(*lasts: float) -> Calendar:
    """A window at 22:00 of the first night, of the second, and so on, again after as many nights."""
    days = len(lasts)
    return Calendar(tuple(Window(f"0 22 {1 + at}-31/{days} * *", one) for at, one in enumerate(lasts)))


def test_what_fits_no_window_never_goes() -> None:
    found = forecast(plan_of(3, calendar=nightly(120.0)), 0.0)
    assert (found.begins, found.visits) == (None, ())
    assert found.misfits == Misfits(3, 183.5, 183.5, 120.0)


def test_what_needs_no_restart_goes_where_the_others_do_not_fit() -> None:
    changes = [make_change(0), make_change(1, run_state=Status.STOPPED), make_change(2, wave=2)]
    plan = make_plan(*changes, rollout=Rollout(calendar=nightly(120.0)), created_at=0.0)
    found = forecast(plan, 0.0)
    assert words(plan) == [(Span(22 * HOUR, 22 * HOUR + 120), ["1"])]
    assert found.over == pytest.approx(22 * HOUR + expected(changes[1]).seconds)
    assert found.misfits == Misfits(2, 183.5, 183.5, 120.0)


def test_no_second_turn_begins_that_the_window_would_cut() -> None:
    changes = [make_change(at) for at in range(3)]
    plan = make_plan(*changes, rollout=Rollout(concurrency=2, calendar=nightly(300.0)), created_at=0.0)
    assert [visits for _, visits in words(plan)] == [["1 (begins)"], ["1 (ends)"]]


def test_restarts_go_only_in_the_windows_that_are_long_enough() -> None:
    plan = plan_of(2, calendar=nightly(120.0, 600.0))
    assert [(span.begins // DAY, visits) for span, visits in words(plan)] == [(1, ["1", "2"])]
    assert forecast(plan, 0.0).begins == DAY + 22 * HOUR


def test_with_a_notice_the_first_stop_is_in_a_window_that_is_long_enough() -> None:
    plan = plan_of(1, calendar=nightly(120.0, 600.0), notice=Notice(("mail",), lead=HOUR))
    assert forecast(plan, 0.0).first_stop == DAY + 22 * HOUR


@pytest.mark.parametrize(("lasts", "changes", "nights"), [(299.0, 3, 2), (430.0, 2, 2), (510.0, 2, 1)])
def test_what_nearly_all_need_is_left_before_the_close(lasts: float, changes: int, nights: int) -> None:
    """Half take 103.5 s, 95 % at most 403.5 s; where no window is so long the usual time must do."""
    learned = Estimate(1, 1, 1.0, times={"modelarts.vm.cpu.2u": Took(50.0, 50.0, 200.0, 200.0, 20)})
    plan = replace(plan_of(1, each=changes, calendar=nightly(lasts)), estimate=learned)
    assert len(forecast(plan, 0.0).visits) == nights


def test_a_plan_that_is_looked_at_later_goes_later() -> None:
    plan = plan_of(1, calendar=NIGHTLY)
    assert forecast(plan, 5 * DAY).begins == 5 * DAY + 22 * HOUR


@given(
    lasts=st.lists(st.sampled_from([60.0, 183.0, 184.0, 400.0, HOUR]), min_size=1, max_size=3),
    stopped=st.booleans(),
    learned=st.booleans(),
)
def test_it_goes_when_the_run_would_let_it(lasts: list[float], stopped: bool, learned: bool) -> None:
    change = make_change(run_state=Status.STOPPED if stopped else Status.RUNNING)
    times = {change.flavor: Took(60.0, 60.0, 150.0, 150.0, 20)} if learned else {}
    rollout = Rollout(calendar=nightly(*lasts))
    plan = make_plan(change, rollout=rollout, created_at=0.0, estimate=Estimate(1, 1, 1.0, times=times))
    judge = Judge(rollout, None, Pace(times))
    facts = Facts(0.0, stops=not stopped, stopped=stopped)
    standing = judge.standing(
        change, facts, 0.0, None, lambda needs: rollout.calendar.next_opening(0.0, needs)
    )
    found = forecast(plan, 0.0)
    if isinstance(standing, Drop):
        assert found.misfits is not None
        assert found.visits == ()
    else:
        assert isinstance(standing, (Wait, Go))
        assert found.misfits is None
        assert found.begins == (standing.until if isinstance(standing, Wait) else 0.0)
        assert found.visits[0][0].begins == found.begins
