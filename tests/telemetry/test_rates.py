"""What a rate that was set does to the time that is left."""

from __future__ import annotations

import json
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
    Outcome,
    RunEnd,
    RunEnded,
    RunResumed,
    RunStarted,
    Saw,
    Steered,
    Step,
    WaveEnded,
    WaveStarted,
)
from fleet.core.notebook import Status
from fleet.core.pacing.limits import Rate
from fleet.core.planning.plan import Plan, PlanScope
from fleet.core.rollout import Rollout
from fleet.telemetry.progress import Progress
from tests import plans

SIZE, READS, WRITES = 99, 4, 3  # changes, and the calls that each is expected to take
LOWER = {"lab-a": Rate(6, 10.0)}
GAP = 10.0 / 6
CALLS = [Step.STOP, Step.PUT, Step.START]


def scope(name: str, rate: str = "60/10s", key: str = "host as ann") -> PlanScope:
    return PlanScope(name, "r", "p", "http://host", SIZE, key, rate)


def made(*scopes: PlanScope, waves: int = 1) -> Plan:
    changes = (plans.make_change(item, wave=1 + item * waves // SIZE) for item in range(SIZE))
    plan = plans.make_plan(*changes, rollout=Rollout(concurrency=99))
    return replace(plan, scopes=scopes or (scope("lab-a"),))


def counted(plan: Plan, *events: Event) -> Progress:
    progress = Progress(plan)
    for event in (RunStarted(0.0, "r", "d"), WaveStarted(0.0, 1, SIZE), *events):
        progress.apply(event)
    return progress


def left(progress: Progress, now: float = 0.0) -> float:
    found = progress.snapshot(now).left
    assert found is not None
    return found


def calls(item: int, reads: int, writes: int) -> list[Event]:
    looks = [Saw(item, 0.0, Sight(Status.RUNNING)) for _ in range(reads)]
    return [*looks, *(Answered(item, 0.0, step, Fate.ACCEPTED) for step in CALLS[:writes])]


def test_a_rate_that_was_set_is_what_the_calls_to_come_take() -> None:
    assert left(counted(made())) == pytest.approx(183.5)
    slow = counted(made(), Steered(0.0, "set", LOWER))
    assert left(slow) == pytest.approx(SIZE * READS * GAP)
    slow.apply(Steered(1.0, "set", {"lab-a": Rate(60, 10.0)}))
    assert left(slow) == pytest.approx(183.5)


@given(st.lists(st.tuples(st.integers(0, READS), st.integers(0, WRITES), st.booleans()), max_size=SIZE))
def test_the_time_left_is_never_below_the_calls_left_at_the_rate(
    begun: list[tuple[int, int, bool]],
) -> None:
    story: list[Event] = [Steered(0.0, "set", LOWER)]
    reads = writes = 0
    for item, (looks, sent, over) in enumerate(begun):
        story += [Began(item, 0.0), *calls(item, looks, sent)]
        story += [Ended(item, 1.0, Outcome.CHANGED)] if over else []
        reads += READS if over else looks
        writes += WRITES if over else sent
    for waves in (1, 3):
        told = left(counted(made(waves=waves), *story), 1.0)
        assert told >= max(SIZE * READS - reads, SIZE * WRITES - writes) * GAP - 1e-6


def test_of_those_under_way_only_the_calls_to_come_are_counted() -> None:
    ended = [event for item in range(90) for event in (Began(item, 0.0), Ended(item, 1.0, Outcome.FAILED))]
    begun = [event for item in range(90, SIZE) for event in (Began(item, 0.0), *calls(item, 3, 0))]
    slow = {"lab-a": Rate(1, 60.0)}
    seen = counted(made(), *ended, *begun, Steered(1.0, "set", slow))
    assert left(seen, 1.0) == pytest.approx(9 * WRITES * 60.0)
    for item in range(90, SIZE):
        seen.apply(Answered(item, 1.0, Step.STOP, Fate.REFUSED))
        seen.apply(Answered(item, 1.0, Step.LEASE, Fate.ACCEPTED))
    assert left(seen, 1.0) == pytest.approx(9 * WRITES * 60.0)
    seen.apply(WaveEnded(1.0, 1, go=False))
    assert left(seen, 1.0) == pytest.approx(9 * WRITES * 60.0)


def test_a_rate_holds_for_all_scopes_of_its_throttle_key_and_for_no_other() -> None:
    pair = (scope("lab-b"), scope("lab-a"))
    assert left(counted(made(*pair), Steered(0.0, "set", {"lab-b": Rate(6, 10.0)}))) > 600
    other = (scope("lab-b", key="other"), scope("lab-a"))
    story = (Steered(0.0, "set", {"lab-b": Rate(6, 10.0), "lab-x": Rate(1, 60.0)}),)
    assert left(counted(made(*other), *story)) == pytest.approx(183.5)


def test_while_nothing_may_leave_the_time_left_is_that_much_longer() -> None:
    shut = {"host as ann, reads": 40.0, "other, reads": 4000.0}
    seen = counted(made(waves=3), Steered(0.0, "set", LOWER, shut))
    work = SIZE * READS * GAP
    assert left(seen) == pytest.approx(work + 40.0, abs=50)
    assert left(seen) - left(seen, 30.0) == pytest.approx(30.0)
    assert left(seen, 40.0) == left(seen, 400.0)
    seen.apply(Steered(10.0, "set", LOWER))
    assert left(seen, 10.0) == left(seen, 40.0)


def test_a_process_that_takes_the_run_up_begins_with_the_configured_rate() -> None:
    shut = {"host as ann, reads": 4000.0}
    story = (Steered(0.0, "set", LOWER, shut), RunEnded(1.0, RunEnd.INTERRUPTED), RunResumed(2.0))
    assert left(counted(made(), *story), 2.0) == pytest.approx(183.5)


def test_the_rate_is_there_again_from_a_balance_and_an_older_balance_has_none() -> None:
    plan = made()
    seen = counted(
        plan, Began(0, 0.0), *calls(0, 3, 1), Steered(0.0, "set", LOWER, {"host as ann, reads": 9.0})
    )
    dumped = json.loads(json.dumps(seen.dump(range(SIZE))))
    assert left(Progress.loaded(plan, dumped)) == left(seen)
    del dumped["remaining"]["made"], dumped["remaining"]["rates"]
    assert left(Progress.loaded(plan, dumped)) == pytest.approx(183.5)
