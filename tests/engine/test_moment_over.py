"""Changes whose moment is over before their first write, or whose stop never happened: they wait again."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import anyio
import pytest
from msgspec import structs

from fleet.core.events import Event, Intended, Noticed, Outcome, RunEnd, Step
from fleet.core.fold import fold
from fleet.core.notebook import Image, Status
from fleet.core.patch import When
from fleet.core.planning.plan import Phase, Stage, Took
from fleet.core.planning.plan_file import seal
from fleet.core.scheduling.calendar import Blackout, Calendar, Window
from fleet.core.scheduling.timing import Moment, Notice
from fleet.engine.readiness_attendants import People
from fleet.engine.run import run_plan
from tests.engine.persons import DAY, HOUR, NEXT_STOP, PATIENCE, Making, Somebody, go, person, stops
from tests.virtual import EPOCH, IN_MEMORY, run_while

pytestmark = IN_MEMORY

NIGHT = Calendar((Window("0 22 * * *", 2 * HOUR),))  # EPOCH is Sun 2025-06-15 15:06:40 UTC
APART = 3 * HOUR  # two stages
IDLE: dict[str, Any] = {"when": Moment.IDLE, "patience": PATIENCE}


async def killed_at(made: Any, step: Step) -> list[Event]:
    """The journal of a process that was killed as this write left, before it arrived."""
    await go(made)
    events: list[Event] = made.recorder.events
    cut = next(n for n, event in enumerate(events) if isinstance(event, Intended) and event.step is step)
    return events[: cut + 1]


async def taken_up(made: Any, events: list[Event], some: Somebody | None = None, *after: Any) -> RunEnd:
    """A new process goes on where the journal ends with `events`; no notebook was touched by the old one."""
    made.recorder.events[:] = events
    some, state = some or Somebody(), fold(made.plan, events)
    run = run_plan(
        made.plan,
        "run",
        {"lab-a": made.cloud},
        made.tape,
        made.clock,
        made.control,
        {"lab-a": 20.0},
        state.earlier(),
        people=People(some, {"lab-a": some}),
    )
    return await run_while(run, *after)


# --- taken up again --------------------------------------------------------------------------------------


async def test_a_stop_that_never_arrived_is_sent_in_the_next_window_not_when_the_run_is_taken_up(
    bench: Making,
) -> None:
    events = await killed_at(bench(1), Step.STOP)
    made = bench(1, calendar=NIGHT)
    assert await taken_up(made, events) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    assert stops(made) == ["nb-0"]
    (sent,) = (
        one.at
        for one in made.recorder.events[len(events) :]
        if getattr(one, "step", "") == "stop" and isinstance(one, Intended)
    )
    assert NIGHT.open_until(sent) is not None
    (row,) = fold(made.plan, made.recorder.events).rows()
    assert (row.outcome, row.debt, row.run_state_after) == (Outcome.CHANGED, False, "RUNNING")


async def test_a_stop_that_never_arrived_is_not_sent_to_one_who_is_busy_by_now(bench: Making) -> None:
    events = await killed_at(bench(1), Step.STOP)
    made = bench(1, **IDLE)
    assert await taken_up(made, events) is RunEnd.FINISHED
    assert (stops(made), made.outcomes) == ([], [Outcome.SKIPPED])
    (row,) = fold(made.plan, made.recorder.events).rows()
    assert (row.outcome, row.debt, row.calls.stop) == (Outcome.SKIPPED, False, 1)


async def test_a_stop_that_never_arrived_waits_for_a_person_s_own(bench: Making) -> None:
    events = await killed_at(bench(2), Step.STOP)
    made = bench(2, **NEXT_STOP)
    await taken_up(made, events, None, (5000.0, person(made, 0, Status.STOPPED)))
    assert stops(made) == []
    assert made.outcomes == [Outcome.CHANGED, Outcome.SKIPPED]


async def test_a_stop_that_did_arrive_is_a_debt_that_goes_home_at_once(bench: Making) -> None:
    events = await killed_at(bench(1), Step.STOP)
    made = bench(1, calendar=NIGHT, **IDLE)
    made.cloud.notebooks["nb-0"] = structs.replace(made.cloud.notebooks["nb-0"], status=Status.STOPPED)
    assert await taken_up(made, events) is RunEnd.FINISHED
    assert made.cloud.read("nb-0").status is Status.RUNNING
    assert made.ended[0].at - EPOCH < HOUR


async def test_where_nobody_is_to_be_left_alone_a_stop_that_never_arrived_is_sent_at_once(
    bench: Making,
) -> None:
    made = bench(1)
    await taken_up(made, await killed_at(bench(1), Step.STOP))
    assert (stops(made), made.outcomes) == (["nb-0"], [Outcome.CHANGED])
    assert made.at("send stop")[0] < 300


# --- the second stage of one that was stopped ------------------------------------------------------------


def staged(made: Any) -> Any:
    """Two images, some hours apart, for notebooks that stand still at first."""
    firsts = [replace(change, run_state=Status.STOPPED) for change in made.plan.changes]
    seconds = [
        replace(
            change,
            item=len(firsts) + change.item,
            wave=2,
            phases=(Phase(When.STOPPED, {"image_id": "newer"}),),
            before={"image_id": "new"},
            after={"image_id": "newer"},
            stage=2,
            follows=change.item,
        )
        for change in firsts
    ]
    stages = (Stage(1, 1, 0.0), Stage(2, 2, APART))
    made.plan = seal(replace(made.plan, changes=(*firsts, *seconds), stages=stages))
    for key, row in made.cloud.notebooks.items():
        made.cloud.notebooks[key] = structs.replace(row, status=Status.STOPPED)
    return made


async def test_one_that_a_person_started_between_two_stages_is_spared(bench: Making) -> None:
    made = staged(bench(2, **NEXT_STOP))
    started, stopped = person(made, 0, Status.RUNNING), person(made, 0, Status.STOPPED)
    assert await go(made, None, (APART / 2, started), (1.5 * APART, stopped)) is RunEnd.FINISHED
    assert stops(made) == []
    assert made.outcomes == [Outcome.CHANGED] * 4
    assert {row.image for row in made.cloud.notebooks.values()} == {Image("newer")}
    assert made.at("send put nb-0")[-1] > 1.5 * APART


async def test_its_owner_is_told_before_it_is_stopped_and_it_runs_again(bench: Making) -> None:
    made, some = staged(bench(2, notice=Notice(("mail",), lead=2 * HOUR))), Somebody()
    assert await go(made, some, (APART / 2, person(made, 0, Status.RUNNING))) is RunEnd.FINISHED
    assert stops(made) == ["nb-0"]
    (told,) = (event for event in made.recorder.events if isinstance(event, Noticed))
    assert made.at("send stop")[0] >= told.at - EPOCH + 2 * HOUR
    assert made.cloud.read("nb-0").status is Status.RUNNING
    assert made.cloud.read("nb-1").status is Status.STOPPED


# --- when its turn at the gate has come ------------------------------------------------------------------


def at_a_slow_gate(made: Any, seconds: float) -> None:
    """The first turn of every change is so many seconds away, and they come one after the other."""
    turn, one = made.cloud.turn, anyio.Lock()

    async def slowly(rank: Any) -> Any:
        if rank.name == "NEW":
            async with one:
                await anyio.sleep(seconds)
        return await turn(rank)

    made.cloud.turn = slowly


async def test_whoever_has_queued_until_the_window_is_too_short_sends_nothing_and_waits_for_the_next(
    bench: Making,
) -> None:
    made = bench(20, calendar=NIGHT, concurrency=20, change_deadline=DAY)
    at_a_slow_gate(made, 600.0)
    assert await go(made) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 20
    assert all(NIGHT.open_until(EPOCH + at) is not None for at in made.at("send stop"))
    assert all(NIGHT.open_until(end.at) is not None for end in made.ended.values())
    assert len(made.at("send stop")) == 20
    nights = {int((EPOCH + at) // DAY) for at in made.at("send stop")}
    assert len(nights) == 2  # what others waited for the gate makes no change long


async def test_one_who_was_idle_when_he_began_to_queue_is_spared_when_that_is_old_news(bench: Making) -> None:
    made, some = bench(3, **IDLE), Somebody()
    some.idles = {f"nb-{number}": True for number in range(3)}
    at_a_slow_gate(made, 700.0)
    busy = (800.0, lambda: some.idles.update({"nb-1": False, "nb-2": False}))
    assert await go(made, some, busy) is RunEnd.FINISHED
    assert stops(made) == ["nb-0"]
    assert made.outcomes == [Outcome.CHANGED, Outcome.SKIPPED, Outcome.SKIPPED]


async def test_an_owner_s_wish_that_arrives_while_it_queues_is_heard(bench: Making) -> None:
    made, some = bench(1, notice=Notice(("mail",), lead=100.0, postponed="later.csv")), Somebody()
    at_a_slow_gate(made, 700.0)
    wish = (400.0, lambda: some.wishes.update({"owner-0": EPOCH + 2 * HOUR}))
    assert await go(made, some, wish) is RunEnd.FINISHED
    assert made.at("send stop")[0] >= 2 * HOUR


# --- when a pause is over that came while it queued -------------------------------------------------------


def paused(made: Any, begins: float, ends: float) -> tuple[Any, Any]:
    return (begins, made.control.pause), (ends, made.control.release)


async def test_one_whose_window_closed_during_a_pause_waits_for_the_next(bench: Making) -> None:
    made = bench(1, calendar=NIGHT, change_deadline=DAY)
    at_a_slow_gate(made, 600.0)
    opens = 22 * HOUR - (15 * HOUR + 6 * 60 + 40)
    assert await go(made, None, *paused(made, opens + 300.0, opens + 3 * HOUR)) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    (sent,) = made.at("send stop")
    assert NIGHT.open_until(EPOCH + sent) is not None
    assert sent > opens + DAY


async def test_one_whose_blackout_began_during_a_pause_waits_for_its_end(bench: Making) -> None:
    freeze = Blackout("2025-06-15 15:30", "2025-06-16 15:30")  # from 1400 s on
    made = bench(1, calendar=Calendar(blackouts=(freeze,)), change_deadline=DAY)
    at_a_slow_gate(made, 100.0)
    assert await go(made, None, *paused(made, 50.0, 2000.0)) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    assert made.at("send stop")[0] >= DAY


@pytest.mark.parametrize("lasts", [120.0, 1000.0, 5000.0])
async def test_one_who_became_busy_during_a_pause_is_spared(bench: Making, lasts: float) -> None:
    made, some = bench(1, **IDLE), Somebody()
    some.idles = {"nb-0": True}
    at_a_slow_gate(made, 100.0)
    busy = (60.0, lambda: some.idles.update({"nb-0": False}))
    assert await go(made, some, busy, *paused(made, 50.0, 50.0 + lasts)) is RunEnd.FINISHED
    assert (stops(made), made.outcomes) == ([], [Outcome.SKIPPED])


async def test_one_who_stayed_idle_during_a_pause_is_changed_after_it(bench: Making) -> None:
    made, some = bench(1, **IDLE), Somebody()
    some.idles = {"nb-0": True}
    at_a_slow_gate(made, 100.0)
    assert await go(made, some, *paused(made, 50.0, 5000.0)) is RunEnd.FINISHED
    assert (stops(made), made.outcomes) == (["nb-0"], [Outcome.CHANGED])
    assert made.at("send stop")[0] > 5000.0


# --- one that is slow ------------------------------------------------------------------------------------


async def test_one_slow_notebook_keeps_no_other_from_its_window(bench: Making) -> None:
    half_an_hour = Calendar((Window("0 22 * * *", 1800.0),))
    made = bench(6, calendar=half_an_hour, concurrency=1)
    starts = made.cloud.start

    async def slowly(key: str, query: Any, turn: Any) -> Any:
        receipt = await starts(key, query, turn)
        if key == "nb-0":
            made.cloud.due[key] = (made.cloud.due[key][0] + 1600.0, Status.RUNNING)
        return receipt

    made.cloud.start = slowly
    assert await go(made) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED] * 6
    assert all(half_an_hour.open_until(EPOCH + at) is not None for at in made.at("send stop"))


async def test_what_earlier_runs_took_keeps_one_from_starting_too_late(bench: Making) -> None:
    open_for_an_hour_yet = Calendar((Window("0 14 * * *", 2 * HOUR),))
    made = bench(1, calendar=open_for_an_hour_yet)
    times = {made.plan.changes[0].flavor: Took(600.0, 900.0, 2400.0, 3600.0, of=30)}
    made.plan = seal(replace(made.plan, estimate=replace(made.plan.estimate, times=times)))
    assert await go(made) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    assert 22 * HOUR < made.at("send stop")[0] < 23 * HOUR
