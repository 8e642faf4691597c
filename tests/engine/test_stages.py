"""Changes in stages: the pause between them, in one process or several, and a stage that must not follow."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import anyio
import pytest
from msgspec import structs

from fleet.core.errors import CallError, Meaning
from fleet.core.events import Began, Ended, Event, Held, Intended, Outcome, RunEnd, RunEnded, WaveEnded
from fleet.core.fold import fold
from fleet.core.notebook import Image, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase, Stage
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Share
from fleet.engine.control import Control
from fleet.engine.run import run_plan
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY

Making = Callable[..., Any]
Failing = Callable[..., CallError]
DAY = 86_400.0


def staged(made: Any, waves: Sequence[int] = ()) -> Any:
    """Every notebook gets another image a day after the first one; `waves` are those of the first stage."""
    firsts = made.plan.changes
    last = max(change.wave for change in firsts)
    seconds = [
        replace(
            change,
            item=len(firsts) + change.item,
            wave=last + change.wave,
            phases=(Phase(When.STOPPED, {"image_id": "newer"}),),
            before={"image_id": "new"},
            after={"image_id": "newer"},
            stage=2,
            follows=change.item,
        )
        for change in firsts
    ]
    stages = (Stage(1, 1, 0.0), Stage(2, last + 1, DAY))
    made.plan = seal(replace(made.plan, changes=(*firsts, *seconds), stages=stages))
    return made


async def taken_up(made: Any, events: Sequence[Event]) -> RunEnd:
    """A new process goes on where the journal ends with `events`."""
    state = fold(made.plan, events)
    made.recorder.events[:] = events
    made.log.entries.clear()
    made.control = Control()
    return await run_plan(
        made.plan,
        "run",
        {"lab-a": made.cloud},
        made.tape,
        made.clock,
        made.control,
        {"lab-a": 20.0},
        state.earlier(),
    )


def began(made: Any) -> dict[int, float]:
    """When changes began last, by item."""
    return {event.item: event.at for event in made.recorder.events if isinstance(event, Began)}


def waves_ended(made: Any) -> dict[int, float]:
    return {event.wave: event.at for event in made.recorder.events if isinstance(event, WaveEnded)}


def images(made: Any) -> list[str]:
    return [made.cloud.notebooks[key].image.id for key in sorted(made.cloud.notebooks)]


async def test_no_notebook_gets_the_second_stage_before_the_pause_after_the_first_is_over(
    bench: Making,
) -> None:
    made = staged(bench(4, waves=(1, 2, 2, 2), soak=600.0))
    assert await made.run() is RunEnd.FINISHED
    assert images(made) == ["newer"] * 4
    ended, starts = waves_ended(made), began(made)
    assert min(starts[item] for item in range(4, 8)) - ended[2] == pytest.approx(DAY, abs=1)
    assert starts[1] - ended[1] == pytest.approx(600.0, abs=1)
    assert starts[5] - ended[3] == pytest.approx(600.0, abs=1)


async def test_no_second_stage_stands_in_for_a_wave_of_the_first_that_proved_nothing(bench: Making) -> None:
    made = staged(bench(3, waves=(1, 1, 2)))
    made.cloud.notebooks["nb-2"] = structs.replace(made.cloud.notebooks["nb-2"], image=Image("theirs"))
    assert await made.run() is RunEnd.FINISHED
    assert images(made) == ["newer", "newer", "theirs"]
    assert began(made)[3] - waves_ended(made)[2] == pytest.approx(DAY, abs=1)


async def test_the_run_says_until_when_it_pauses(bench: Making) -> None:
    made = staged(bench(1))
    await made.run()
    told = [event for event in made.recorder.events if isinstance(event, Held)]
    assert [(event.where, bool(event.text)) for event in told] == [("wave 2", True), ("wave 2", False)]
    assert told[1].at - told[0].at == pytest.approx(DAY, abs=1)
    assert told[0].text.startswith("begins at 2025-06-16 ")
    assert told[0].until == pytest.approx(told[1].at, abs=1)


@pytest.mark.parametrize("gone", [0.0, 3600.0, DAY - 100.0, DAY + 100.0, 9 * DAY])
async def test_a_process_that_dies_in_the_pause_makes_it_neither_shorter_nor_longer(
    bench: Making, gone: float
) -> None:
    made = staged(bench(2))
    enough = partial(made.control.drain, RunEnd.INTERRUPTED, "enough")
    assert await made.run_while((5000.0, enough)) is RunEnd.INTERRUPTED
    first = [event for event in made.recorder.events if not isinstance(event, RunEnded)]
    ended = waves_ended(made)[1]
    await anyio.sleep(gone)
    again = made.clock.wall()
    assert await taken_up(made, first) is RunEnd.FINISHED
    assert images(made) == ["newer"] * 2
    assert min(began(made)[item] for item in (2, 3)) == pytest.approx(max(ended + DAY, again), abs=10)


async def test_a_process_that_dies_twice_in_the_pause_counts_it_from_its_beginning(bench: Making) -> None:
    made = staged(bench(1))
    await made.run_while((5000.0, partial(made.control.drain, RunEnd.INTERRUPTED, "enough")))
    ended = waves_ended(made)[1]
    events = list(made.recorder.events)
    with anyio.move_on_after(4000.0):
        await taken_up(made, events)
    assert waves_ended(made)[1] > ended  # judged anew
    assert await taken_up(made, list(made.recorder.events)) is RunEnd.FINISHED
    assert began(made)[1] == pytest.approx(ended + DAY, abs=10)


@pytest.mark.parametrize("gone", [0.0, 250.0, 5000.0])
async def test_a_resumed_run_waits_for_what_is_left_of_a_soak(bench: Making, gone: float) -> None:
    made = bench(2, waves=(1, 2), soak=1000.0)
    await made.run_while((400.0, partial(made.control.drain, RunEnd.INTERRUPTED, "enough")))
    ended, events = waves_ended(made)[1], list(made.recorder.events)
    await anyio.sleep(gone)
    again = made.clock.wall()
    assert await taken_up(made, events) is RunEnd.FINISHED
    assert began(made)[1] == pytest.approx(max(ended + 1000.0, again), abs=10)


async def test_a_wave_that_was_begun_before_the_process_died_is_not_waited_for_again(bench: Making) -> None:
    made = bench(3, waves=(1, 2, 2), soak=1000.0, concurrency=1)
    await made.run_while((1300.0, partial(made.control.drain, RunEnd.INTERRUPTED, "enough")))
    assert sorted(began(made)) == [0, 1]
    again = made.clock.wall()
    assert await taken_up(made, list(made.recorder.events)) is RunEnd.FINISHED
    assert began(made)[2] == pytest.approx(again, abs=10)


async def test_a_wave_that_was_left_midway_soaks_from_its_end_in_the_later_process(bench: Making) -> None:
    made, kept = bench(2, waves=(1, 2), soak=1000.0), list[Event]()
    with anyio.move_on_after(101.0):  # the notebook is stopped by us
        await made.run_while((100.0, lambda: kept.extend(made.recorder.events)))
    await anyio.sleep(5000.0)
    assert await taken_up(made, kept) is RunEnd.FINISHED
    assert began(made)[1] == pytest.approx(made.ended[0].at + 1000.0, abs=1)


@pytest.mark.parametrize("gone", [0.0, 5000.0])
async def test_a_soak_counts_from_the_last_homecoming_of_its_wave_not_from_an_earlier_verdict(
    bench: Making, call_error: Failing, gone: float
) -> None:
    made = bench(2, waves=(1, 2), soak=1000.0)
    made.cloud.refuse["start"] = [call_error(Meaning.FORBIDDEN)]
    assert await made.run() is RunEnd.HALTED
    assert (made.outcomes, sorted(waves_ended(made))) == ([Outcome.STRANDED], [1])
    await anyio.sleep(gone)
    assert await taken_up(made, list(made.recorder.events)) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 2
    assert began(made)[1] == pytest.approx(made.ended[0].at + 1000.0, abs=1)


@pytest.mark.parametrize("waves", [(1, 1), (1, 2)])
async def test_a_notebook_whose_first_stage_was_left_to_another_run_gets_its_own_pause(
    bench: Making, waves: Sequence[int]
) -> None:
    """The others are through; this one's first stage is made now, and its second a day later."""
    made = staged(bench(2, waves=waves))
    claimed = {1: "claimed by run x", 3: "claimed by run x"}
    end = await run_plan(
        made.plan, "run", {"lab-a": made.cloud}, made.tape, made.clock, made.control, {"lab-a": 20.0},
        claimed=claimed,
    )  # fmt: skip
    assert (end, images(made)) == (RunEnd.HALTED, ["newer", "old"])
    await anyio.sleep(9 * DAY)
    assert await taken_up(made, list(made.recorder.events)) is RunEnd.FINISHED
    assert images(made) == ["newer", "newer"]
    assert began(made)[3] - waves_ended(made)[waves[1]] == pytest.approx(DAY, abs=10)


