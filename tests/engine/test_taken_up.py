"""What a new process must remember of a run that it takes up, and what bugs of our own must not do."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import pytest
from msgspec.structs import replace

from fleet.core.errors import CallError, Meaning
from fleet.core.events import Ended, Event, Intended, Late, Outcome, RunEnd, RunEnded, Step, WaveEnded
from fleet.core.fold import fold
from fleet.core.notebook import Image, Status
from fleet.core.rollout import FAILURES, Share
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]


async def taken_up(made: Any, events: Sequence[Event], claimed: Mapping[int, str] | None = None) -> RunEnd:
    """A new process goes on where the journal ends with `events`."""
    earlier = fold(made.plan, events).earlier()
    made.recorder.events[:] = events
    made.log.entries.clear()
    made.control = Control()
    clouds, polls = {"lab-a": made.cloud}, {"lab-a": 20.0}
    return await run_plan(
        made.plan, "run", clouds, made.tape, made.clock, made.control, polls, earlier, claimed=claimed
    )


def until_first_end(made: Any) -> list[Event]:
    events: list[Event] = made.recorder.events
    return events[: next(n for n, event in enumerate(events) if isinstance(event, Ended)) + 1]


def until_intent(made: Any, step: Step) -> list[Event]:
    """The journal of a process that was killed as this write left."""
    events: list[Event] = made.recorder.events
    cut = next(n for n, event in enumerate(events) if isinstance(event, Intended) and event.step is step)
    return events[: cut + 1]


@pytest.mark.row(48)
@pytest.mark.parametrize(
    ("step", "outcome"),
    [(Step.STOP, Outcome.UNCHANGED), (Step.PUT, Outcome.CHANGED), (Step.START, Outcome.CHANGED)],
)
async def test_what_another_run_finished_meanwhile_is_as_planned_and_left_alone(
    bench: Making, step: Step, outcome: Outcome
) -> None:
    made = bench()
    await made.run()
    assert made.cloud.read("nb-0").image == Image("new")  # and RUNNING, with a lease of another start
    await taken_up(made, until_intent(made, step))
    assert (made.outcomes, made.log.words("send"), made.ended[0].debt) == ([outcome], [], False)


@pytest.mark.row(45)
async def test_what_went_home_for_want_of_a_journal_is_made_by_the_next_process(bench: Making) -> None:
    made = bench()
    await made.run()
    events = until_intent(made, Step.PUT)[:-1]
    made.cloud.notebooks["nb-0"] = replace(
        made.cloud.notebooks["nb-0"], status=Status.STOPPED, image=Image("old")
    )
    late = Late(0, events[-1].at, "the journal cannot be written", unrecorded=True)
    await taken_up(made, [*events, late])
    assert made.outcomes[-1] is Outcome.CHANGED
    steps = ["start", "stop", "put", "start"]
    assert [word.split()[1] for word in made.log.words("send")] == steps


def verdicts(made: Any) -> list[tuple[int, bool]]:
    return [(event.wave, event.go) for event in made.recorder.events if isinstance(event, WaveEnded)]


async def test_a_canary_that_failed_before_the_process_died_stops_the_rollout_all_the_same(
    bench: Making, call_error: Failing
) -> None:
    made = bench(6, waves=(1, 2, 2, 2, 2, 2))
    made.cloud.refuse["put"] = [call_error(Meaning.INVALID)]
    assert await made.run() is RunEnd.HALTED
    assert await taken_up(made, until_first_end(made)) is RunEnd.HALTED
    assert verdicts(made) == [(1, False)]
    assert made.log.words("send") == []


async def test_a_notebook_stranded_before_the_process_died_stops_the_next_wave(
    bench: Making, call_error: Failing
) -> None:
    made = bench(6, waves=(1, 1, 2, 2, 2, 2), concurrency=1)
    made.cloud.refuse["start"] = [call_error(Meaning.FORBIDDEN)]
    await made.run()
    events = until_first_end(made)
    made.cloud.due.clear()
    for key in [key for key in made.cloud.notebooks if key != "nb-0"]:
        row = made.cloud.notebooks[key]
        made.cloud.notebooks[key] = replace(row, status=Status.RUNNING, image=Image("old"))
    made.cloud.refuse["start"] = [call_error(Meaning.FORBIDDEN)]
    assert await taken_up(made, events) is RunEnd.HALTED
    assert verdicts(made) == [(1, False)]
    assert {word.split()[-1] for word in made.log.words("send")} == {"nb-0", "nb-1"}


async def test_a_change_in_doubt_that_another_run_claims_by_now_holds_back_the_next_wave(
    bench: Making,
) -> None:
    made = bench(3, waves=(1, 2, 2))
    await made.run()
    assert await taken_up(made, until_intent(made, Step.STOP), {0: "claimed by run B"}) is RunEnd.HALTED
    assert verdicts(made) == [(1, False)]
    assert made.log.words("send") == []


async def test_failures_that_another_run_claims_by_now_still_count(
    bench: Making, call_error: Failing
) -> None:
    made = bench(10, concurrency=1, max_failures=Share(3))
    made.cloud.refuse["start"] = [call_error(Meaning.FORBIDDEN)] * 2
    await made.run_while((600.0, lambda: made.control.drain(RunEnd.INTERRUPTED, "enough")))
    events = list(made.recorder.events)
    lost = [item for item, end in made.ended.items() if end.outcome is Outcome.STRANDED]
    assert len(lost) == 2
    made.cloud.refuse["start"] = [call_error(Meaning.FORBIDDEN)] * 20
    await taken_up(made, events, dict.fromkeys(lost, "claimed by run B"))
    assert sum(outcome in FAILURES for outcome in made.outcomes) == 3


@pytest.mark.row(69)
async def test_a_bug_in_the_shared_poll_keeps_no_notebook_from_coming_home(bench: Making) -> None:
    made = bench(4, concurrency=4)

    async def broken(statuses: object) -> list[str]:
        raise ValueError("a bug")

    made.cloud.poll = broken
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.CHANGED] * 4
    assert {made.cloud.read(key).status for key in made.cloud.notebooks} == {Status.RUNNING}


@pytest.mark.row(69)
async def test_a_bug_in_whoever_watches_keeps_no_notebook_from_coming_home(bench: Making) -> None:
    made = bench(4, concurrency=2)

    def watch(event: Event) -> None:
        if isinstance(event, Ended):
            raise ValueError("a bug")

    made.tape.show_to(watch)
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.CHANGED] * 2
    end = made.recorder.events[-1]
    assert isinstance(end, RunEnded)
    assert "an error of our own: ValueError" in end.reason


@pytest.mark.parametrize("meaning", [Meaning.UNAUTHENTICATED, Meaning.TLS, Meaning.WRONG_ADDRESS])
async def test_a_run_that_was_locked_out_before_it_sent_anything_begins_anew_once_that_is_mended(
    bench: Making, call_error: Failing, meaning: Meaning
) -> None:
    made = bench(5, waves=[1, 2, 2, 2, 2])
    made.cloud.refuse["look"] = [call_error(meaning)]
    assert await made.run() is RunEnd.LOCKED_OUT
    assert {row.outcome for row in fold(made.plan, made.recorder.events).rows()} == {Outcome.NOT_STARTED}
    assert await taken_up(made, list(made.recorder.events)) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 5
