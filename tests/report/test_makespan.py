"""What a run took beside the least that it had to take, and when nothing is said of that."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fleet.core.changing.sight import Sight
from fleet.core.events import (
    Answered,
    Began,
    Ended,
    Event,
    Fate,
    Held,
    Outcome,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Saw,
    Steered,
    Step,
)
from fleet.core.fold import fold
from fleet.core.notebook import Status
from fleet.core.planning.plan import Change, Plan, PlanScope
from fleet.core.rollout import Rollout, Share
from fleet.report.as_json import document
from fleet.report.as_text import summary_text
from fleet.report.makespan import Makespan
from fleet.report.summary import summarize
from tests.plans import make_change, make_plan

START = 1_796_026_500.0
PAIR = Rollout(concurrency=2)


def scope(rate: str) -> PlanScope:
    return PlanScope("lab-a", "cn-north-4", "0" * 32, "http://127.0.0.1:9000", 9, "h as ada", rate)


def four(rollout: Rollout = PAIR, rate: str = "", waves: tuple[int, ...] = (1, 1, 1, 1)) -> Plan:
    changes = tuple(make_change(item, wave=wave) for item, wave in enumerate(waves))
    return make_plan(*changes, rollout=rollout, scopes=(scope(rate),))


def worked(*spans: tuple[float, float], took: float, end: RunEnd = RunEnd.FINISHED) -> list[Event]:
    """A run whose changes went from here to there, in seconds after its start."""
    events: list[Event] = [RunStarted(START, "r", "d")]
    for item, (began, ended) in enumerate(spans):
        events += [Began(item, START + began), Ended(item, START + ended, Outcome.CHANGED)]
    return [*events, RunEnded(START + took, end)]


# Two at once: 400 s and 100 s, then 100 s twice; the last two have the second slot to themselves.
SPANS = ((2.0, 402.0), (2.0, 102.0), (104.0, 204.0), (206.0, 306.0))


def test_a_run_is_told_beside_the_least_that_its_changes_needed() -> None:
    report = summarize(fold(four(), worked(*SPANS, took=410.0)))
    by = "each wave's longest change"
    assert report.makespan == Makespan(410.0, 400.0, by)
    assert f"took 6m50s, at least 6m40s: {by}\n" in summary_text(report)
    assert document(report)["makespan"] == {"took_s": 410.0, "bound_s": 400.0, "by": by}


def test_the_slots_are_those_of_the_plan() -> None:
    spans = ((0.0, 100.0), (0.0, 100.0), (110.0, 210.0), (110.0, 210.0))
    report = summarize(fold(four(), worked(*spans, took=220.0)))
    assert report.makespan == Makespan(220.0, 200.0, "2 at once")


def test_waves_go_one_after_the_other_with_their_soaks() -> None:
    rollout = replace(PAIR, soak=60.0, waves=(Share(1), Share(100, percent=True)))
    spans = ((0.0, 100.0), (165.0, 265.0), (165.0, 275.0), (266.0, 376.0))
    report = summarize(fold(four(rollout, waves=(1, 2, 2, 2)), worked(*spans, took=380.0)))
    assert report.makespan == Makespan(380.0, 100.0 + 60.0 + 160.0, "2 at once")


@pytest.mark.parametrize(
    ("rate", "bound", "by"),
    [("6/min", 350.0, "the rate of h as ada, writes"), ("", 20.0, "2 at once")],
)
def test_the_calls_that_were_made_are_held_against_the_rate_if_there_is_one(
    rate: str, bound: float, by: str
) -> None:
    events = worked((0.0, 10.0), (0.0, 10.0), (10.0, 20.0), (10.0, 20.0), took=360.0)
    calls: list[Event] = [
        Answered(item, START + 5.0, step, Fate.ACCEPTED, sends=3)
        for item in range(4)
        for step in (Step.STOP, Step.PUT, Step.START)
    ]
    looks: list[Event] = [Saw(item, START, Sight(Status.RUNNING)) for item in range(4)]
    told = [events[0], *events[1::2][:4], *calls, *looks, *events[2::2][:4], events[-1]]
    report = summarize(fold(four(rate=rate), told))
    assert report.makespan == Makespan(360.0, bound, by)


def test_a_change_that_waits_in_line_for_its_first_look_holds_no_slot_that_another_could_use() -> None:
    began: list[Event] = [Began(item, START) for item in range(4)]
    looks: list[Event] = [Saw(item, START + 90.0 * item, Sight(Status.RUNNING)) for item in range(4)]
    ends: list[Event] = [Ended(item, START + 90.0 * item + 20.0, Outcome.CHANGED) for item in range(4)]
    events = [RunStarted(START, "r", "d"), *began, *looks, *ends, RunEnded(START + 300.0, RunEnd.FINISHED)]
    slots = summarize(fold(four(replace(PAIR, concurrency=4)), events))
    assert slots.makespan == Makespan(300.0, 20.0, "each wave's longest change")
    rate = summarize(fold(four(replace(PAIR, concurrency=4), rate="1/min"), events))
    assert rate.makespan == Makespan(300.0, 180.0, "the rate of h as ada, reads")


STEERED = [
    Steered(START + 1.0, "paused"),
    Steered(START + 1.0, "set to concurrency 50"),
    RunResumed(START + 1.0),
]


@pytest.mark.parametrize("event", STEERED)
def test_nothing_is_said_of_a_run_that_somebody_steered_or_took_up_again(event: Event) -> None:
    events = worked(*SPANS, took=410.0)
    report = summarize(fold(four(), [events[0], event, *events[1:]]))
    assert report.makespan is None
    assert document(report)["makespan"] is None
    assert "at least" not in summary_text(report)


@pytest.mark.parametrize("end", [RunEnd.HALTED, RunEnd.INTERRUPTED, RunEnd.LOCKED_OUT])
def test_nothing_is_said_of_a_run_that_was_ended_early_or_goes_on(end: RunEnd) -> None:
    events = worked(*SPANS, took=410.0, end=end)
    assert summarize(fold(four(), events)).makespan is None
    assert summarize(fold(four(), events[:-1]), live=True).makespan is None
    assert summarize(fold(four(), events[:-1])).makespan is None


def test_nothing_is_said_where_a_person_let_the_waves_pass_or_nothing_was_to_do() -> None:
    asked = four(replace(PAIR, approve=(1,)), waves=(1, 2, 2, 2))
    waited = [Held(START + 110.0, "wave 1", "waits for approval"), Held(START + 150.0, "wave 1", "")]
    events = worked((0.0, 100.0), (200.0, 300.0), (200.0, 300.0), (300.0, 400.0), took=410.0)
    assert summarize(fold(asked, [*events[:3], *waited, *events[3:]])).makespan is None
    assert summarize(fold(make_plan(), worked(took=1.0))).makespan is None


def test_a_clock_that_was_set_back_makes_no_bound_above_what_the_run_took() -> None:
    report = summarize(fold(four(), worked((0.0, 500.0), *SPANS[1:], took=410.0)))
    assert report.makespan == Makespan(410.0, 410.0, "each wave's longest change")


def greedy(changes: list[Change], lengths: list[float], slots: int, gap: float) -> tuple[list[Event], float]:
    """What the engine does: a free slot takes the next change, and a wave waits for the last one to end."""
    events: list[Event] = []
    now = 0.0
    for wave in sorted({change.wave for change in changes}):
        free = [now] * slots
        for change in (change for change in changes if change.wave == wave):
            slot = free.index(min(free))
            began = free[slot] + gap
            free[slot] = began + lengths[change.item]
            events += [
                Began(change.item, START + began),
                Ended(change.item, START + free[slot], Outcome.CHANGED),
            ]
        now = max(free)
    return events, now


@given(
    lengths=st.lists(st.integers(0, 400_000).map(lambda ms: ms / 1000), min_size=1, max_size=25),
    slots=st.integers(1, 6),
    gap=st.integers(0, 4),
    first=st.integers(1, 5),
)
def test_no_schedule_beats_the_bound_and_one_slot_without_a_gap_meets_it(
    lengths: list[float], slots: int, gap: int, first: int
) -> None:
    changes = [make_change(item, wave=1 if item < first else 2) for item in range(len(lengths))]
    plan = make_plan(*changes, rollout=Rollout(concurrency=slots), scopes=(scope(""),))
    events, took = greedy(changes, lengths, slots, gap)
    # The run says that it took longer, so that nothing is cut off.
    ended = RunEnded(START + 10 * took + 1.0, RunEnd.FINISHED)
    found = summarize(fold(plan, [RunStarted(START, "r", "d"), *events, ended])).makespan
    assert found is not None
    assert found.bound_s <= took + 0.1
    assert found.bound_s >= sum(lengths) / slots - 0.1
    if slots == 1 and gap == 0:
        assert found.bound_s == pytest.approx(took, abs=0.1)
