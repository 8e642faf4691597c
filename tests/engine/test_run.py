"""A whole run: waves and budgets, and every way to end early with all notebooks home."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest
from msgspec import structs

from fleet.core.errors import CallError, Meaning, RecordingFailed
from fleet.core.events import (
    Began,
    Ended,
    Outcome,
    RunEnd,
    RunEnded,
    RunStarted,
    Spent,
    WaveEnded,
    WaveStarted,
)
from fleet.core.notebook import Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Share
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]


def began(made: Any) -> list[int]:
    return [event.item for event in made.recorder.events if isinstance(event, Began)]


def last(made: Any) -> RunEnded:
    event = made.recorder.events[-1]
    assert isinstance(event, RunEnded)
    return event


def verdicts(made: Any) -> list[tuple[int, bool, str]]:
    return [(one.wave, one.go, one.reason) for one in made.recorder.events if isinstance(one, WaveEnded)]


def all_run(made: Any) -> bool:
    return all(made.cloud.read(key).status is Status.RUNNING for key in made.cloud.notebooks)


async def test_a_run_changes_everything_and_says_so(bench: Making) -> None:
    made = bench(5)
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 5
    assert isinstance(made.recorder.events[0], RunStarted)
    assert made.recorder.events[0].digest == made.plan.digest
    assert (last(made).end, last(made).reason) == (RunEnd.FINISHED, "")
    assert made.seen == made.recorder.events


async def test_every_request_is_told_once_and_before_the_end(bench: Making) -> None:
    made = bench(3)
    made.cloud.calls.update(list=7)  # of the planning, by the same client
    before = Counter(made.cloud.calls)
    await made.run()
    told = [event for event in made.recorder.events if isinstance(event, Spent)]
    assert sum((Counter(event.requests) for event in told), Counter()) == made.cloud.calls - before
    assert made.cloud.calls["list"] > 7
    assert made.recorder.events.index(told[0]) < made.recorder.events.index(made.ended[0])


async def test_a_plan_without_changes_ends_at_once(bench: Making) -> None:
    made = bench(0)
    assert await made.run() is RunEnd.FINISHED
    assert made.log.words() == ["committed run-started", "committed run-ended"]


async def test_a_wave_starts_when_the_one_before_has_ended_and_soaked(bench: Making) -> None:
    made = bench(4, waves=(1, 2, 2, 3), soak=1000.0)
    await made.run()
    marks = [event for event in made.recorder.events if isinstance(event, WaveStarted | WaveEnded | Began)]
    assert [(event.kind, getattr(event, "wave", getattr(event, "item", None))) for event in marks] == [
        ("wave-started", 1),
        ("began", 0),
        ("wave-ended", 1),
        ("wave-started", 2),
        ("began", 1),
        ("began", 2),
        ("wave-ended", 2),
        ("wave-started", 3),
        ("began", 3),
        ("wave-ended", 3),
    ]
    assert marks[3].at - marks[2].at == pytest.approx(1000.0)
    assert made.recorder.events[-1].at - marks[-1].at < 10


async def test_a_wave_that_failed_holds_back_the_next(bench: Making, call_error: Failing) -> None:
    made = bench(3, waves=(1, 2, 2), soak=1000.0)
    made.cloud.refuse["put"] = [call_error(Meaning.INVALID)]
    assert await made.run() is RunEnd.HALTED
    assert began(made) == [0]
    assert last(made).reason == "none of the wave was changed, 1 failed"
    assert all_run(made)


async def test_no_more_are_under_way_than_allowed(bench: Making) -> None:
    made = bench(12, concurrency=3)
    await made.run()
    assert made.cloud.most_away == 3
    assert made.outcomes == [Outcome.CHANGED] * 12


async def test_no_more_of_one_owner_are_away_than_allowed_and_nobody_is_forgotten(bench: Making) -> None:
    made = bench(12, owners=3, concurrency=20, max_unavailable={"owner": Share(1), "fleet": Share(2)})
    await made.run()
    assert made.cloud.most_away == 2
    assert made.outcomes == [Outcome.CHANGED] * 12


async def test_a_notebook_that_turns_out_to_need_a_restart_keeps_the_budget_of_those_away(
    bench: Making,
) -> None:
    """A rename needs no restart by the plan; the cloud refuses it for every notebook that runs."""
    made = bench(6, concurrency=6, max_unavailable={"fleet": Share(1)})
    renames = tuple(
        replace(change, phases=(Phase(When.ANY, {"name": "b"}),), before={"name": ""}, after={"name": "b"})
        for change in made.plan.changes
    )
    made.plan = seal(replace(made.plan, changes=renames))
    made.cloud.strict = True
    await made.run()
    assert made.outcomes == [Outcome.CHANGED] * 6
    assert made.cloud.most_away == 1


@pytest.mark.row(7)
async def test_three_failures_allowed_are_never_four_and_the_rest_is_not_started(
    bench: Making, call_error: Failing
) -> None:
    made = bench(20, concurrency=10, max_failures=Share(3))
    made.cloud.refuse["put"] = [call_error(Meaning.INVALID) for _ in range(20)]
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.FAILED] * 3
    assert last(made).reason == "3 failed, max_failures is 3"
    assert all_run(made)


async def test_a_notebook_that_is_not_back_blocks_its_group_and_the_run_says_so(
    bench: Making, call_error: Failing
) -> None:
    made = bench(3, concurrency=3, max_unavailable={"fleet": Share(1)})
    made.cloud.refuse["start"] = [call_error(Meaning.FORBIDDEN)]
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.STRANDED]
    assert last(made).reason == "notebooks that are not back fill max_unavailable of fleet"


async def test_a_notebook_that_broke_by_itself_keeps_its_seat_as_well(bench: Making) -> None:
    made = bench(3, concurrency=3, max_unavailable={"fleet": Share(1)})
    first = made.plan.changes[0].id
    made.cloud.notebooks[first] = structs.replace(made.cloud.notebooks[first], status=Status.ERROR)
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.SKIPPED]
    assert last(made).reason == "notebooks that are not back fill max_unavailable of fleet"


# --- ending early ----------------------------------------------------------------------------------------


@pytest.mark.row(50)
async def test_a_drain_starts_nothing_new_and_brings_home_what_is_under_way(bench: Making) -> None:
    made = bench(5, concurrency=2)
    end = await made.run_while((30.0, lambda: made.control.drain(RunEnd.INTERRUPTED, "asked to")))
    assert end is RunEnd.INTERRUPTED
    assert began(made) == [0, 1]
    assert made.outcomes == [Outcome.CHANGED] * 2
    assert all_run(made)
    assert (last(made).end, last(made).reason) == (RunEnd.INTERRUPTED, "asked to")


async def test_a_drain_ends_a_soak_and_no_further_wave_is_announced(bench: Making) -> None:
    made = bench(2, waves=(1, 2), soak=10_000.0)
    await made.run_while((2000.0, lambda: made.control.drain(RunEnd.INTERRUPTED, "asked to")))
    assert began(made) == [0]
    assert [event.wave for event in made.recorder.events if isinstance(event, WaveStarted)] == [1]
    assert made.recorder.events[-1].at < made.recorder.events[0].at + 2100


async def test_the_first_reason_to_end_stands(bench: Making) -> None:
    made = bench(1)
    made.control.drain(RunEnd.INTERRUPTED, "first")
    made.control.drain(RunEnd.HALTED, "second")
    assert await made.run() is RunEnd.INTERRUPTED
    assert made.log.count("send") == 0


async def test_a_run_past_its_deadline_halts_and_comes_home(bench: Making) -> None:
    made = bench(50, concurrency=1, deadline=500.0)
    assert await made.run() is RunEnd.HALTED
    assert 0 < len(made.outcomes) < 50
    assert last(made).reason == "the deadline of 500 s passed"
    assert all_run(made)


async def test_a_deadline_that_passes_while_the_last_changes_come_home_held_back_nobody(
    bench: Making,
) -> None:
    made = bench(2, deadline=100.0)
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 2
    assert (last(made).reason, verdicts(made)) == ("", [(1, True, "")])


async def test_a_deadline_does_not_hide_an_error_of_our_own(bench: Making) -> None:
    made = bench(1, deadline=50.0)
    made.cloud.refuse["put"] = [ZeroDivisionError("ours")]
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.STRANDED]


async def test_a_wave_that_a_deadline_cut_short_is_no_go(bench: Making) -> None:
    made = bench(3, waves=(1, 2, 2), concurrency=1, deadline=300.0)
    assert await made.run() is RunEnd.HALTED
    reason = "the deadline of 300 s passed"
    assert made.outcomes == [Outcome.CHANGED] * 2
    assert verdicts(made) == [(1, True, ""), (2, False, reason)]


async def test_a_wave_after_which_no_other_may_come_any_more_is_no_go(bench: Making) -> None:
    made = bench(2, waves=(1, 2), soak=1000.0, deadline=100.0)
    assert await made.run() is RunEnd.HALTED
    assert verdicts(made) == [(1, False, "the deadline of 100 s passed")]


async def test_a_wave_that_was_paused_and_then_cancelled_is_no_go(bench: Making) -> None:
    made = bench(3, concurrency=1)
    cancel = partial(made.control.drain, RunEnd.INTERRUPTED, "cancelled")
    assert await made.run_while((30.0, made.control.pause), (1000.0, cancel)) is RunEnd.INTERRUPTED
    assert made.outcomes == [Outcome.CHANGED]
    assert verdicts(made) == [(1, False, "cancelled")]


async def test_a_change_that_was_told_to_end_before_it_sent_anything_makes_the_wave_no_go(
    bench: Making,
) -> None:
    made = bench(1)
    assert await made.run_while(
        (1.05, made.control.pause), (50.0, partial(made.control.drain, RunEnd.INTERRUPTED, "cancelled"))
    )
    assert made.outcomes == [Outcome.NOT_STARTED]
    assert verdicts(made) == [(1, False, "cancelled")]
    assert last(made).end is RunEnd.INTERRUPTED


@pytest.mark.row(18)
@pytest.mark.parametrize("step", ["turn", "look", "stop", "put"])
async def test_lost_credentials_stop_the_run_at_the_first_call_that_says_so(
    bench: Making, call_error: Failing, step: str
) -> None:
    made = bench(5, concurrency=1)
    made.cloud.refuse[step] = [call_error(Meaning.UNAUTHENTICATED)]
    assert await made.run() is RunEnd.LOCKED_OUT
    assert began(made) == [0]
    assert "not authenticated" in last(made).reason
    assert all_run(made)


@pytest.mark.row(18)
async def test_a_debt_that_lost_credentials_leave_behind_is_named(bench: Making, call_error: Failing) -> None:
    made = bench(1)
    made.cloud.refuse["put"] = [call_error(Meaning.UNAUTHENTICATED)]
    made.cloud.refuse["start"] = [call_error(Meaning.UNAUTHENTICATED)]
    assert await made.run() is RunEnd.LOCKED_OUT
    assert made.outcomes == [Outcome.STRANDED]
    assert made.ended[0].fix.startswith("fleet start --scope lab-a nb-0")


# --- a journal that cannot be written --------------------------------------------------------------------


async def test_a_run_that_cannot_be_recorded_does_not_begin(bench: Making) -> None:
    made = bench(1)
    made.recorder.breaks_at = 0
    with pytest.raises(RecordingFailed):
        await made.run()
    assert made.log.words() == []


@pytest.mark.row(45)
async def test_a_write_whose_intent_cannot_be_recorded_is_not_sent(bench: Making) -> None:
    made = bench(3, concurrency=1)
    made.recorder.breaks_at = 1
    assert await made.run() is RunEnd.HALTED
    assert made.log.count("send") == 0
    assert began(made) == [0]


@pytest.mark.row(45)
async def test_without_a_journal_debts_are_still_paid_and_nothing_else_is_sent(bench: Making) -> None:
    made = bench(3, concurrency=1)
    made.recorder.breaks_at = 2
    assert await made.run() is RunEnd.HALTED
    assert made.log.words("send") == ["send stop nb-0", "send start nb-0"]
    assert all_run(made)


async def test_nothing_more_is_sent_once_nothing_can_be_recorded(bench: Making) -> None:
    made = bench(3, concurrency=1)
    made.recorder.breaks_at = 4
    assert await made.run() is RunEnd.HALTED
    assert made.log.words("send") == ["send stop nb-0", "send put nb-0", "send start nb-0"]
    assert all_run(made)


# --- stopped at once -------------------------------------------------------------------------------------


@pytest.mark.row(51)
async def test_a_run_that_is_stopped_at_once_still_records_its_end(bench: Making) -> None:
    made = bench(5)
    with anyio.move_on_after(100.0) as scope:
        await made.run()
    assert scope.cancelled_caught
    assert (last(made).end, last(made).reason) == (RunEnd.INTERRUPTED, "stopped at once")
    assert not [event for event in made.recorder.events if isinstance(event, Ended)]


@pytest.mark.row(51)
async def test_a_journal_that_hangs_cannot_hold_up_a_run_that_is_stopped_at_once(bench: Making) -> None:
    made = bench(1)

    async def hang(event: object) -> None:
        await anyio.sleep_forever()

    def break_down() -> None:
        made.recorder.commit = hang

    async def stopped() -> None:
        with anyio.move_on_after(100.0):
            await made.run_while((50.0, break_down))

    began_at = made.clock.monotonic()
    await stopped()
    assert made.clock.monotonic() - began_at == pytest.approx(105.0, abs=1.0)