async def test_a_stage_does_not_follow_one_that_failed_and_the_run_is_no_worse_for_it(
    bench: Making, call_error: Failing
) -> None:
    made = staged(bench(3, concurrency=1))
    made.cloud.refuse["put"] = [call_error(Meaning.INVALID)]
    assert await made.run() is RunEnd.FINISHED
    assert images(made) == ["old", "newer", "newer"]
    assert (made.ended[3].outcome, made.ended[3].reason) == (
        Outcome.SKIPPED,
        "the stage before it ended as failed",
    )
    assert 3 not in began(made)
    rows = fold(made.plan, made.recorder.events).rows()
    assert [row.outcome for row in rows] == [Outcome.FAILED, Outcome.CHANGED, Outcome.CHANGED]


async def test_a_stage_does_not_follow_one_that_failed_before_the_process_died(
    bench: Making, call_error: Failing
) -> None:
    made = staged(bench(2, concurrency=1))
    made.cloud.refuse["put"] = [call_error(Meaning.INVALID)]
    await made.run_while((5000.0, partial(made.control.drain, RunEnd.INTERRUPTED, "enough")))
    assert await taken_up(made, list(made.recorder.events)) is RunEnd.FINISHED
    assert images(made) == ["old", "newer"]
    assert made.ended[2].outcome is Outcome.SKIPPED
    assert 2 not in began(made)


