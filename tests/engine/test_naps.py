"""How long the waiting room sleeps: until there is news, the next moment, or the wall clock was set."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio

from fleet.core.events import Outcome, RunEnd
from fleet.core.planning.plan import Change, Took
from fleet.core.planning.plan_file import seal
from fleet.core.rollout import Rollout
from fleet.core.scheduling.calendar import Calendar, Window
from fleet.core.scheduling.readiness import Pace
from fleet.core.scheduling.timing import Memory
from fleet.core.scheduling.waiting import PROVEN
from fleet.engine.readiness import WaitingRoom
from tests.engine.persons import HOUR, Making, go
from tests.virtual import IN_MEMORY, run_while

pytestmark = IN_MEMORY

NIGHT = Calendar((Window("0 22 * * *", 2 * HOUR),))  # EPOCH is Sun 2025-06-15 15:06:40 UTC


def set_clock(made: Any, hours: float) -> Callable[[], None]:
    return lambda: setattr(made.clock, "slept", hours * HOUR)


def _refuse(change: Change, end: object) -> None:
    raise AssertionError(end)


def _fail(error: Exception) -> None:
    raise error


async def _until(run: Awaitable[None]) -> None:
    """Goes on for an hour at most; the window opens later."""
    with anyio.move_on_after(HOUR):
        await run


async def test_a_wall_clock_that_is_set_on_is_noticed(bench: Making) -> None:
    made = bench(1, calendar=NIGHT)
    assert await go(made, None, (100.0, set_clock(made, 6.9))) is RunEnd.FINISHED
    assert made.at("send stop")[0] < 300.0


async def test_a_wall_clock_that_is_set_back_is_noticed(bench: Making) -> None:
    made = bench(1, calendar=NIGHT)
    made.clock.slept = 10 * HOUR
    assert await go(made, None, (100.0, set_clock(made, 6.0))) is RunEnd.FINISHED
    assert made.outcomes == [Outcome.CHANGED]
    assert made.at("send stop")[0] < HOUR


async def test_a_window_too_short_for_all_is_a_window_that_was_open(bench: Making) -> None:
    short = Window("0 16 * * *", 600.0)
    made = bench(1, calendar=Calendar((short, *NIGHT.windows)), carry_over=False)
    times = {made.plan.changes[0].flavor: Took(600.0, 900.0, 2400.0, 3600.0, of=30)}
    made.plan = seal(replace(made.plan, estimate=replace(made.plan.estimate, times=times)))
    assert await go(made) is RunEnd.HALTED
    assert made.clock.monotonic() < HOUR


async def test_changes_that_turn_out_shorter_are_let_into_the_window_that_is_open(bench: Making) -> None:
    made = bench(2)
    waits, ended = made.plan.changes
    slow = {waits.flavor: Took(600.0, 900.0, 2400.0, 3600.0, of=30)}
    open_for_an_hour_yet = Rollout(calendar=Calendar((Window("0 14 * * *", 2 * HOUR),)))
    room = WaitingRoom(
        open_for_an_hour_yet, Memory(), made.tape, made.clock, made.control, _fail, None, Pace(slow)
    )
    room.enter(waits, stops=True)
    released: list[tuple[float, Change]] = []

    def quicker() -> None:
        assert released == []
        for _ in range(PROVEN):
            room.took(ended, 300.0)

    run = room.run(lambda some: released.extend((made.clock.monotonic(), one) for one in some), _refuse)
    await run_while(_until(run), (100.0, quicker))
    ((at, one),) = released
    assert one is waits
    assert 100.0 < at < 200.0


async def test_nobody_is_judged_while_the_next_moment_is_far(bench: Making) -> None:
    made = bench(1)
    judged: list[float] = []

    class Room(WaitingRoom):
        def _sort_out(self, *how: Any) -> float:
            judged.append(made.clock.wall())
            return super()._sort_out(*how)

    room = Room(Rollout(calendar=NIGHT), Memory(), made.tape, made.clock, made.control, _fail, None, Pace())
    room.enter(made.plan.changes[0], stops=True)
    await _until(room.run(lambda _: None, _refuse))
    assert len(judged) == 1
