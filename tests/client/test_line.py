"""The line: one at a time, by rank, lanes by turns, and whoever gives up is not called."""

from __future__ import annotations

import anyio
import pytest

from fleet.client.line import Line
from fleet.core.calls import Rank

pytestmark = pytest.mark.looptime


class Counter:
    """A line, and who was served in which order; service takes a second."""

    def __init__(self) -> None:
        self.line = Line()
        self.served: list[str] = []
        self.inside = 0

    async def visit(self, lane: str, rank: Rank = Rank.NEW) -> None:
        await self.line.enter(lane, rank)
        self.inside += 1
        assert self.inside == 1
        self.served.append(lane)
        try:
            await anyio.sleep(1.0)
        finally:
            self.inside -= 1
            self.line.leave()


async def test_lanes_take_turns_and_each_is_first_come_first_served() -> None:
    counter = Counter()
    async with anyio.create_task_group() as group:
        for lane in ("a", "a", "a", "a", "b", "b", "c"):
            group.start_soon(counter.visit, lane)
    assert counter.served == ["a", "a", "b", "c", "a", "b", "a"]
    assert counter.line.free


async def test_a_lane_that_comes_back_waits_for_its_turn() -> None:
    counter = Counter()

    async def loop(lane: str) -> None:
        for _ in range(3):
            await counter.visit(lane)

    async with anyio.create_task_group() as group:
        for lane in ("a", "b", "c"):
            group.start_soon(loop, lane)
    assert counter.served == ["a", "b", "c"] * 3


async def test_whoever_gives_up_while_waiting_is_not_waited_for() -> None:
    counter = Counter()
    async with anyio.create_task_group() as group:
        group.start_soon(counter.visit, "a")
        await anyio.sleep(0.1)
        with anyio.move_on_after(0.2):
            await counter.visit("b")
        await counter.visit("c")
    assert counter.served == ["a", "c"]
    assert counter.line.free


async def test_whoever_gives_up_when_called_calls_the_next() -> None:
    counter = Counter()
    await counter.line.enter("first", Rank.NEW)
    with anyio.CancelScope() as scope:
        async with anyio.create_task_group() as group:
            group.start_soon(counter.visit, "a")
            await anyio.sleep(0.1)
            counter.line.leave()
            scope.cancel()
    with anyio.fail_after(0.1):
        await counter.line.enter("b", Rank.NEW)


async def test_a_higher_rank_goes_first_and_in_each_rank_lanes_take_turns() -> None:
    counter = Counter()
    visits = [
        *(("new-a", Rank.NEW), ("new-a", Rank.NEW), ("new-a", Rank.NEW), ("new-b", Rank.NEW)),
        *(("way", Rank.UNDER_WAY), ("away-a", Rank.AWAY), ("away-a", Rank.AWAY), ("away-b", Rank.AWAY)),
    ]
    async with anyio.create_task_group() as group:
        for visit in visits:
            group.start_soon(counter.visit, *visit)
    assert counter.served == ["new-a", "away-a", "away-b", "away-a", "way", "new-a", "new-b", "new-a"]
    assert counter.line.free


async def test_only_a_higher_rank_waits_before_others() -> None:
    line = Line()
    await line.enter("head", Rank.NEW)
    async with anyio.create_task_group() as group:
        group.start_soon(line.enter, "a", Rank.UNDER_WAY)
        await anyio.sleep(0.1)
        assert [line.waits_before(rank) for rank in Rank] == [False, False, True]
        line.leave()


async def test_who_lets_others_pass_leaves_them_the_slot_and_is_the_next_of_all_lanes() -> None:
    line, served = Line(), list[tuple[str, float | None]]()

    async def visit(lane: str, rank: Rank) -> None:
        served.append((lane, await line.enter(lane, rank)))
        await anyio.sleep(1.0)
        line.leave()

    assert await line.enter("polite", Rank.NEW) is None
    async with anyio.create_task_group() as group:
        for lane in ("other", "polite"):
            group.start_soon(visit, lane, Rank.NEW)
        group.start_soon(visit, "away", Rank.AWAY)
        await anyio.sleep(0.1)
        line.leave(7.0)
        served.append(("polite again", await line.enter("polite", Rank.NEW, again=True)))
        line.leave()
    assert served == [("away", 7.0), ("polite again", None), ("other", None), ("polite", None)]
    assert line.free


async def test_a_slot_is_not_lost_with_who_gives_up_when_called() -> None:
    line, served = Line(), list[float | None]()
    await line.enter("first", Rank.NEW)

    async def visit() -> None:
        served.append(await line.enter("b", Rank.NEW))
        line.leave()

    async with anyio.create_task_group() as group:
        group.start_soon(visit)
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as inner:
                inner.start_soon(line.enter, "a", Rank.AWAY)
                await anyio.sleep(0.1)
                scope.cancel()
                line.leave(7.0)
    assert served == [7.0]
    assert line.free