async def test_where_no_stage_may_follow_nobody_waits_for_the_pause(bench: Making) -> None:
    made = staged(bench(1))
    made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.notebooks["nb-0"], status=Status.FROZEN)
    began_at = made.clock.wall()
    assert await made.run() is RunEnd.FINISHED
    assert made.outcomes == [Outcome.SKIPPED, Outcome.SKIPPED]
    assert made.clock.wall() - began_at < 100.0


async def test_a_second_stage_comes_back_to_the_run_state_that_its_person_chose_meanwhile(
    bench: Making,
) -> None:
    made = staged(bench(1))

    def stop() -> None:
        made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.read("nb-0"), status=Status.STOPPED)

    assert await made.run_while((5000.0, stop)) is RunEnd.FINISHED
    row = made.cloud.read("nb-0")
    assert (row.status, row.image.id) == (Status.STOPPED, "newer")
    steps = [event.step for event in made.recorder.events if isinstance(event, Intended) and event.item == 1]
    assert steps == ["put"]


async def test_what_somebody_wrote_between_the_stages_is_not_overwritten(bench: Making) -> None:
    made = staged(bench(1))

    def edit() -> None:
        made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.read("nb-0"), image=Image("theirs"))

    assert await made.run_while((5000.0, edit)) is RunEnd.FINISHED
    assert images(made) == ["theirs"]
    (row,) = fold(made.plan, made.recorder.events).rows()
    assert row.outcome is Outcome.DRIFTED
    assert row.reason.startswith("stage 1 done; stage 2: image_id is theirs")


async def test_budgets_count_notebooks_not_stages(bench: Making, call_error: Failing) -> None:
    made = staged(bench(10, concurrency=10, max_failures=Share(10, percent=True)))
    made.cloud.refuse["put"] = [call_error(Meaning.INVALID) for _ in range(10)]
    assert await made.run() is RunEnd.HALTED
    assert made.outcomes == [Outcome.FAILED]


async def test_a_paused_run_can_be_ended_at_once(bench: Making) -> None:
    made = staged(bench(1))
    end = partial(made.control.drain, RunEnd.INTERRUPTED, "cancelled")
    began_at = made.clock.wall()
    assert await made.run_while((5000.0, end)) is RunEnd.INTERRUPTED
    assert made.clock.wall() - began_at < 5100.0
    assert not [event for event in made.recorder.events if isinstance(event, Ended) and event.item == 1]


@pytest.mark.parametrize("left", [DAY, -DAY])
async def test_a_stage_waits_for_what_is_left_of_the_pause_since_another_run(
    bench: Making, left: float
) -> None:
    made = bench(2, waves=(1, 2), soak=600.0)
    begins = made.clock.wall() + left
    made.plan = seal(replace(made.plan, stages=(Stage(2, 1, 0.0, not_before=begins),)))
    started = made.clock.wall()
    assert await made.run() is RunEnd.FINISHED
    starts = began(made)
    assert starts[0] == pytest.approx(max(begins, started), abs=10)
    assert starts[1] - waves_ended(made)[1] == pytest.approx(600.0, abs=1)


async def test_a_process_that_dies_in_the_pause_since_another_run_does_not_shorten_it(bench: Making) -> None:
    made = bench(1)
    begins = made.clock.wall() + DAY
    made.plan = seal(replace(made.plan, stages=(Stage(2, 1, 0.0, not_before=begins),)))
    await made.run_while((5000.0, partial(made.control.drain, RunEnd.INTERRUPTED, "enough")))
    assert began(made) == {}
    assert await taken_up(made, list(made.recorder.events)) is RunEnd.FINISHED
    assert began(made)[0] == pytest.approx(begins, abs=10)
