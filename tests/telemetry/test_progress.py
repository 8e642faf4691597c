"""The counters behind the views."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.sight import Sight
from fleet.core.duration import duration
from fleet.core.errors import Meaning
from fleet.core.events import (
    Answered,
    Began,
    Blind,
    Ended,
    Event,
    Fate,
    Held,
    Intended,
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
)
from fleet.core.notebook import Status
from fleet.core.planning.estimate import estimate
from fleet.core.planning.plan import Plan, Stage, Took
from fleet.core.rollout import Rollout, Share
from fleet.core.scheduling.timing import Moment
from fleet.telemetry.progress import Progress
from fleet.telemetry.snapshot import Snapshot, WaveProgress, WaveState
from fleet.telemetry.wording import remaining

Plans = Callable[..., Plan]


def after(plan: Plan, *events: Event, now: float = 0.0) -> Snapshot:
    progress = Progress(plan)
    for event in events:
        progress.apply(event)
    return progress.snapshot(now)


def test_before_the_first_event_nothing_is_claimed(plan: Plans) -> None:
    seen = after(plan(1, 2))
    assert (seen.total, seen.ended, seen.under_way, seen.away) == (3, 0, 0, 0)
    assert (seen.end, seen.wave, seen.elapsed, dict(seen.outcomes)) == (None, None, 0.0, {})


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
        Answered(0, 0.0, Step.STOP, Fate.ACCEPTED, sends=100),
        Answered(0, 6.0, Step.PUT, Fate.ACCEPTED, sends=3),
        Saw(0, 7.0, Sight(Status.STOPPED), sends=2),
        Blind(0, 8.0, Meaning.SERVER, ""),
    )
    assert after(plan(1), *events, now=12.0).calls_per_second == pytest.approx(0.6)
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


# Each change of these plans needs a restart: 183.5 s are assumed.
ASSUMED = 183.5


def test_before_anything_was_measured_the_plans_own_estimate_is_shown(plan: Plans) -> None:
    made = plan(1, 4, 95, rollout=Rollout(concurrency=10, soak=600.0))
    told = estimate(made.changes, made.scopes, made.rollout).seconds
    assert after(made, RunStarted(0.0, "r", "d"), now=0.0).left == pytest.approx(told, abs=0.1)
    assert told == pytest.approx((1 + 1 + 9.5) * ASSUMED + 2 * 600.0, abs=0.1)


def test_what_earlier_runs_taught_is_part_of_that_estimate(plan: Plans) -> None:
    made = plan(1, 4)
    times = {made.changes[0].flavor: Took(5.0, 10.0, 50.0, 100.0, of=9)}
    taught = replace(made, estimate=estimate(made.changes, made.scopes, made.rollout, times=times))
    assert after(taught, RunStarted(0.0, "r", "d"), now=0.0).left == pytest.approx(taught.estimate.seconds)
    assert taught.estimate.seconds < ASSUMED


def test_the_time_left_runs_down_with_the_changes_under_way(plan: Plans) -> None:
    story = (RunStarted(0.0, "r", "d"), WaveStarted(0.0, 1, 1), Began(0, 0.0))
    assert after(plan(1), *story, now=100.0).left == pytest.approx(ASSUMED - 100.0)
    assert after(plan(1), *story, now=1000.0).left == pytest.approx(100.0)


def restarts(*took: float) -> list[Event]:
    """Changes one after the other, each of which took so many seconds."""
    story: list[Event] = []
    for item, seconds in enumerate(took):
        began = sum(took[:item])
        story += [Began(item, began), Ended(item, began + seconds, Outcome.CHANGED)]
    return story


@pytest.mark.parametrize(
    ("measured", "each"), [(0, ASSUMED), (1, 0.8 * ASSUMED + 18.35 / 5), (5, 18.35), (8, 18.35)]
)
def test_what_was_measured_takes_the_place_of_what_was_assumed(
    plan: Plans, measured: int, each: float
) -> None:
    """Stops and starts take a tenth of what was assumed."""
    made = plan(100, rollout=Rollout(concurrency=1))
    told = restarts(*[18.35] * measured)
    assert after(made, *told, now=200.0).left == pytest.approx((100 - measured) * each)


def test_soaks_are_counted_and_run_down(plan: Plans) -> None:
    made = plan(1, 4, rollout=Rollout(concurrency=10, soak=600.0))
    story = [*restarts(ASSUMED), WaveStarted(0.0, 1, 1), WaveEnded(200.0, 1, go=True)]
    assert after(made, *story, now=200.0).left == pytest.approx(600 + ASSUMED)
    assert after(made, *story, now=500.0).left == pytest.approx(300 + ASSUMED)
    assert after(made, *story, now=900.0).left == pytest.approx(ASSUMED)


def test_a_pause_between_stages_is_counted_in_place_of_the_soak(plan: Plans) -> None:
    made = plan(1, 4, rollout=Rollout(concurrency=10, soak=600.0))
    made = replace(made, stages=(Stage(1, 1, 0.0), Stage(2, 2, 7200.0)))
    story = [*restarts(ASSUMED), WaveStarted(0.0, 1, 1), WaveEnded(200.0, 1, go=True)]
    assert after(made, *story, now=200.0).left == pytest.approx(7200 + ASSUMED)


def test_what_is_waited_for_stands_beside_the_work(plan: Plans) -> None:
    rollout = Rollout(concurrency=10, soak=60.0, when=Moment.NEXT_STOP, patience=90.0)
    made = plan(1, 4, 2, rollout=rollout)
    story: list[Event] = [RunStarted(0.0, "r", "d"), WaveStarted(0.0, 1, 1)]
    story.append(Held(0.0, "stop", "1 wait", until=90.0))
    seen = after(made, *story, now=10.0)
    assert (seen.waits_until, seen.waits_later) == (90.0, 2 * (60.0 + 90.0))
    assert seen.work == pytest.approx(after(made).work)
    told = "; waits until 1970-01-01 00:01:30 UTC at the latest; later waves wait up to 5m"
    assert remaining(seen) == f"about {duration(seen.work or 0.0)} of work left{told}"
    story += [Held(90.0, "stop", ""), WaveEnded(90.0, 1, go=True), Held(90.0, "wave 2", "begins", 150.0)]
    seen = after(made, *story, now=90.0)
    assert (seen.waits_until, seen.waits_later) == (150.0, 60.0 + 2 * 90.0)


def test_a_run_that_waits_for_nothing_tells_of_no_waits(plan: Plans) -> None:
    seen = after(plan(2), WaveStarted(0.0, 1, 2), Held(0.0, "lab-a", "8 of 50 calls failed"))
    assert (seen.waits_until, seen.waits_later) == (None, 0.0)
    assert remaining(seen) == f"about {duration(seen.work or 0.0)} left"
    ended = after(plan(2), Held(0.0, "stop", "1 wait", 90.0), RunEnded(1.0, RunEnd.INTERRUPTED))
    assert remaining(ended) == "interrupted"


@pytest.mark.parametrize(
    "tight", [Rollout(concurrency=10, max_unavailable={"fleet": Share(2)}), Rollout(max_failures=Share(2))]
)
def test_budgets_slow_what_is_left(plan: Plans, tight: Rollout) -> None:
    assert after(plan(10, rollout=tight)).left == pytest.approx(5 * ASSUMED)


def test_after_a_halt_only_what_is_under_way_is_left(plan: Plans) -> None:
    story = (*restarts(ASSUMED), Began(1, 200.0), WaveEnded(210.0, 1, go=False))
    assert after(plan(50), *story, now=220.0).left == pytest.approx(ASSUMED - 20.0)
    assert after(plan(50), *story, RunEnded(230.0, RunEnd.HALTED)).left is None


def test_a_resumed_run_measures_nothing_of_the_time_in_which_nobody_worked(plan: Plans) -> None:
    made = plan(3, rollout=Rollout(concurrency=1))
    story: list[Event] = [RunStarted(0.0, "r", "d"), Began(0, 0.0), Ended(2, 1.0, Outcome.NOT_STARTED)]
    story += [WaveEnded(9.0, 1, go=False), RunEnded(9.0, RunEnd.INTERRUPTED, "ctrl-c"), RunResumed(90_000.0)]
    seen = after(made, *story, now=90_000.0)
    assert (seen.end, seen.reason, seen.ended) == (None, "", 0)
    assert seen.left == pytest.approx(3 * ASSUMED)
    story += [Reopened(0, 90_001.0), Ended(0, 90_011.0, Outcome.CHANGED)]
    assert after(made, *story, now=90_011.0).left == pytest.approx(2 * ASSUMED)


def test_requests_that_belong_to_no_change_count_among_the_calls(plan: Plans) -> None:
    spent = Spent(2.0, "lab-a", {"list": 30, "login": 1, "get": 50})
    assert after(plan(1), spent, now=2.0).calls_per_second == pytest.approx(3.1)


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
    st.builds(Answered, ITEMS, TIMES, st.sampled_from(Step), st.sampled_from(Fate)),
    st.builds(Ended, ITEMS, TIMES, st.sampled_from(Outcome), debt=st.booleans()),
    st.builds(WaveStarted, TIMES, st.integers(1, 3), st.just(2)),
    st.builds(WaveEnded, TIMES, st.integers(1, 3), st.booleans()),
    st.builds(Reopened, ITEMS, TIMES),
    st.builds(RunResumed, TIMES),
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
    assert seen.left is not None
    assert 0 <= seen.left < 100 * 24 * 3600
    assert seen.left > 0 or seen.under_way == 0
    assert seen.calls_per_second >= 0
