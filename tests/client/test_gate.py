"""Gates in virtual time: by turns, at even distance, with seats, nothing over a limit, and counted."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from typing import Any

import anyio
import pytest

from fleet.client.clock import Clock
from fleet.client.gate import LEAD, Gate
from fleet.core.calls import Turn
from fleet.core.errors import CallError, Meaning
from fleet.core.events import Slowed
from fleet.core.pacing.limits import Limit, Rate
from fleet.core.pacing.pace import HEADROOM, Pace
from fleet.core.pacing.send_log import largest_count
from tests.virtual import IN_MEMORY

pytestmark = IN_MEMORY


class Watched:
    """A gate with what passed it."""

    def __init__(self, clock: Clock, rate: Rate, in_flight: int = 32) -> None:
        self.told: list[Slowed] = []
        self.left: list[tuple[int, float]] = []
        self.aboard = self.most_aboard = 0
        self.now = clock.monotonic
        self.gate = Gate("key", Pace(rate), clock, on_slowed=self.told.append, in_flight=in_flight)

    async def read(self, number: int, takes: float = 0.0) -> None:
        await self.gate.pass_()
        await self._send(number, takes)

    async def write(self, number: int, turn: Turn | None = None, takes: float = 0.0) -> None:
        await self.gate.pass_turn(turn or await self.gate.turn())
        await self._send(number, takes)

    async def _send(self, number: int, takes: float) -> None:
        self.aboard += 1
        self.most_aboard = max(self.most_aboard, self.aboard)
        try:
            self.left.append((number, await self.go()))
            await anyio.sleep(takes)
        finally:
            self.aboard -= 1
            self.gate.leave()

    async def refuse(self, **how: Any) -> None:
        """One request more that is refused at once."""
        await self.gate.pass_turn(Turn(self.now()))
        self.gate.heard(await self.go(), CallError(Meaning.THROTTLED, "", status=429, **how))

    async def go(self) -> float:
        while (left := self.gate.go()) is None:
            await self.gate.clear()
        return left


Make = Callable[..., Watched]


@pytest.fixture
def make(loop_clock: Clock) -> Make:
    return lambda *args, **named: Watched(loop_clock, *args, **named)


async def test_reads_pass_in_the_order_they_came_at_even_distance(make: Make) -> None:
    watched = make(Rate(60, 60.0))
    async with anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(watched.read, number)
    assert [number for number, _ in watched.left] == list(range(20))
    assert all(after - before > 1.0 for (_, before), (_, after) in pairwise(watched.left))
    assert watched.left[-1][1] == pytest.approx(19 * (1 + HEADROOM), abs=0.1)


async def test_a_fast_gate_keeps_its_rate(make: Make) -> None:
    watched = make(Rate(1000, 1.0), in_flight=100)

    async def worker() -> None:
        for _ in range(20):
            await watched.read(0, takes=0.05)

    async with anyio.create_task_group() as group:
        for _ in range(100):
            group.start_soon(worker)
    instants = [at for _, at in watched.left]
    assert instants[-1] - instants[0] == pytest.approx(2 * (1 + HEADROOM), rel=0.01)
    busiest = max(sum(1 for at in instants if start <= at < start + 1.0) for start in instants[::100])
    assert busiest <= 1000


async def test_seats_are_apart_from_the_rate(make: Make) -> None:
    watched = make(Rate(100, 1.0), in_flight=3)
    async with anyio.create_task_group() as group:
        for number in range(12):
            group.start_soon(watched.read, number, 10.0)
    assert watched.most_aboard == 3
    assert watched.now() == pytest.approx(40.0, abs=1.0)


async def test_a_turn_comes_early_enough_for_a_last_look(make: Make) -> None:
    watched = make(Rate(6, 60.0))
    first, begun = await watched.gate.turn(), watched.now()
    second = await watched.gate.turn()
    assert first.at == begun
    assert watched.now() == pytest.approx(second.at - LEAD)
    await watched.write(2, second)
    assert [at for _, at in watched.left] == [pytest.approx(second.at, abs=0.01)]


async def test_a_later_turn_does_not_block_an_earlier_one(make: Make) -> None:
    watched = make(Rate(60, 60.0))
    turns = [await watched.gate.turn() for _ in range(3)]
    async with anyio.create_task_group() as group:
        for number in (2, 1, 0):
            group.start_soon(watched.write, number, turns[number])
    assert [number for number, _ in watched.left] == [0, 1, 2]


async def test_turns_used_late_and_together_break_no_window(make: Make) -> None:
    watched = make(Rate(5, 60.0))
    turns = [await watched.gate.turn() for _ in range(9)]
    await anyio.sleep(3600)
    async with anyio.create_task_group() as group:
        for number, turn in enumerate(turns):
            group.start_soon(watched.write, number, turn)
    instants = [at for _, at in watched.left]
    assert len(instants) == 9
    assert all(later - earlier >= 60.0 for earlier, later in zip(instants, instants[5:], strict=False))


async def test_a_waiter_that_is_cancelled_takes_neither_place_nor_seat_with_it(make: Make) -> None:
    watched = make(Rate(60, 60.0), in_flight=1)
    for _ in range(5):
        with anyio.move_on_after(0.5):
            await watched.read(0, takes=100.0)
    with anyio.fail_after(30):
        await watched.read(1)
    assert watched.left[-1][0] == 1
    assert watched.aboard == 0


async def test_a_waiter_that_is_cancelled_during_a_pause_leaves_its_seat(make: Make) -> None:
    watched = make(Rate(60, 60.0), in_flight=1)
    await watched.refuse(retry_after=90.0)
    turn = Turn(watched.now())
    with anyio.move_on_after(10.0):
        await watched.write(0, turn)
    with anyio.fail_after(100.0):
        await watched.write(1, turn)
    assert [number for number, _ in watched.left] == [1]


async def test_a_refusal_teaches_and_is_told_once(make: Make) -> None:
    watched = make(Rate(100, 1.0))
    for number in range(61):
        await watched.read(number)
    sent_at = watched.left[-1][1]
    refusal = CallError(Meaning.THROTTLED, "", limit=Limit("user", 60, 60.0))
    for _ in range(3):
        await watched.gate.pass_turn(Turn(watched.now()))
        watched.gate.heard(sent_at, refusal)
    assert [(told.key, told.text) for told in watched.told] == [("key", "keeping to 60/min by policy user")]
    await watched.read(61)
    assert watched.left[-1][1] >= watched.left[1][1] + 60.0


async def test_a_pause_holds_up_requests_that_had_their_slot(make: Make) -> None:
    watched = make(Rate(60, 60.0))
    turn = await watched.gate.turn()
    await watched.refuse(retry_after=90.0)
    await watched.write(0, turn)
    assert watched.left[0][1] == pytest.approx(90.0, abs=0.1)


async def test_the_instant_counts_at_which_the_bytes_leave(make: Make) -> None:
    watched = make(Rate(1, 60.0))
    await watched.gate.pass_()
    await asyncio.sleep(50)  # a slow connection
    left = await watched.go()
    watched.gate.leave()
    await watched.read(1)
    assert watched.left[0][1] >= left + 60.0


@pytest.mark.parametrize("way", ["reads", "writes"])
async def test_scopes_that_share_a_gate_take_turns_however_many_wait_for_each(make: Make, way: str) -> None:
    watched = make(Rate(60, 60.0))
    crowd = {"large": 200, "small": 10, "single": 1}
    served: list[str] = []

    async def worker(lane: str) -> None:
        if way == "reads":
            await watched.gate.pass_(lane)
        else:
            await watched.gate.pass_turn(await watched.gate.turn(lane), lane)
        served.append(lane)
        await watched.go()
        watched.gate.leave()

    async with anyio.create_task_group() as group:
        for lane, count in crowd.items():
            for _ in range(count):
                group.start_soon(worker, lane)
    assert len(served) == sum(crowd.values())
    assert served.index("single") <= 5
    assert served[:26].count("small") == 10


async def test_the_most_that_left_in_any_window_is_told_for_every_limit_that_was_kept(make: Make) -> None:
    watched = make(Rate(10, 1.0))
    for number in range(40):
        await watched.read(number)
    await watched.refuse(limit=Limit("user", 60, 60.0))
    for number in range(5):
        await watched.read(number)
    assert [counted.most for counted in watched.gate.counts() if counted.policy == "user"] == [46]
    for number in range(100):
        await watched.read(number)
    at = [instant for _, instant in watched.left]
    seconds, minutes = watched.gate.counts()
    assert (seconds.policy, seconds.count, seconds.window) == ("configured", 10, 1.0)
    assert seconds.most == largest_count(at, 1.0) <= 10
    assert (minutes.key, minutes.policy, minutes.count, minutes.window) == ("key", "user", 60, 60.0)
    assert 40 < minutes.most <= 60


async def test_a_limit_that_was_broken_before_it_was_known_is_not_said_to_have_been_broken(
    make: Make,
) -> None:
    watched = make(Rate(100, 1.0))
    for number in range(100):
        await watched.read(number)
    await watched.refuse(limit=Limit("user", 60, 60.0))
    for number in range(100):
        await watched.read(number)
    assert [counted.most for counted in watched.gate.counts() if counted.policy == "user"] == [60]


async def test_lost_answers_let_fewer_requests_be_under_way_and_answers_more_again(make: Make) -> None:
    watched = make(Rate(1000, 1.0), in_flight=10)

    async def worker(error: CallError | None) -> None:
        await watched.gate.pass_()
        sent_at = await watched.go()
        watched.aboard += 1
        watched.most_aboard = max(watched.most_aboard, watched.aboard)
        await anyio.sleep(0.1)
        watched.aboard -= 1
        watched.gate.heard(sent_at, error)

    async def all_of(count: int, error: CallError | None) -> int:
        watched.most_aboard = 0
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(worker, error)
        return watched.most_aboard

    assert await all_of(100, None) == 10
    await all_of(100, CallError(Meaning.LOST, ""))
    assert await all_of(5, None) <= 2
    await all_of(400, None)
    assert await all_of(50, None) == 10


async def test_a_refusal_by_the_gateway_takes_no_seat_away(make: Make) -> None:
    watched = make(Rate(1000, 1.0), in_flight=10)
    for _ in range(20):
        await watched.refuse(limit=Limit("user", 6000, 60.0))
    async with anyio.create_task_group() as group:
        for number in range(30):
            group.start_soon(watched.read, number, 100.0)
    assert watched.most_aboard == 10


async def test_a_rate_that_was_lowered_is_told_and_not_a_want_of_answers(make: Make) -> None:
    watched = make(Rate(600, 60.0), in_flight=5)
    gate = watched.gate
    async with anyio.create_task_group() as group:
        for number in range(100):
            await watched.read(number)
        gate.set_rate(Rate(60, 60.0))
        group.start_soon(watched.read, 100)
        await anyio.sleep(10.0)
        assert gate.waits == "the rate: nothing may leave for another 44s"
        await anyio.sleep(42.0)  # one has a seat by now, and has not been sent
        assert gate.waits == "the rate: nothing may leave for another 2.5s"
        await anyio.sleep(20.0)
    assert gate.waits == ""


async def test_a_gate_that_nothing_may_leave_tells_how_long_and_why_also_when_nobody_waits(
    make: Make,
) -> None:
    watched = make(Rate(600, 60.0))
    gate = watched.gate
    for number in range(100):
        await watched.read(number)
    assert gate.shut is None
    gate.set_rate(Rate(60, 60.0))
    shut = gate.shut
    assert shut is not None
    assert (str(shut), shut.why) == ("nothing may leave for another 54s", "60/min is used up")
    assert gate.waits == ""
    await anyio.sleep(50.0)
    assert gate.shut is None  # not worth a word any more


async def test_a_gate_that_a_refusal_shut_says_so(make: Make) -> None:
    watched = make(Rate(600, 60.0))
    await watched.refuse(retry_after=30.0)
    shut = watched.gate.shut
    assert shut is not None
    assert shut.why == "the cloud refused more"


async def test_who_asks_is_told_what_requests_wait_for(make: Make, loop_clock: Clock) -> None:
    watched = make(Rate(60, 60.0), in_flight=1)
    gate = watched.gate
    assert gate.waits == ""
    async with anyio.create_task_group() as group:
        group.start_soon(watched.read, 0, 40.0)
        await anyio.sleep(1.0)
        assert gate.waits == ""
        group.start_soon(watched.read, 1)
        await anyio.sleep(2.0)
        assert gate.waits == "1 in flight at most"
        await anyio.sleep(17.0)
        assert gate.waits == "1 without an answer, the last was sent 20s ago"
    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(watched.write, number)
        await anyio.sleep(0.5)
        assert gate.waits == "the rate"
    assert gate.waits == ""


async def test_whoever_need_not_wait_passes_at_once_and_has_a_seat(make: Make) -> None:
    watched = make(Rate(10, 1.0), in_flight=1)
    gate = watched.gate
    assert gate.passes()
    assert not gate.passes()  # no slot, no seat
    gate.heard(await watched.go(), None)
    assert not gate.passes()  # no slot yet
    await asyncio.sleep(1.0)
    assert not gate.passes(Turn(watched.now() + 0.1))
    assert gate.passes(Turn(watched.now()))
    assert not gate.passes(Turn(watched.now()))  # no seat
    gate.leave()
    assert gate.passes(Turn(watched.now()))


async def test_nobody_passes_before_those_who_wait(make: Make) -> None:
    watched = make(Rate(1000, 1.0), in_flight=1)
    assert watched.gate.passes()
    async with anyio.create_task_group() as group:
        group.start_soon(watched.read, 1)
        await anyio.sleep(1.0)
        watched.gate.leave()
        assert not watched.gate.passes()
    assert [number for number, _ in watched.left] == [1]
