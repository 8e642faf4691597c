"""The counters behind the views."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    Ended,
    Event,
    Intended,
    Outcome,
    RunEnd,
    RunEnded,
    RunStarted,
    Saw,
    Slowed,
    Step,
    Verdict,
    WaveEnded,
    WaveStarted,
)
from fleet.core.notebook import Status
from fleet.core.plan import Plan
from fleet.core.rollout import Rollout, Share
from fleet.core.sight import Sight
from fleet.telemetry import Progress, Snapshot
from fleet.telemetry.progress import WaveProgress, WaveState

Plans = Callable[..., Plan]


def after(plan: Plan, *events: Event, now: float = 0.0) -> Snapshot:
    progress = Progress(plan)
    for event in events:
        progress.apply(event)
    return progress.snapshot(now)


def test_before_the_first_event_nothing_is_claimed(plan: Plans) -> None:
    seen = after(plan(1, 2))
    assert (seen.total, seen.ended, seen.under_way, seen.away) == (3, 0, 0, 0)
    assert (seen.left, seen.end, seen.wave, seen.elapsed, dict(seen.outcomes)) == (None, None, None, 0.0, {})


def test_outcomes_add_up_by_kind_and_by_wave(plan: Plans) -> None:
    seen = after(
        plan(1, 2),
        *(Began(item, 0.0) for item in range(3)),
        Ended(0, 1.0, Outcome.CHANGED),
        Ended(1, 1.0, Outcome.FAILED, "why"),
    )
    assert dict(seen.outcomes) == {Outcome.CHANGED: 1, Outcome.FAILED: 1}
    assert (seen.ended, seen.under_way) == (2, 1)
    assert [wave.ended for wave in seen.waves] == [1, 1]
    assert [(t.scope, t.name, t.outcome, t.reason) for t in seen.troubles] == [
        ("lab-a", "n", Outcome.FAILED, "why")
    ]


def test_a_notebook_is_away_from_its_stop_until_it_is_back(plan: Plans) -> None:
    stop = Intended(0, 1.0, Step.STOP, 1)
    assert after(plan(1), Began(0, 0.0)).away == 0
    assert after(plan(1), Began(0, 0.0), stop).away == 1
    assert after(plan(1), Began(0, 0.0), stop, Ended(0, 9.0, Outcome.CHANGED)).away == 0


def test_a_debt_stays_away(plan: Plans) -> None:
    debt = (Began(0, 0.0), Intended(0, 1.0, Step.STOP, 1), Ended(0, 2.0, Outcome.STRANDED, debt=True))
    assert (after(plan(1), *debt).away, after(plan(1), *debt).debts) == (1, 1)
    paid = after(plan(1), *debt, Began(0, 3.0), Ended(0, 4.0, Outcome.CHANGED))
    assert (paid.away, paid.debts) == (0, 0)


def test_a_notebook_that_was_stopped_before_us_is_never_away(plan: Plans) -> None:
    stopped = plan(1, state=Status.STOPPED)
    assert after(stopped, Began(0, 0.0), Intended(0, 1.0, Step.STOP, 1)).away == 0


def test_calls_are_counted_over_the_last_ten_seconds(plan: Plans) -> None:
    events = (
        Answered(0, 0.0, Step.STOP, Verdict.ACCEPTED, sends=100),
        Answered(0, 6.0, Step.PUT, Verdict.ACCEPTED, sends=3),
        Saw(0, 7.0, Sight(Status.STOPPED)),
        Saw(0, 7.0, Sight(Status.STOPPED), polled=True),
        Blind(0, 8.0, Meaning.SERVER, ""),
    )
    assert after(plan(1), *events, now=12.0).calls_per_second == pytest.approx(0.5)
    assert after(plan(1), *events, now=30.0).calls_per_second == 0.0


def test_waves_go_from_waiting_to_their_verdict(plan: Plans) -> None:
    events = (WaveStarted(0.0, 1, 1), WaveEnded(1.0, 1, go=True), WaveStarted(2.0, 2, 2))
    seen = after(plan(1, 2, 3), *events)
    assert [wave.state for wave in seen.waves] == [WaveState.GO, WaveState.RUNNING, WaveState.WAITING]
    assert seen.wave == WaveProgress(2, 2, 0, WaveState.RUNNING)
    assert after(plan(1, 2), WaveEnded(1.0, 1, go=False)).waves[0].state is WaveState.HALTED


def test_elapsed_time_stops_with_the_run_and_goes_on_with_its_resumption(plan: Plans) -> None:
    run = (RunStarted(10.0, "r", "d"), RunEnded(15.0, RunEnd.INTERRUPTED, "ctrl-c"))
    seen = after(plan(1), *run, now=99.0)
    assert (seen.elapsed, seen.end, seen.reason) == (5.0, RunEnd.INTERRUPTED, "ctrl-c")
    again = after(plan(1), *run, RunStarted(50.0, "r", "d"), now=60.0)
    assert (again.elapsed, again.end) == (50.0, None)


def test_the_estimate_is_mean_duration_times_rounds_plus_soaks(plan: Plans) -> None:
    rollout = Rollout(concurrency=10, soak=600.0)
    story: list[Event] = [RunStarted(0.0, "r", "d"), WaveStarted(0.0, 1, 1), Began(0, 0.0)]
    assert after(plan(1, 4, 95, rollout=rollout), *story, now=200.0).left is None
    story += [Ended(0, 300.0, Outcome.CHANGED), WaveEnded(300.0, 1, go=True)]
    # 4 changes at once: one round; 95 in tens: 9.5 rounds; two soaks, of which 100 s have passed
    seen = after(plan(1, 4, 95, rollout=rollout), *story, now=400.0)
    assert seen.left == pytest.approx(300 + 9.5 * 300 + 2 * 600 - 100)


def test_changes_under_way_are_half_done(plan: Plans) -> None:
    story = (Began(0, 0.0), Ended(0, 100.0, Outcome.CHANGED), Began(1, 100.0))
    assert after(plan(2), *story, now=100.0).left == pytest.approx(50.0)


def test_a_budget_for_absent_notebooks_slows_the_estimate(plan: Plans) -> None:
    tight = plan(11, rollout=Rollout(concurrency=10, max_unavailable={"fleet": Share(2)}))
    assert after(tight, Began(0, 0.0), Ended(0, 10.0, Outcome.CHANGED)).left == pytest.approx(50.0)


def test_a_budget_for_failures_slows_the_estimate(plan: Plans) -> None:
    tight = plan(11, rollout=Rollout(concurrency=10, max_failures=Share(2)))
    assert after(tight, Began(0, 0.0), Ended(0, 10.0, Outcome.CHANGED)).left == pytest.approx(50.0)


def test_after_a_halt_only_what_is_under_way_is_left(plan: Plans) -> None:
    story = (
        Began(0, 0.0),
        Began(1, 0.0),
        Ended(0, 10.0, Outcome.FAILED),
        WaveEnded(10.0, 1, go=False),
    )
    assert after(plan(50), *story).left == pytest.approx(5.0)
    assert after(plan(50), *story, RunEnded(11.0, RunEnd.HALTED)).left is None


def test_the_last_slowing_down_is_kept(plan: Plans) -> None:
    assert after(plan(1), Slowed(0.0, "k", "one"), Slowed(1.0, "k", "two")).slowed == "two"


def test_an_event_about_an_unknown_change_or_wave_counts_for_nothing(plan: Plans) -> None:
    strange = (
        Began(9, 0.0),
        Intended(9, 0.0, Step.STOP, 1),
        Ended(9, 1.0, Outcome.FAILED),
        WaveStarted(0.0, 9, 1),
    )
    assert after(plan(1), *strange) == after(plan(1))


ITEMS = st.integers(0, 5)
TIMES = st.floats(0, 1000)
EVENTS = st.one_of(
    st.builds(Began, ITEMS, TIMES),
    st.builds(Intended, ITEMS, TIMES, st.sampled_from(Step), st.just(1)),
    st.builds(Answered, ITEMS, TIMES, st.sampled_from(Step), st.sampled_from(Verdict)),
    st.builds(Ended, ITEMS, TIMES, st.sampled_from(Outcome), debt=st.booleans()),
    st.builds(WaveStarted, TIMES, st.integers(1, 3), st.just(2)),
    st.builds(WaveEnded, TIMES, st.integers(1, 3), st.booleans()),
)


@given(st.lists(EVENTS, max_size=40), TIMES)
def test_the_sums_hold_after_any_events(plan: Plans, events: list[Event], now: float) -> None:
    progress = Progress(plan(1, 2, 3))
    for event in events:
        progress.apply(event)
    seen = progress.snapshot(now)
    assert sum(seen.outcomes.values()) == seen.ended == sum(wave.ended for wave in seen.waves)
    assert seen.ended + seen.under_way <= seen.total
    assert all(0 <= wave.ended <= wave.size for wave in seen.waves)
    assert seen.debts <= seen.away <= seen.total
    assert seen.left is None or seen.left >= 0
    assert seen.calls_per_second >= 0
